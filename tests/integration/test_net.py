"""The console connects where it may, and nowhere else, whatever the address looks like."""

import re
import time
from collections.abc import Iterator

import pytest

from localai_admin.lib.addresses import is_public
from localai_admin.lib.net import (
    BadAnswer,
    Client,
    ConnectFailed,
    NetError,
    Policy,
    RefusedAddress,
    RefusedUrl,
    TimedOut,
    Timeouts,
    TooLarge,
    TooManyRedirects,
    shown,
)
from localai_admin.lib.neterrors import BrokenOff, Stalled
from tests.fakes.http_server import CERTIFICATE, Server, running

QUICK = Timeouts(connect=2, header=0.5, stall=0.4)


@pytest.fixture
def client() -> Iterator[Client]:
    found = Client(Policy(trusted_hosts=["127.0.0.1"], proxy=""), QUICK)
    yield found
    found.close()


def outsider(**more: object) -> Client:
    """A client that trusts nobody."""
    return Client(Policy(allow_http=True, proxy="", **more), QUICK)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "0177.0.0.1",  # octal
        "0x7f.0.0.1",  # hexadecimal
        "2130706433",  # one number
        "0",
        "0.0.0.0",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",  # a cloud's metadata
        "100.100.100.200",  # another cloud's, in the space shared by carriers
        "168.63.129.16",  # and one behind a public address
        "192.0.0.192",
        "224.0.0.1",
        "255.255.255.255",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::a00:1]",
        "[2002:7f00:1::]",
        "[fe80::1]",
        "[fd00:ec2::254]",
        "[ff02::1]",
        "localhost",
        "LOCALHOST.",
        "some.localhost",
        "printer.local",
        "metadata.google.internal",
        "instance-data",
    ],
)
def test_an_address_that_is_not_public_is_refused_in_every_form(host: str) -> None:
    with pytest.raises(RefusedAddress), outsider().open(f"http://{host}:1/"):
        pass


@pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"])
def test_public_addresses_are_public(address: str) -> None:
    assert is_public(address)


def test_a_name_that_resolves_to_this_machine_is_refused(server: Server) -> None:
    client = Client(Policy(allow_http=True, proxy=""), QUICK, resolve=lambda _host, _port: ["127.0.0.1"])
    with pytest.raises(RefusedAddress, match=r"harmless.example is 127\.0\.0\.1"):
        client.open(f"http://harmless.example:{server.port}/")
    assert server.seen == []


def test_one_private_address_among_public_ones_is_enough_to_refuse() -> None:
    client = Client(Policy(allow_http=True, proxy=""), QUICK, resolve=lambda _host, _port: ["1.1.1.1", "10.0.0.1"])
    with pytest.raises(RefusedAddress):
        client.open("http://harmless.example/")


def test_a_name_is_looked_up_once_so_that_it_cannot_change_after_the_check(server: Server) -> None:
    answers = [["203.0.113.7"], ["127.0.0.1"]]
    asked = []

    def resolve(host: str, _port: int) -> list[str]:
        asked.append(host)
        return answers.pop(0)

    client = Client(Policy(allow_http=True, proxy=""), QUICK, resolve=resolve)
    with pytest.raises(NetError):
        client.open(f"http://rebinding.example:{server.port}/")
    assert asked == ["rebinding.example"]
    assert server.seen == []


def test_a_trusted_host_is_reached(server: Server, client: Client) -> None:
    with client.open(server.gives("/x", b"hello")) as response:
        assert response.read(100) == b"hello"


def test_trust_in_one_port_is_not_trust_in_another(server: Server, other: Server) -> None:
    client = Client(Policy(trusted_hosts=[server.host], proxy=""), QUICK)
    with client.open(server.gives("/x", b"hello")) as response:
        assert response.status == 200
    with pytest.raises(NetError):
        client.open(other.gives("/x", b"hello"))
    assert other.seen == []


def test_the_host_of_the_connection_is_the_one_that_is_checked(server: Server) -> None:
    client = Client(Policy(trusted_hosts=["trusted.example"], allow_http=True, proxy=""), QUICK)
    for url in (
        f"http://trusted.example@127.0.0.1:{server.port}/",
        f"http://trusted.example#@127.0.0.1:{server.port}/",
    ):
        with pytest.raises(NetError):
            client.open(url)
    assert server.seen == []


