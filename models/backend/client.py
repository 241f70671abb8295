"""A client of one backend. Every call has a deadline; every error is one of models.backend.errors."""

import codecs
import os
from collections.abc import Iterator
from typing import Self, TypeVar

import grpc

from models.backend.errors import Cancelled, LoadRefused, translate
from models.backend.proto import backend_pb2, backend_pb2_grpc
from models.backend.types import STATES, Chunk, Metrics, Status

Request = TypeVar("Request")
Response = TypeVar("Response")

#: An answer may hold the numbers of a long text; a larger message than this is an error. Bytes.
MAX_MESSAGE = 64 << 20

_CHANNEL_OPTIONS = [
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.max_send_message_length", MAX_MESSAGE),
    # Backends are on this host or a neighbour; a proxy of the environment is for the internet.
    ("grpc.enable_http_proxy", 0),
    # A backend that starts is seen within this time, not after gRPC's own pauses of up to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
    # Connections are not shared, so that closing one client really ends its own.
    ("grpc.use_local_subchannel_pool", 1),
]


class _Connection:
    """A channel and its stub, in one process."""

    def __init__(self, address: str) -> None:
        self.channel = grpc.insecure_channel(address, options=_CHANNEL_OPTIONS)
        self.stub = backend_pb2_grpc.BackendStub(self.channel)


class BackendClient:
    """Calls one backend at `address` (host:port). Safe to share between threads, and across a fork.

    `token` is sent as a bearer token when given. All timeouts are seconds. Every call raises BackendError; a call
    under way when the client is closed raises Cancelled, and so does every later one.
    """

    def __init__(self, address: str, token: str = "") -> None:
        self.address = address
        self._metadata = (("authorization", f"Bearer {token}"),) if token else ()
        # A channel that was used before a fork is dead in the child: each process has its own.
        self._connections: dict[int, _Connection] = {}
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all calls. Safe to call again, from any thread."""
        self._closed = True
        if connection := self._connections.pop(os.getpid(), None):
            connection.channel.close()

    def health(self, timeout: float) -> bool:
        """Whether the backend is ready for calls."""
        reply = self._call(self._stub().Health, backend_pb2.HealthMessage(), timeout, "Health")
        return reply.message == b"OK"

    def load(self, options: backend_pb2.ModelOptions, timeout: float) -> None:
        """Raises LoadRefused, with the backend's reason, when it cannot."""
        result = self._call(self._stub().LoadModel, options, timeout, "LoadModel")
        if not result.success:
            raise LoadRefused(result.message)

    def predict(self, options: backend_pb2.PredictOptions, timeout: float) -> Chunk:
        """The whole answer at once."""
        reply = self._call(self._stub().Predict, options, timeout, "Predict")
        return _chunk(reply, reply.message.decode(errors="replace"))

    def predict_stream(self, options: backend_pb2.PredictOptions, timeout: float) -> "PredictionStream":
        """The answer piece by piece; `timeout` is for all of it. The stream must be read to its end or closed."""
        try:
            call = self._stub().PredictStream(options, timeout=timeout, metadata=self._metadata)
        except ValueError as error:
            if not self._closed:
                raise
            raise self._given_up() from error
        return PredictionStream(call, self.address, timeout)

    def embedding(self, options: backend_pb2.PredictOptions, timeout: float) -> tuple[float, ...]:
        """The vector of the prompt."""
        result = self._call(self._stub().Embedding, options, timeout, "Embedding")
        return tuple(result.embeddings)

    def tokenize(self, text: str, timeout: float) -> tuple[int, ...]:
        """The model's own numbers for the pieces of the text."""
        options = backend_pb2.PredictOptions(Prompt=text)
        answer = self._call(self._stub().TokenizeString, options, timeout, "TokenizeString")
        return tuple(answer.tokens)

    def status(self, timeout: float) -> Status:
        """What the backend says of itself. Raises Unsupported with most backends."""
        said = self._call(self._stub().Status, backend_pb2.HealthMessage(), timeout, "Status")
        known = said.HasField("memory")
        return Status(
            state=STATES.get(said.state, "error"),
            memory_total=said.memory.total if known else None,
            breakdown=dict(said.memory.breakdown),
        )

    def metrics(self, timeout: float) -> Metrics:
        """Figures of the last answer."""
        said = self._call(self._stub().GetMetrics, backend_pb2.MetricsRequest(), timeout, "GetMetrics")
        return Metrics(said.tokens_per_second, said.tokens_generated, said.prompt_tokens_processed)

    def free(self, timeout: float) -> None:
        """Ask the backend to let go of its model. Raises Unsupported with most backends."""
        self._call(self._stub().Free, backend_pb2.HealthMessage(), timeout, "Free")

    def _stub(self) -> backend_pb2_grpc.BackendStub:
        """This process's stub. No lock: one held during a fork would stay held in the child for ever."""
        if self._closed:
            raise self._given_up()
        connection = self._connections.get(os.getpid())
        if connection is None:
            made = _Connection(self.address)
            connection = self._connections.setdefault(os.getpid(), made)
            if connection is not made or self._closed:
                made.channel.close()
        return connection.stub

    def _call(
        self, call: "grpc.UnaryUnaryMultiCallable[Request, Response]", request: Request, timeout: float, method: str
    ) -> Response:
        try:
            return call(request, timeout=timeout, metadata=self._metadata)
        except grpc.RpcError as error:
            raise translate(error, method, self.address, timeout) from error
        except ValueError as error:
            if not self._closed:
                raise
            # gRPC's answer to a call on a channel that another thread has just closed.
            raise self._given_up() from error

    def _given_up(self) -> Cancelled:
        return Cancelled(f"The connection to {self.address} was closed by this side; connect again to ask again.")


class PredictionStream:
    """The pieces of an answer as they come; a context manager that ends the call when it is left early.

    Iterating raises BackendError when the backend fails; it just ends after `cancel`. `cancel` may come from any
    thread, and makes the backend stop working on the answer.
    """

    def __init__(self, call: "grpc._CallIterator[backend_pb2.Reply]", address: str, timeout: float) -> None:
        self._call, self._address, self._timeout = call, address, timeout
        # A piece may end in the middle of a letter.
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._cancelled = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Chunk]:
        while (reply := self._next()) is not None:
            yield _chunk(reply, self._decoder.decode(reply.message))
        if rest := self._decoder.decode(b"", final=True):
            yield Chunk(rest)

    def _next(self) -> backend_pb2.Reply | None:
        try:
            return next(self._call, None)
        except grpc.RpcError as error:
            failure = translate(error, "PredictStream", self._address, self._timeout)
            if self._cancelled and isinstance(failure, Cancelled):
                return None
            raise failure from error

    def cancel(self) -> None:
        """Give the answer up. Safe to call again, and after the end."""
        self._cancelled = True
        self._call.cancel()

    close = cancel


def _chunk(reply: backend_pb2.Reply, text: str) -> Chunk:
    return Chunk(
        text=text,
        tokens=reply.tokens,
        prompt_tokens=reply.prompt_tokens,
        prompt_ms=reply.timing_prompt_processing,
        generation_ms=reply.timing_token_generation,
    )
