"""The gRPC service: each call in terms of the model that is held and its engine."""

import math
import os
from collections.abc import Iterator
from typing import Any, NoReturn

import grpc
import memory
from engine import EngineError, EngineGone, Exchange, Refused
from holder import Holder, Model, Unavailable
from stubs import backend_pb2, backend_pb2_grpc
from wording import TURN, BadModel, completion, conversation, transcript

_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    404: grpc.StatusCode.NOT_FOUND,
    501: grpc.StatusCode.UNIMPLEMENTED,
    503: grpc.StatusCode.RESOURCE_EXHAUSTED,
}


class LlamaBackend(backend_pb2_grpc.BackendServicer):
    """Health and Status never wait for the engine."""

    def __init__(self) -> None:
        self._holder = Holder()
        self._last = backend_pb2.MetricsResponse()

    def close(self) -> None:
        """End the engine, and with it every call that waits for it."""
        self._holder.close()

    def Health(self, request: backend_pb2.HealthMessage, context: grpc.ServicerContext) -> backend_pb2.Reply:
        return backend_pb2.Reply(message=b"OK")

    def Status(self, request: backend_pb2.HealthMessage, context: grpc.ServicerContext) -> backend_pb2.StatusResponse:
        pids, path = self._holder.process()
        held = memory.breakdown([os.getpid(), *pids], path)
        used = backend_pb2.MemoryUsageData(total=held["rss"], breakdown=held)
        return backend_pb2.StatusResponse(state=self._holder.state(), memory=used)

    def LoadModel(self, request: backend_pb2.ModelOptions, context: grpc.ServicerContext) -> backend_pb2.Result:
        try:
            self._holder.load(request, context.add_callback)
        except (BadModel, EngineError) as error:
            return backend_pb2.Result(success=False, message=str(error))
        return backend_pb2.Result(success=True, message="Model loaded")

    def Free(self, request: backend_pb2.HealthMessage, context: grpc.ServicerContext) -> backend_pb2.Result:
        self._holder.free()
        return backend_pb2.Result(success=True, message="Model unloaded")

    def Predict(self, request: backend_pb2.PredictOptions, context: grpc.ServicerContext) -> backend_pb2.Reply:
        text, last = [], backend_pb2.Reply()
        for last in self.PredictStream(request, context):
            text.append(last.message)
        last.message = b"".join(text)
        return last

    def PredictStream(
        self, request: backend_pb2.PredictOptions, context: grpc.ServicerContext
    ) -> Iterator[backend_pb2.Reply]:
        try:
            with self._holder.use(request.ModelIdentity) as model:
                yield from self._answer(model, request, context)
        except (EngineError, Unavailable) as error:
            _abort(context, error)

    def _answer(
        self, model: Model, request: backend_pb2.PredictOptions, context: grpc.ServicerContext
    ) -> Iterator[backend_pb2.Reply]:
        with _asked(model, "/completion", _body(model, request, context), context) as exchange:
            for piece in exchange.pieces():
                if "timings" in piece:
                    self._remember(piece)
                if piece.get("content") or "timings" in piece:
                    yield _reply(piece)

    def _remember(self, piece: dict[str, Any]) -> None:
        self._last = backend_pb2.MetricsResponse(
            slot_id=max(0, piece.get("id_slot", 0)),
            tokens_per_second=_finite(piece["timings"].get("predicted_per_second")),
            tokens_generated=piece.get("tokens_predicted", 0),
            prompt_tokens_processed=piece.get("tokens_evaluated", 0),
        )

    def GetMetrics(
        self, request: backend_pb2.MetricsRequest, context: grpc.ServicerContext
    ) -> backend_pb2.MetricsResponse:
        return self._last

    def Embedding(
        self, request: backend_pb2.PredictOptions, context: grpc.ServicerContext
    ) -> backend_pb2.EmbeddingResult:
        try:
            with self._holder.use(request.ModelIdentity) as model:
                if not model.embeddings:
                    raise Refused(400, "The model was loaded for text; set `embeddings: true` and load it again.")
                source = list(request.EmbeddingTokens) or request.Embeddings or request.Prompt
                said = _whole(model, "/v1/embeddings", {"input": source}, context)
        except (EngineError, Unavailable) as error:
            _abort(context, error)
        vector = said["data"][0]["embedding"]
        read = said.get("usage", {}).get("prompt_tokens", 0)
        return backend_pb2.EmbeddingResult(embeddings=vector, tokens=1, dim=len(vector), prompt_tokens=read)

    def TokenizeString(
        self, request: backend_pb2.PredictOptions, context: grpc.ServicerContext
    ) -> backend_pb2.TokenizationResponse:
        try:
            with self._holder.use(request.ModelIdentity) as model:
                body = {"content": request.Prompt, "add_special": False}
                tokens = _whole(model, "/tokenize", body, context)["tokens"]
        except (EngineError, Unavailable) as error:
            _abort(context, error)
        return backend_pb2.TokenizationResponse(length=len(tokens), tokens=tokens)

    def Detokenize(
        self, request: backend_pb2.DetokenizeRequest, context: grpc.ServicerContext
    ) -> backend_pb2.DetokenizeResponse:
        try:
            with self._holder.use() as model:
                said = _whole(model, "/detokenize", {"tokens": list(request.tokens)}, context)
        except (EngineError, Unavailable) as error:
            _abort(context, error)
        return backend_pb2.DetokenizeResponse(content=said["content"])


