"""Free ports on the loopback interface."""

import socket
from collections.abc import Collection

LOOPBACK = "127.0.0.1"
_TRIES = 50


class NoFreePort(Exception):
    """Every port that was tried is in use. A retry may help: close what holds them."""


def free_port(avoid: Collection[int] = ()) -> int:
    """A port nobody listens on now, and none of those to avoid (given to a backend that does not listen yet)."""
    for _ in range(_TRIES):
        with socket.socket() as plain:
            plain.bind((LOOPBACK, 0))
            port: int = plain.getsockname()[1]
        if port not in avoid:
            return port
    raise NoFreePort(
        f"No free port was found on {LOOPBACK} in {_TRIES} tries; close some of the servers on this machine."
    )


def is_free(port: int) -> bool:
    """Whether a backend could listen there.

    The bind is a plain one: with SO_REUSEPORT, which gRPC servers set, two of them would share the port in silence.
    """
    with socket.socket() as plain:
        try:
            plain.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def address(port: int) -> str:
    return f"{LOOPBACK}:{port}"
