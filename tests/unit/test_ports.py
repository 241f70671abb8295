import socket

import pytest

from models.runtime import ports


def test_a_free_port_can_be_listened_on() -> None:
    port = ports.free_port()
    assert ports.is_free(port)
    assert ports.address(port) == f"127.0.0.1:{port}"


@pytest.mark.parametrize("option", [0, socket.SO_REUSEPORT])
def test_a_port_somebody_listens_on_is_not_free_even_when_it_could_be_shared(option: int) -> None:
    with socket.socket() as listener:
        if option:
            listener.setsockopt(socket.SOL_SOCKET, option, 1)
        listener.bind((ports.LOOPBACK, 0))
        listener.listen()
        assert not ports.is_free(listener.getsockname()[1])


def test_a_port_that_was_given_away_is_not_given_again() -> None:
    given = {ports.free_port() for _ in range(20)}
    assert ports.free_port(given) not in given


def test_when_every_port_is_taken_it_says_so() -> None:
    with pytest.raises(ports.NoFreePort, match="No free port"):
        ports.free_port(range(65536))
