"""How a backend comes up: what it needs, its process, its first answer, its model."""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread

from models.backend.client import BackendClient
from models.backend.errors import BackendError, Hung, LoadRefused, Unsupported
from models.backend.options import ModelOptions, model_options
from models.configs import ConfigInvalid, ModelConfig
from models.runtime import logs, ports, process
from models.runtime.backends import BackendFolder, BackendMissing, backend_for, find_backend
from models.runtime.identity import Identity, marker
from models.runtime.restarts import Cause
from models.runtime.rows import Row, Store

_LOOK = 0.1
_HEALTH_SECONDS = 2.0
_LONGEST_START = 3600.0
_PORT_TRIES = 20


@dataclass(frozen=True)
class Layout:
    """What every backend of this node shares: where things are, what it inherits, how long it may take (seconds)."""

    owner: str
    backends: tuple[Path, ...]
    models: Path
    logs: Path
    environment: Mapping[str, str]
    threads: int = 1
    context_size: int = 1024
    start_seconds: float = 40.0
    load_seconds: float = 600.0
    stop_seconds: float = 10.0

    def log_of(self, name: str) -> Path:
        return logs.log_path(self.logs, name)


class Failure(Exception):
    """A start that went wrong, or a run that ended. The restart policy says whether a retry helps."""

    def __init__(self, cause: Cause, detail: str) -> None:
        super().__init__(detail)
        self.cause = cause
        self.detail = detail


class Interrupted(Exception):
    """Somebody does not want this start any more."""


@dataclass(frozen=True)
class Plan:
    """What a start needs. seconds: how long the backend may take to answer its first Health."""

    folder: BackendFolder
    options: ModelOptions
    model_file: Path
    seconds: float


@dataclass
class Launch:
    """One start under way. `interrupted` is set by whoever does not want it any more."""

    store: Store
    layout: Layout
    row: Row
    interrupted: Event
    choose_port: Callable[[], int] = ports.free_port

    def plan(self) -> Plan:
        """Raises Failure."""
        name = self.row.name
        try:
            config = self.store.config(name)
            if config is None:
                raise Failure(Cause.CONFIG_INVALID, f"There is no configuration for {name} any more; install it again.")
            folder = find_backend(_backend_name(config), self.layout.backends)
            options = self._options(config)
        except ConfigInvalid as error:
            raise Failure(Cause.CONFIG_INVALID, str(error)) from error
        except BackendMissing as error:
            raise Failure(Cause.BACKEND_MISSING, str(error)) from error
        seconds = _start_seconds(config, self.layout.start_seconds)
        return Plan(folder, options, self.layout.models / config.model_file, seconds)

    def _options(self, config: ModelConfig) -> ModelOptions:
        layout = self.layout
        return model_options(
            config.data, models_path=layout.models, threads=layout.threads, context_size=layout.context_size
        )

    def spawn(self, plan: Plan) -> tuple[Identity, str]:
        """The new process and its address. Raises Failure."""
        try:
            address = ports.address(self._port())
            where = self.layout.log_of(self.row.name)
            mark = marker(self.layout.owner, self.row.id)
            return process.spawn(plan.folder, address, where, self.layout.environment, mark), address
        except process.SpawnFailed as error:
            raise Failure(Cause.SPAWN_FAILED if error.retry else Cause.CANNOT_RUN, str(error)) from error
        except ports.NoFreePort as error:
            raise Failure(Cause.SPAWN_FAILED, str(error)) from error

    def _port(self) -> int:
        """Looked at once more just before it is used: time passes between the choice and the start."""
        for _ in range(_PORT_TRIES):
            port = self.choose_port()
            if ports.is_free(port):
                return port
        raise ports.NoFreePort("Every port that was chosen was taken at once; close some servers on this machine.")

    def wait_until_healthy(self, client: BackendClient, identity: Identity, seconds: float) -> None:
        """Until it answers Health. Raises Failure when it ends before or takes too long, Interrupted."""
        deadline = time.monotonic() + seconds
        while True:
            self.check()
            if not identity.is_alive():
                raise Failure(Cause.EXITED, "The backend ended while it was starting.")
            with suppress(BackendError):
                if client.health(_HEALTH_SECONDS) and identity.is_alive():
                    return
            if time.monotonic() >= deadline:
                raise Failure(Cause.NEVER_HEALTHY, f"The backend did not answer Health within {seconds:g} s.")
            self.interrupted.wait(_LOOK)

    def load(self, client: BackendClient, identity: Identity, plan: Plan) -> None:
        """Load the model. Raises Failure, Interrupted."""
        call = _Call(lambda: client.load(plan.options, self.layout.load_seconds))
        while not call.done.wait(_LOOK):
            if self.interrupted.is_set() or not identity.is_alive():
                client.close()
                call.done.wait(1.0)
                self.check()
                raise Failure(Cause.EXITED, "The backend ended while it was loading the model.")
        if call.error is not None:
            self.check()
            raise self._load_failure(call.error, identity, plan) from call.error

    def _load_failure(self, error: BackendError, identity: Identity, plan: Plan) -> Failure:
        if _ends_within(identity, 1.0):
            return Failure(Cause.EXITED, "The backend ended while it was loading the model.")
        if isinstance(error, LoadRefused):
            return _refusal(error, plan)
        if isinstance(error, Unsupported):
            return Failure(Cause.NOT_SUPPORTED, str(error))
        if isinstance(error, Hung):
            seconds = self.layout.load_seconds
            return Failure(Cause.LOAD_FAILED, f"The backend did not finish loading the model within {seconds:g} s.")
        return Failure(Cause.LOAD_FAILED if error.retry else Cause.LOAD_REFUSED, str(error))

    def check(self) -> None:
        if self.interrupted.is_set():
            raise Interrupted


