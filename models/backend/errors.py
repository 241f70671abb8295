"""What can go wrong between the console and a backend: one tree, and the one place where gRPC's codes become it."""

from typing import ClassVar

import grpc


class BackendError(Exception):
    """A call to a backend that gave no answer, in a sentence for a person. `retry`: whether asking again can help."""

    retry: ClassVar[bool] = False


class Unreachable(BackendError):
    """Nobody listens at the address, or the connection broke: not there yet, or not there any more."""

    retry = True


class Hung(BackendError):
    """No answer in time. The process may be busy with other work, or stuck; it is not known to be gone."""

    retry = True


class Unsupported(BackendError):
    """The backend does not offer this call. Normal for many backends and many calls."""


class LoadRefused(BackendError):
    """The backend answered that it cannot load the model; `message` is its own reason, possibly empty."""

    def __init__(self, message: str) -> None:
        self.message = message
        reason = _reason(message) or "it gave no reason; its log may say more"
        super().__init__(f"The backend could not load the model: {reason}.")


class Cancelled(BackendError):
    """The call was given up before it was answered, by this side or by the backend."""

    retry = True


class CallFailed(BackendError):
    """The backend answered with an error of its own; `code` is gRPC's name for its kind, such as NOT_FOUND."""

    def __init__(self, code: str, details: str, sentence: str) -> None:
        self.code, self.details = code, details
        super().__init__(sentence)


_LONGEST_REASON = 1000

#: What a person can do about an error of a backend's own, where the code alone tells.
_ADVICE = {
    grpc.StatusCode.UNAUTHENTICATED: "Set LOCALAI_GRPC_AUTH_TOKEN to the same value for the console and the backend.",
    grpc.StatusCode.NOT_FOUND: "Shut the model down and load it again.",
    grpc.StatusCode.FAILED_PRECONDITION: "Load the model first.",
    grpc.StatusCode.RESOURCE_EXHAUSTED: "Ask for less at once, or wait until other requests are done.",
    grpc.StatusCode.INVALID_ARGUMENT: "Change the request or the model's configuration.",
}


def translate(error: grpc.RpcError, method: str, address: str, timeout: float) -> BackendError:
    """The error of the tree that says what gRPC's error means; `timeout` is the deadline the call had, in seconds."""
    code, details = _code_and_details(error)
    if code is grpc.StatusCode.UNAVAILABLE:
        return Unreachable(f"Nothing answers at {address}; the backend is starting, was stopped, or broke down.")
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return Hung(
            f"The backend did not answer {method} within {timeout:g} s; it is busy or stuck. Wait, or reload it."
        )
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return Unsupported(f"This backend does not offer {method}; choose a backend that does.")
    if code is grpc.StatusCode.CANCELLED:
        return Cancelled(f"{method} was cancelled before it was answered; ask again if it is still wanted.")
    reason = _reason(details) or "no reason given"
    advice = _ADVICE.get(code, "The backend's log may say more.")
    return CallFailed(code.name, details, f"{method} failed: {reason}. {advice}")


def _reason(said: str) -> str:
    """A backend's words as a part of a sentence: on one line, so that no line of a log is forged, and not too long."""
    line = " ".join(said[: 2 * _LONGEST_REASON].split()).rstrip(".")
    return line if len(line) <= _LONGEST_REASON else f"{line[:_LONGEST_REASON]}…"


def _code_and_details(error: grpc.RpcError) -> tuple[grpc.StatusCode, str]:
    """gRPC promises these on every error that comes from a call; anything else is unknown."""
    if isinstance(error, grpc.Call):
        return error.code() or grpc.StatusCode.UNKNOWN, error.details() or ""
    return grpc.StatusCode.UNKNOWN, str(error)
