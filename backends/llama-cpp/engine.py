"""The engine as the server sees it: a child process that loads one model, answers over HTTP, and may break down."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

_PROGRAM = Path(__file__).with_name("llama.py")
#: The server ends its calls when their own deadline passes; this one is for a call that came without. Seconds.
_LONGEST = 3600.0
_KILL_SECONDS = 5.0
#: In llama.cpp's log: a line of level E, with the reason behind the name of a function; or a failed assertion.
_COMPLAINT = re.compile(r"^[\d.]+ E (?:[^:]*: )?(?:error loading model: )?(?P<error>.+)|(?P<assertion>GGML_ASSERT.+)")


class EngineError(Exception):
    """Something the engine did not do, in a sentence for a person."""


class EngineGone(EngineError):
    """The engine's process has ended, by itself or because it was stopped."""


class Refused(EngineError):
    """The engine is well, but does not do what it was asked; `status` is its HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        super().__init__(message)


class Engine:
    """One engine process. `start` it once, then `ask` from any thread; `stop` from any thread, at any time."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings = settings
        self._port = 0
        self._complaint = ""
        self.stopped = False
        report, answer = os.pipe()
        # Or a failed assertion starts a debugger on itself, where there is one, and takes seconds to end.
        environment = {**os.environ, "GGML_NO_BACKTRACE": "1"}
        self._report = report
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own program, by our own interpreter
                [sys.executable, str(_PROGRAM), str(os.getpid()), str(answer)],
                stdin=subprocess.PIPE,
                stdout=sys.stderr,
                stderr=subprocess.PIPE,
                pass_fds=[answer],
                env=environment,
                text=True,
                errors="replace",
            )
        finally:
            os.close(answer)
        self._listener = threading.Thread(target=self._listen, name="engine-log", daemon=True)
        self._listener.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def start(self) -> None:
        """Load the model; returns when it is ready. Raises EngineError with what was wrong."""
        with suppress(BrokenPipeError):
            self._input.write(json.dumps(self._settings) + "\n")
            self._input.flush()
        with os.fdopen(self._report) as report:
            line = report.readline()
        if not line:
            raise EngineGone(self._last_words("while it loaded the model"))
        said = json.loads(line)
        if "error" in said:
            self._wait(_KILL_SECONDS)
            raise EngineError(self._complaint or said["error"])
        self._port = said["port"]
        self._complaint = ""

    def stop(self) -> None:
        """End the process; its memory is free when this returns. Safe to call again."""
        self.stopped = True
        # Nothing to save, and an engine that loads a model hears nothing else.
        self._process.kill()
        self._wait(_KILL_SECONDS)
        with suppress(OSError):
            self._input.close()

    def ask(self, path: str, body: Mapping[str, Any]) -> "Exchange":
        """A request for this engine; nothing is sent before it is entered."""
        return Exchange(self, path, body)

    def open(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self._port, timeout=_LONGEST)

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._settings['key']}", "Content-Type": "application/json"}

    def lost(self, error: Exception) -> EngineError:
        """What a broken connection means: most often that the engine has just ended."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)
        if self.is_alive:
            return EngineError(f"The engine broke off its answer ({error}); ask again.")
        return EngineGone(self._last_words("while it worked"))

    @property
    def _input(self) -> Any:
        return self._process.stdin

    def _wait(self, seconds: float) -> None:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        self._listener.join(seconds)

    def _listen(self) -> None:
        """Pass the engine's log on, and keep the first complaint: it says more than the engine's answer."""
        assert self._process.stderr is not None  # noqa: S101 it was asked for
        for line in self._process.stderr:
            sys.stderr.write(line)
            found = _COMPLAINT.search(line)
            if found and (found["assertion"] or not self._complaint):
                self._complaint = (found["assertion"] or found["error"]).strip()

    def _last_words(self, when: str) -> str:
        if self.stopped:
            return "The model was unloaded meanwhile; load it again."
        self._wait(_KILL_SECONDS)
        code = self._process.returncode
        how = f"signal {signal.Signals(-code).name}" if code and code < 0 else f"exit code {code}"
        more = f": {self._complaint}" if self._complaint else ""
        return f"The engine broke down {when} ({how}){more}. Load the model again, or use another file."


class Exchange:
    """One request to the engine; a context manager. `cancel` from any thread ends it, and the engine's work for it."""

    def __init__(self, engine: Engine, path: str, body: Mapping[str, Any]) -> None:
        self._engine, self._path, self._body = engine, path, body
        self._connection = engine.open()
        self._socket: socket.socket | None = None
        self._response: http.client.HTTPResponse | None = None
        self.cancelled = False

    def __enter__(self) -> "Exchange":
        try:
            self._connection.connect()
            self._socket = self._connection.sock
            self._connection.request("POST", self._path, json.dumps(self._body), self._engine.headers)
            if self.cancelled:
                self.cancel()
            self._response = self._connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise self._lost(error) from error
        return self

    def __exit__(self, *_: object) -> None:
        self.cancel()
        if self._response is not None:
            self._response.close()
        self._connection.close()

    def cancel(self) -> None:
        self.cancelled = True
        if self._socket is not None:
            # Unlike a mere close, this wakes a thread that waits for the next piece.
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def whole(self) -> dict[str, Any]:
        """The answer, when it is one piece of JSON."""
        response = self._answer()
        try:
            said: dict[str, Any] = json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise self._lost(error) from error
        return said

    def pieces(self) -> Iterator[dict[str, Any]]:
        """The answer's pieces of JSON as they come; the last one says `stop`."""
        response = self._answer()
        try:
            for line in response:
                name, _, value = line.partition(b":")
                if name in {b"data", b"error"}:
                    piece = _checked(json.loads(value))
                    yield piece
                    if piece.get("stop"):
                        return
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise self._lost(error) from error
        # A connection that breaks between two pieces looks like the end.
        raise self._lost(EOFError("the connection was closed"))

    def _lost(self, error: Exception) -> EngineError:
        return EngineError("The caller has gone.") if self.cancelled else self._engine.lost(error)

    def _answer(self) -> http.client.HTTPResponse:
        response = self._response
        if response is None:
            raise RuntimeError("an exchange must be entered before it is read")
        if response.status != http.HTTPStatus.OK:
            try:
                _checked(json.loads(response.read()))
            except (OSError, http.client.HTTPException, ValueError) as error:
                raise self._lost(error) from error
            raise Refused(response.status, response.reason)
        return response


def _checked(said: dict[str, Any]) -> dict[str, Any]:
    failure = said.get("error") or (said if "code" in said and "message" in said else None)
    if failure:
        raise Refused(int(failure.get("code", 500)), str(failure.get("message", "no reason given")))
    return said