class _Call:
    """A call in a thread of its own, for one that blocks for minutes while others are watched."""

    def __init__(self, call: Callable[[], object]) -> None:
        self.done = Event()
        self.error: BackendError | None = None
        self._call = call
        Thread(target=self._run, name="load-model", daemon=True).start()

    def _run(self) -> None:
        try:
            self._call()
        except BackendError as error:
            self.error = error
        finally:
            self.done.set()


def _backend_name(config: ModelConfig) -> str:
    if config.disabled:
        raise ConfigInvalid(f"{config.name} is disabled in its configuration; take `disabled: true` out of it.")
    if name := backend_for(config.backend, config.model_file):
        return name
    raise ConfigInvalid(
        f"The configuration of {config.name} names no backend, and its model is not a .gguf file; "
        "add a line such as `backend: transformers` to it."
    )


def _start_seconds(config: ModelConfig, default: float) -> float:
    """A configuration may ask for more or fewer looks at a slow backend, as it may in LocalAI."""
    asked = config.data.get("grpc")
    attempts = asked.get("attempts") if isinstance(asked, Mapping) else None
    pause = asked.get("attempts_sleep_time") if isinstance(asked, Mapping) else None
    if not isinstance(attempts, int) or attempts <= 0:
        return default
    return min(_LONGEST_START, attempts * float(pause if isinstance(pause, int) and pause > 0 else 2))


def _refusal(error: LoadRefused, plan: Plan) -> Failure:
    """A model file that is missing, or is not what its name says, will be refused again."""
    file = plan.model_file
    if file.suffix.lower() == ".gguf" and not _is_gguf(file):
        what = "is not a GGUF file" if file.is_file() else "is not in the models folder"
        return Failure(Cause.MODEL_FILE_MISSING, f"The model file {file.name} {what}; install the model again.")
    return Failure(Cause.LOAD_REFUSED, str(error))


def _is_gguf(file: Path) -> bool:
    try:
        with file.open("rb") as opened:
            return opened.read(4) == b"GGUF"
    except OSError:
        return False


def _ends_within(identity: Identity, seconds: float) -> bool:
    """A process that crashes drops its connections a moment before it is gone."""
    deadline = time.monotonic() + seconds
    while identity.is_alive():
        if time.monotonic() >= deadline:
            return False
        time.sleep(_LOOK)
    return True