@pytest.mark.parametrize("url", ["http://example.com/", "ftp://example.com/", "file:///etc", "https://", "x", ""])
def test_what_is_not_https_is_refused(url: str) -> None:
    with pytest.raises(RefusedUrl):
        Client(Policy(proxy="")).open(url)


def test_redirects_are_followed_to_the_end(server: Server, client: Client) -> None:
    server.gives("/c/end", b"here")
    server.gives("/b", redirect="/c/end")
    with client.open(server.gives("/a", redirect=server.url("/b"))) as response:
        assert response.read(100) == b"here"
        assert response.url == server.url("/c/end")


def test_a_circle_of_redirects_is_noticed(server: Server, client: Client) -> None:
    server.gives("/b", redirect="/a")
    with pytest.raises(TooManyRedirects, match="circle"):
        client.open(server.gives("/a", redirect="/b"))


def test_redirects_without_an_end_are_given_up(server: Server, client: Client) -> None:
    for number in range(20):
        server.gives(f"/{number}", redirect=f"/{number + 1}")
    with pytest.raises(TooManyRedirects, match="more than 10"):
        client.open(server.url("/0"))
    assert len(server.seen) == 11


@pytest.mark.parametrize(
    "target", ["http://127.0.0.2:1/x", "http://[::ffff:127.0.0.2]:1/", "http://169.254.169.254/latest"]
)
def test_a_redirect_to_a_private_address_is_refused(server: Server, target: str) -> None:
    client = outsider(trusted_hosts=[server.host])
    with pytest.raises(RefusedAddress):
        client.open(server.gives("/x", redirect=target))


@pytest.mark.parametrize("target", ["http://example.com/", "file:///etc/passwd", "gopher://127.0.0.1/"])
def test_a_redirect_to_something_else_than_https_is_refused(server: Server, client: Client, target: str) -> None:
    with pytest.raises(RefusedUrl):
        client.open(server.gives("/x", redirect=target))


def test_credentials_stay_with_their_host(server: Server, other: Server, client: Client) -> None:
    other.gives("/file", b"x")
    server.gives("/there", redirect=other.url("/file"))
    url = server.gives("/here", redirect="/there")
    with client.open(url, headers={"Range": "bytes=0-"}, credentials={"Authorization": "Bearer secret"}):
        pass
    assert [request.headers.get("authorization") for request in server.seen] == ["Bearer secret"] * 2
    assert other.seen[0].headers.get("authorization") is None
    assert other.seen[0].headers["range"] == "bytes=0-"


def test_no_cookie_goes_from_one_request_to_another(server: Server, client: Client) -> None:
    url = server.gives("/x", headers={"Set-Cookie": "a=b; Path=/"})
    for _ in range(2):
        client.open(url).close()
    assert "cookie" not in server.seen[1].headers


def test_nothing_but_the_bytes_themselves_is_asked_for(server: Server, client: Client) -> None:
    client.open(server.gives("/x")).close()
    assert server.seen[0].headers["accept-encoding"] == "identity"
    assert server.seen[0].headers["user-agent"] == "localai-admin"


def test_an_encoded_answer_is_refused(server: Server, client: Client) -> None:
    with (
        client.open(server.gives("/x", b"x", headers={"Content-Encoding": "gzip"})) as response,
        pytest.raises(BadAnswer),
    ):
        response.read(100)


def test_a_document_may_not_be_larger_than_allowed(server: Server, client: Client) -> None:
    with client.open(server.gives("/x", b"x" * 5000, chunked=True)) as response, pytest.raises(TooLarge):
        response.read(4999)


def test_a_document_that_is_cut_is_not_taken_for_the_whole(server: Server, client: Client) -> None:
    with client.open(server.gives("/x", b"x" * 5000, cut=10)) as response, pytest.raises(BrokenOff):
        response.read(10000)


@pytest.mark.parametrize("how", ["silent", "trickle"])
def test_headers_have_a_deadline(server: Server, client: Client, how: str) -> None:
    began = time.monotonic()
    with pytest.raises(TimedOut):
        client.open(server.gives("/x", b"x", **{how: True}))
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("chunked", [False, True])
def test_a_stall_is_told_while_it_lasts_and_then_ends_the_answer(server: Server, client: Client, chunked: bool) -> None:
    pieces = []
    with client.open(server.gives("/x", b"abc", stall=2, chunked=chunked)) as response, pytest.raises(Stalled):
        pieces.extend(response.chunks())
    assert b"".join(pieces) in {b"ab"}