def _body(model: Model, request: backend_pb2.PredictOptions, context: grpc.ServicerContext) -> dict[str, Any]:
    """A request for text; a conversation is put into the form the model's own chat template gives it."""
    if not (request.UseTokenizerTemplate and request.Messages):
        return completion(request, request.Prompt)
    prompt = str(_whole(model, "/apply-template", conversation(request), context)["prompt"])
    if TURN in prompt and not _is_one_token(model, TURN, context):
        # llama.cpp's own form for a model without a template, and this one would see only strange text in it.
        return transcript(request)
    return completion(request, prompt)


def _is_one_token(model: Model, text: str, context: grpc.ServicerContext) -> bool:
    body = {"content": text, "parse_special": True, "add_special": False}
    return len(_whole(model, "/tokenize", body, context)["tokens"]) == 1


def _whole(model: Model, path: str, body: dict[str, Any], context: grpc.ServicerContext) -> dict[str, Any]:
    with _asked(model, path, body, context) as exchange:
        return exchange.whole()


def _asked(model: Model, path: str, body: dict[str, Any], context: grpc.ServicerContext) -> Exchange:
    """A request that ends when the caller goes away. Raises EngineError when he has gone already."""
    exchange = model.engine.ask(path, body)
    if not context.add_callback(exchange.cancel):
        raise EngineError("The caller has gone.")
    return exchange


def _reply(piece: dict[str, Any]) -> backend_pb2.Reply:
    timings = piece.get("timings", {})
    return backend_pb2.Reply(
        message=piece.get("content", "").encode(errors="replace"),
        tokens=piece.get("tokens_predicted", 0),
        prompt_tokens=piece.get("tokens_evaluated", 0),
        timing_prompt_processing=_finite(timings.get("prompt_ms")),
        timing_token_generation=_finite(timings.get("predicted_ms")),
    )


def _finite(value: float | None) -> float:
    """The engine divides by the time it took, which may be none."""
    return value if value is not None and math.isfinite(value) else 0.0


def _abort(context: grpc.ServicerContext, error: EngineError | Unavailable) -> NoReturn:
    context.abort(_code(error), str(error))
    raise AssertionError("abort raises")


def _code(error: EngineError | Unavailable) -> grpc.StatusCode:
    if isinstance(error, Unavailable):
        return error.code
    if isinstance(error, Refused):
        return _CODES.get(error.status, grpc.StatusCode.INTERNAL)
    return grpc.StatusCode.ABORTED if isinstance(error, EngineGone) else grpc.StatusCode.INTERNAL
