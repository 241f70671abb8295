"""Holds the one model this backend has at a time: loaded, loading, broken down, or none."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import grpc
from engine import Engine, EngineError, EngineGone
from stubs import backend_pb2
from wording import BadModel, engine_settings, model_path

#: More requests than this at once are refused, so that Health always finds a free thread.
MOST_REQUESTS = 16
#: A load that was given up a moment ago may still be ending.
_GIVEN_UP_SECONDS = 1.0


class Unavailable(Exception):
    """A request that cannot be served now: gRPC's code for why, and a sentence."""

    def __init__(self, code: grpc.StatusCode, sentence: str) -> None:
        self.code = code
        super().__init__(sentence)


@dataclass(frozen=True)
class Model:
    """A model in an engine. `name` is what the caller called it."""

    name: str
    path: Path
    embeddings: bool
    engine: Engine


class Holder:
    """Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._load = threading.Lock()
        self._model: Model | None = None
        self._loading: Model | None = None
        self._active = 0
        self._broken = False

    def load(self, options: backend_pb2.ModelOptions, when_given_up: Callable[[Callable[[], None]], object]) -> None:
        """Load a model in the place of the one before. Raises BadModel or EngineError.

        `when_given_up` is handed what ends the load, for a caller who goes away before it is done.
        """
        if not self._load.acquire(timeout=_GIVEN_UP_SECONDS):
            raise BadModel("another model is being loaded; wait until it is done")
        try:
            path = model_path(options)
            self.free()
            self._broken = False
            engine = Engine(engine_settings(options, path))
            model = Model(options.Model, path, options.Embeddings, engine)
            with self._lock:
                self._loading = model
            when_given_up(lambda: self._give_up(model))
            self._start(model)
        finally:
            self._load.release()

    def _start(self, model: Model) -> None:
        try:
            model.engine.start()
        except EngineError as error:
            self._broken = isinstance(error, EngineGone) and not model.engine.stopped
            model.engine.stop()
            raise
        finally:
            with self._lock:
                self._loading = None
                if model.engine.is_alive:
                    self._model = model

    def _give_up(self, model: Model) -> None:
        """Nothing when the load is done, however it went."""
        with self._lock:
            unfinished = self._loading is model
        if unfinished:
            model.engine.stop()

    def free(self) -> None:
        """Let go of the model, and of one that is being loaded; the memory is free when this returns."""
        with self._lock:
            held = [model for model in (self._model, self._loading) if model is not None]
            self._model = None
        for model in held:
            model.engine.stop()

    @contextmanager
    def use(self, identity: str = "") -> Iterator[Model]:
        """The model, for one request. Raises Unavailable when there is none, or another than the one named."""
        with self._lock:
            model = self._usable(identity)
            self._active += 1
        try:
            yield model
        finally:
            with self._lock:
                self._active -= 1

    def _usable(self, identity: str) -> Model:
        code = grpc.StatusCode
        if self._loading is not None:
            raise Unavailable(code.FAILED_PRECONDITION, "The model is still being loaded; ask again when it is ready.")
        if self._model is None:
            raise Unavailable(code.FAILED_PRECONDITION, "No model is loaded.")
        if not self._model.engine.is_alive:
            raise Unavailable(code.INTERNAL, "The engine broke down. Load the model again.")
        if identity and identity != self._model.name:
            said = f"model identity mismatch: loaded {self._model.name!r}, requested {identity!r}"
            raise Unavailable(code.NOT_FOUND, said)
        if self._active >= MOST_REQUESTS:
            raise Unavailable(code.RESOURCE_EXHAUSTED, f"{MOST_REQUESTS} requests are under way, which is the limit.")
        return self._model

    def state(self) -> "backend_pb2.StatusResponse.State.ValueType":
        kinds = backend_pb2.StatusResponse
        with self._lock:
            if self._loading is not None:
                return kinds.BUSY
            if self._model is None:
                return kinds.ERROR if self._broken else kinds.UNINITIALIZED
            if not self._model.engine.is_alive:
                return kinds.ERROR
            return kinds.BUSY if self._active else kinds.READY

    def process(self) -> tuple[list[int], Path | None]:
        """The engine's process id, if there is one, and the file it holds."""
        with self._lock:
            model = self._loading or self._model
        if model is None or not model.engine.is_alive:
            return [], None
        return [model.engine.pid], model.path

    def close(self) -> None:
        with suppress(OSError):
            self.free()
