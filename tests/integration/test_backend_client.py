"""The client of a backend against a small real gRPC server: deadlines, errors, streams, forks."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path

import grpc
import pytest

from models.backend.client import BackendClient
from models.backend.errors import (
    BackendError,
    CallFailed,
    Cancelled,
    Hung,
    LoadRefused,
    Unreachable,
    Unsupported,
)
from models.backend.proto import backend_pb2, backend_pb2_grpc
from models.backend.types import Chunk, Status
from tests.fakes.llama_backend import free_port

ROOT = Path(__file__).parents[2]
ASK = backend_pb2.PredictOptions(Prompt="x")


class Backend(backend_pb2_grpc.BackendServicer):
    """Does as the test says; what it is not told to do it does not offer."""

    def __init__(self) -> None:
        self.word = b"OK"
        self.pieces: list[bytes] = []
        self.abort: tuple[grpc.StatusCode, str] | None = None
        self.endless = False
        self.seconds = 0.0
        self.ended = threading.Event()
        self.loaded = backend_pb2.Result(success=True)
        self.said = backend_pb2.StatusResponse()
        self.metadata: dict[str, str | bytes] = {}

    def Health(self, request, context):
        self.metadata = dict(context.invocation_metadata())
        self.ended.wait(self.seconds)
        return backend_pb2.Reply(message=self.word)

    def LoadModel(self, request, context):
        context.add_callback(self.ended.set)
        self.ended.wait(self.seconds)
        return self.loaded

    def Predict(self, request, context):
        if self.abort:
            context.abort(*self.abort)
        return backend_pb2.Reply(message=b"".join(self.pieces), tokens=3, timing_prompt_processing=1.5)

    def PredictStream(self, request, context):
        context.add_callback(self.ended.set)
        for count, piece in enumerate(self.pieces, 1):
            yield backend_pb2.Reply(message=piece, tokens=count)
        if self.abort:
            context.abort(*self.abort)
        while self.endless and context.is_active():
            yield backend_pb2.Reply(message=b"more")
            time.sleep(0.01)

    def Status(self, request, context):
        return self.said


@pytest.fixture
def served() -> Iterator[tuple[Backend, str]]:
    backend = Backend()
    server = grpc.server(futures.ThreadPoolExecutor(4))
    backend_pb2_grpc.add_BackendServicer_to_server(backend, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield backend, f"127.0.0.1:{port}"
    backend.ended.set()
    server.stop(0).wait(5)


@pytest.fixture
def backend(served: tuple[Backend, str]) -> Backend:
    return served[0]


@pytest.fixture
def client(served: tuple[Backend, str]) -> Iterator[BackendClient]:
    with BackendClient(served[1]) as client:
        yield client


def test_health_is_true_only_when_it_says_ok(backend: Backend, client: BackendClient) -> None:
    assert client.health(5)
    backend.word = b"wait"
    assert not client.health(5)


def test_nobody_at_the_address_is_unreachable_at_once() -> None:
    began = time.monotonic()
    with (
        BackendClient(f"127.0.0.1:{free_port()}") as client,
        pytest.raises(Unreachable, match="Nothing answers") as error,
    ):
        client.health(5)
    assert error.value.retry
    assert time.monotonic() - began < 2


def test_a_backend_that_starts_late_is_seen_soon() -> None:
    port = free_port()
    with BackendClient(f"127.0.0.1:{port}") as client:
        for _ in range(5):
            with pytest.raises(Unreachable):
                client.health(1)
        server = grpc.server(futures.ThreadPoolExecutor(1))
        backend_pb2_grpc.add_BackendServicer_to_server(Backend(), server)
        server.add_insecure_port(f"127.0.0.1:{port}")
        server.start()
        deadline = time.monotonic() + 2
        while not is_healthy(client):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        server.stop(0).wait(5)


def is_healthy(client: BackendClient) -> bool:
    try:
        return client.health(1)
    except BackendError:
        return False


def test_no_answer_in_time_is_hung(backend: Backend, client: BackendClient) -> None:
    backend.seconds = 5
    with pytest.raises(Hung, match=r"Health within 0\.1 s") as error:
        client.health(0.1)
    assert error.value.retry


def test_a_call_the_backend_does_not_offer_is_unsupported(client: BackendClient) -> None:
    for call in (client.metrics, client.free):
        with pytest.raises(Unsupported, match="does not offer") as error:
            call(5)
        assert not error.value.retry


def test_a_refused_load_carries_the_backends_reason(backend: Backend, client: BackendClient) -> None:
    backend.loaded = backend_pb2.Result(success=False, message="not a model.")
    with pytest.raises(LoadRefused, match=r"could not load the model: not a model\.$") as error:
        client.load(backend_pb2.ModelOptions(), 5)
    assert error.value.message == "not a model."
    backend.loaded = backend_pb2.Result()
    with pytest.raises(LoadRefused, match="no reason"):
        client.load(backend_pb2.ModelOptions(), 5)


# Its code, and what a person is told to do.
OWN_ERRORS = [
    (grpc.StatusCode.UNKNOWN, "log may say more"),
    (grpc.StatusCode.INTERNAL, "log may say more"),
    (grpc.StatusCode.NOT_FOUND, "load it again"),
    (grpc.StatusCode.UNAUTHENTICATED, "LOCALAI_GRPC_AUTH_TOKEN"),
    (grpc.StatusCode.FAILED_PRECONDITION, "Load the model first"),
    (grpc.StatusCode.RESOURCE_EXHAUSTED, "Ask for less"),
    (grpc.StatusCode.INVALID_ARGUMENT, "Change the request"),
]


@pytest.mark.parametrize(("code", "advice"), OWN_ERRORS)
def test_an_error_of_the_backends_own_says_what_and_what_to_do(
    backend: Backend, client: BackendClient, code: grpc.StatusCode, advice: str
) -> None:
    backend.abort = (code, "it went wrong")
    with pytest.raises(CallFailed, match=f"Predict failed: it went wrong. .*{advice}") as error:
        client.predict(ASK, 5)
    assert (error.value.code, error.value.details) == (code.name, "it went wrong")
    with pytest.raises(CallFailed, match="it went wrong"):
        list(client.predict_stream(ASK, 5))


def test_status_keeps_what_is_not_said_apart_from_nothing(backend: Backend, client: BackendClient) -> None:
    assert client.status(5) == Status("uninitialized")
    kinds = backend_pb2.StatusResponse
    for state, word in [(kinds.BUSY, "busy"), (kinds.READY, "ready"), (kinds.ERROR, "error")]:
        memory = backend_pb2.MemoryUsageData(total=5, breakdown={"rss": 5})
        backend.said = kinds(state=state, memory=memory)
        assert client.status(5) == Status(word, 5, {"rss": 5})


def test_an_answer_has_its_figures(backend: Backend, client: BackendClient) -> None:
    backend.pieces = [b"one ", b"two"]
    assert client.predict(ASK, 5) == Chunk("one two", tokens=3, prompt_ms=1.5)


def test_a_letter_may_be_split_between_two_pieces(backend: Backend, client: BackendClient) -> None:
    backend.pieces = [b"caf\xc3", b"\xa9 ", b"\xe2\x82"]
    assert [piece.text for piece in client.predict_stream(ASK, 5)] == ["caf", "é ", "", "�"]


def test_leaving_a_stream_early_ends_the_call(backend: Backend, client: BackendClient) -> None:
    backend.endless = True
    with client.predict_stream(ASK, 30) as stream:
        assert next(iter(stream)).text == "more"
    assert backend.ended.wait(10)


def test_a_cancelled_stream_just_ends_for_its_reader(backend: Backend, client: BackendClient) -> None:
    backend.endless = True
    stream = client.predict_stream(ASK, 30)
    threading.Timer(0.1, stream.cancel).start()
    assert all(piece.text == "more" for piece in stream)
    stream.cancel()
    assert backend.ended.wait(10)


def test_a_stream_that_takes_too_long_is_hung(backend: Backend, client: BackendClient) -> None:
    backend.endless = True
    with pytest.raises(Hung):
        # Long enough for the call to arrive on a slow machine: one that never did is nothing to be ended.
        list(client.predict_stream(ASK, 1.0))
    assert backend.ended.wait(10)


def test_closing_the_client_ends_the_calls_of_other_threads(backend: Backend, client: BackendClient) -> None:
    backend.seconds = 20
    with futures.ThreadPoolExecutor(1) as pool:
        loading = pool.submit(client.load, backend_pb2.ModelOptions(), 30)
        time.sleep(0.2)
        client.close()
        with pytest.raises(Cancelled) as error:
            loading.result(2)
    assert error.value.retry
    assert backend.ended.wait(10)
    client.close()
    with pytest.raises(Cancelled, match="closed by this side"):
        client.health(1)
    with pytest.raises(Cancelled, match="closed by this side"):
        client.predict_stream(ASK, 1)


def test_the_token_is_sent_when_there_is_one(served: tuple[Backend, str]) -> None:
    backend, address = served
    with BackendClient(address, "sesame") as client:
        client.health(5)
    assert backend.metadata["authorization"] == "Bearer sesame"
    with BackendClient(address) as client:
        client.health(5)
    assert "authorization" not in backend.metadata


def test_one_client_serves_many_threads(client: BackendClient) -> None:
    with futures.ThreadPoolExecutor(16) as pool:
        assert all(pool.map(lambda _: client.health(10), range(200)))


FORKING = """
import os, sys
from models.backend.client import BackendClient

client = BackendClient(sys.argv[1])
assert client.health(5)
child = os.fork()
if child == 0:
    os._exit(0 if client.health(5) else 1)
_, status = os.waitpid(child, 0)
assert os.waitstatus_to_exitcode(status) == 0
assert client.health(5)
"""


def test_a_client_is_of_use_on_both_sides_of_a_fork(served: tuple[Backend, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORKING, served[1]], cwd=ROOT, timeout=30, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
