"""What is wrong between here and a server: names, certificates, other hosts, and lines that hardly move."""

import pytest

from gallery.states import State
from localai_admin.lib.net import Timeouts
from tests.fakes.http_server import CERTIFICATE, Page, Server
from tests.fakes.two_files import BODY, GOOD, LARGE, SICK, TwoFiles, at_progress

pytestmark = pytest.mark.django_db(transaction=True)


def uris(two: TwoFiles, sick: str) -> dict[str, str]:
    return {SICK: sick, GOOD: two.server.url("/good")}


def failed(two: TwoFiles, cause: str, says: str, then: str) -> None:
    """The job has failed for good, or waits for its next try; its page says why, and what can be done."""
    page = two.page()
    assert two.job.cause == cause, two.job.error
    assert says in two.job.error
    assert then in two.job.action
    assert two.job.error in page
    assert f"<p>{two.job.action}</p>" in page
    assert two.offers("retry" if two.job.state == State.FAILED else "cancel")


def mended(two: TwoFiles, sick: str) -> None:
    """Whoever keeps the gallery corrects the address; the next try finishes."""
    two.enter(uris(two, sick))
    two.ask_again()
    two.run()
    two.assert_installed()


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        # A name that nobody knows.
        ("http://nobody.invalid/sick", "The name nobody.invalid was not found"),
        # Nobody listens there.
        ("http://127.0.0.1:9/sick", "No connection to 127.0.0.1 within"),
    ],
)
def test_a_host_that_is_not_there_is_tried_again_by_itself(two: TwoFiles, uri: str, says: str) -> None:
    two.install_earlier()
    before = two.visible()
    two.offer(uri=uri)
    two.ask()
    two.run()
    failed(two, "network", says, "Check the network")
    assert "Try 2 of 5 in" in two.page()
    assert two.visible() == before
    mended(two, two.server.url("/sick"))


def test_a_certificate_of_nobody_we_know_is_not_tried_again(
    two: TwoFiles, secure: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    two.offer(uri=secure.gives("/sick", BODY))
    two.ask()
    two.run()
    failed(two, "network", "The certificate of 127.0.0.1 was not accepted", "REQUESTS_CA_BUNDLE")
    assert two.job.state == State.FAILED
    assert two.visible() == {}
    assert secure.sent["/sick"] == 0
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(CERTIFICATE))
    two.ask_again()
    two.run()
    two.assert_installed()


def test_a_host_with_tls_does_not_lead_to_one_without(
    two: TwoFiles, secure: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(CERTIFICATE))
    two.install_earlier()
    before = two.visible()
    two.offer(uri=secure.gives("/sick", redirect="http://example.com/sick"))
    two.ask()
    two.run()
    failed(two, "refused_address", "redirects to http://example.com/sick, which is without TLS", "https address")
    assert two.visible() == before
    secure.gives("/sick", BODY)
    two.ask_again()
    two.run()
    two.assert_installed()


def test_what_a_gallery_is_given_in_secret_does_not_follow_to_another_host(two: TwoFiles, other: Server) -> None:
    two.gallery.headers = {"Authorization": "Bearer of-the-gallery"}
    two.gallery.save()
    two.offer()
    two.suffer(redirect=other.gives("/elsewhere", BODY))
    two.ask()
    two.run()
    two.assert_installed()
    said = {request.path: request.headers.get("authorization") for request in two.server.seen + other.seen}
    assert said == {"/sick": "Bearer of-the-gallery", "/good": "Bearer of-the-gallery", "/elsewhere": None}


def test_a_slow_line_is_under_way_and_can_be_paused(two: TwoFiles) -> None:
    """Nothing is wrong as far as anybody can tell: what comes is shown, and stays."""
    two.install_earlier()
    before = two.visible()
    two.offer(LARGE, pause=0.6)
    two.ask()
    seen: list[str] = []

    def pause() -> None:
        seen.append(two.page())
        two.press("pause")

    two.run(at_progress(pause, beyond=100_000), timeouts=Timeouts(stall=20))
    assert two.job.state == State.PAUSED
    assert "Downloading" in seen[0]
    assert "of 2.0 MiB" in seen[0]
    assert two.visible() == before
    kept = two.kept(SICK)
    assert 90_000 <= kept < len(LARGE)
    two.suffer()
    two.press("resume")
    two.run()
    two.assert_installed()


def test_a_connection_that_hardly_moves_is_given_up_and_what_it_brought_is_kept(two: TwoFiles) -> None:
    """A byte now and then, of which the first connection holds the beginning: another one goes on there."""
    two.offer(LARGE, turns=[Page(LARGE, drip=0.05)])
    two.ask()
    two.run()
    two.assert_installed()