def test_a_silent_second_is_told_as_an_empty_piece(server: Server) -> None:
    client = Client(Policy(trusted_hosts=["127.0.0.1"], proxy=""), Timeouts(stall=30))
    with client.open(server.gives("/x", b"abc", stall=2)) as response:
        pieces = response.chunks()
        assert [next(pieces), next(pieces)] == [b"ab", b""]


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("size", [0, 1, 3000, 3_000_000])
def test_a_body_comes_as_it_was_sent(server: Server, client: Client, size: int, chunked: bool) -> None:
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    with client.open(server.gives("/x", body, chunked=chunked)) as response:
        assert b"".join(response.chunks()) == body


def test_a_host_that_is_not_there_is_named() -> None:
    client = Client(Policy(trusted_hosts=["127.0.0.1"], proxy=""), QUICK)
    with pytest.raises(ConnectFailed, match=r"127\.0\.0\.1") as caught:
        client.open("http://127.0.0.1:1/")
    assert caught.value.retry


def test_a_proxy_is_used_when_the_environment_names_one(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", server.url())
    with pytest.raises(ConnectFailed):
        Client(Policy(), QUICK).open("https://example.com/")
    monkeypatch.delenv("HTTPS_PROXY")
    assert Policy().proxy == ""


def test_no_secret_of_an_address_is_shown() -> None:
    assert shown("https://user:secret@example.com/a/b?token=secret#secret") == "https://example.com/a/b"
    assert not re.search("secret", shown("https://user:secret@[broken/?token=secret"))


# --- TLS ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def secure(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(CERTIFICATE))
    with running(tls=True) as found:
        yield found


def secure_client(host: str = "127.0.0.1") -> Client:
    """Made in the test: the file of certificates is read from the environment then."""
    return Client(Policy(trusted_hosts=[host], proxy=""), QUICK, resolve=lambda _host, _port: ["127.0.0.1"])


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("size", [0, 1, 3000, 40_000, 3_000_000])
def test_a_body_comes_through_tls_as_it_was_sent(secure: Server, size: int, chunked: bool) -> None:
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    with secure_client().open(secure.gives("/x", body, chunked=chunked)) as response:
        assert b"".join(response.chunks()) == body


def test_a_stall_is_noticed_through_tls(secure: Server) -> None:
    pieces = []
    with secure_client().open(secure.gives("/x", b"abc", stall=2)) as response, pytest.raises(Stalled):
        pieces.extend(response.chunks())
    assert b"".join(pieces) == b"ab"


@pytest.mark.parametrize("how", ["silent", "trickle"])
def test_headers_have_a_deadline_through_tls(secure: Server, how: str) -> None:
    with pytest.raises(TimedOut):
        secure_client().open(secure.gives("/x", b"x", **{how: True}))


def test_the_certificate_is_that_of_the_name_and_not_of_the_address(secure: Server) -> None:
    secure.gives("/x", b"x")
    with secure_client("files.test").open(f"https://files.test:{secure.port}/x") as response:
        assert response.status == 200
    with pytest.raises(ConnectFailed, match="certificate") as caught:
        secure_client("other.test").open(f"https://other.test:{secure.port}/x")
    assert not caught.value.retry


def test_a_certificate_that_nobody_signed_is_not_accepted(secure: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    with pytest.raises(ConnectFailed, match="certificate"):
        secure_client().open(secure.url("/x"))


def test_a_private_address_is_refused_with_tls_too(secure: Server) -> None:
    client = Client(Policy(proxy=""), QUICK, resolve=lambda _host, _port: ["127.0.0.1"])
    with pytest.raises(RefusedAddress):
        client.open(f"https://files.test:{secure.port}/x")
    assert secure.seen == []


@pytest.mark.parametrize("host", ["127.0.0.1", "files.test"])
def test_a_redirect_from_tls_to_none_is_refused_unless_the_host_is_trusted(
    secure: Server, server: Server, host: str
) -> None:
    server.gives("/plain", b"x")
    url = secure.gives("/x", redirect=f"http://{host}:{server.port}/plain")
    client = Client(Policy(allow_http=True, trusted_hosts=["127.0.0.1"], proxy=""), QUICK)
    if host == "127.0.0.1":
        client.open(url).close()
        return
    with pytest.raises(RefusedUrl, match="without TLS"):
        client.open(url)
