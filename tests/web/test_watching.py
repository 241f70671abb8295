"""Pages that ask again by themselves: cheap when many ask, never wrong, and only for those who may."""

import gzip
from datetime import timedelta

import pytest
from django.contrib.auth.models import Group, User
from django.contrib.sessions.models import Session
from django.db import connection
from django.http import HttpResponse
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from gallery.models import Job
from gallery.states import State
from localai_admin.lib import polling
from localai_admin.lib.polling import Polls, versioned
from team import passes
from tests.conftest import signed_in

HTMX = {"HX-Request": "true"}
LIST = "/jobs/?tab=progress&v=other"


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def job(db) -> Job:
    now = timezone.now()
    return Job.objects.create(
        kind="install", subject="phi", state=State.DOWNLOADING, bytes_total=100, bytes_done=10, last_data_at=now
    )


def ask(client: Client, url: str = LIST) -> HttpResponse:
    return client.get(url, headers=HTMX)


def cost(client: Client, url: str = LIST) -> int:
    with CaptureQueriesContext(connection) as queries:
        assert ask(client, url).status_code == 200
    return len(queries)


@pytest.fixture
def watching(job: Job, viewer: User) -> Client:
    """A client whose pass is known, so that its answers are shared from now on."""
    client = signed_in(viewer)
    ask(client)
    return client


def share_with(client: Client, user: User) -> Client:
    """Another session, in the same process as the first."""
    other = signed_in(user)
    other.handler = client.handler
    ask(other)
    return other


@pytest.mark.parametrize("url", [LIST, "/strip/?v=other", "job"])
def test_an_answer_is_made_once_a_second_for_all_who_may_see_the_same(watching, job, viewer, url):
    url = f"/jobs/{job.pk}/?v=other" if url == "job" else url
    other = share_with(watching, viewer)
    first = ask(watching, url)
    assert cost(other, url) == 0
    assert ask(other, url).content == first.content
    packed = other.get(url, headers={**HTMX, "Accept-Encoding": "gzip"})
    assert packed.headers["Content-Encoding"] == "gzip" and gzip.decompress(packed.content) == first.content


def test_a_page_that_has_seen_the_version_gets_nothing(watching):
    text = watching.get("/jobs/").content.decode()
    url = "/jobs/" + text.partition('id="jobs" hx-get="')[2].partition('"')[0].replace("&amp;", "&")
    assert [ask(watching, url).status_code for _ in range(3)] == [204, 204, 204]
    assert ask(watching).status_code == 200


def test_who_may_do_more_does_not_share_with_who_may_only_look(watching, installer):
    ask(watching)
    other = share_with(watching, installer)
    assert b"/cancel/" in other.get(LIST, headers=HTMX).content
    assert b"/cancel/" not in watching.get(LIST, headers=HTMX).content


def test_no_token_of_a_session_is_in_what_is_shared(watching, installer):
    other = share_with(watching, installer)
    text = other.get(LIST, headers=HTMX).content.decode()
    assert 'name="csrfmiddlewaretoken" value=""' in text
    page = other.get("/jobs/").content.decode()
    assert 'hx-headers=\'{"X-CSRFToken": "' in page and 'X-CSRFToken": ""' not in page


def a_second_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes, "LOOK_EVERY", 0.0)


def signed_out(viewer: User) -> None:
    Session.objects.all().delete()


def without_a_role(viewer: User) -> None:
    viewer.groups.clear()


def with_another_role(viewer: User) -> None:
    viewer.groups.add(Group.objects.get(name="installer"))


def inactive(viewer: User) -> None:
    User.objects.filter(pk=viewer.pk).update(is_active=False)


def with_another_password(viewer: User) -> None:
    viewer.set_password("another quiet phrase")
    viewer.save()


def of_a_weaker_role(viewer: User) -> None:
    Group.objects.get(name="viewer").permissions.clear()


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        (signed_out, "/sign-in/"),
        (without_a_role, 403),
        (inactive, "/sign-in/"),
        (with_another_password, "/sign-in/"),
        (of_a_weaker_role, 403),
        (with_another_role, 200),
    ],
)
def test_what_somebody_may_is_asked_anew_every_second(watching, viewer, monkeypatch, changed, status):
    assert ask(watching).status_code == ask(watching).status_code == 200
    changed(viewer)
    a_second_later(monkeypatch)
    answer = ask(watching)
    if isinstance(status, str):
        assert status in answer.headers["HX-Redirect"]
    else:
        assert answer.status_code == status
        assert b"/cancel/" in ask(watching, "/jobs/?tab=progress").content or status == 403


def test_a_session_that_is_over_is_over_for_a_page_that_asks_by_itself(watching, settings, monkeypatch):
    assert ask(watching).status_code == 200
    later = passes.time.time() + settings.SESSION_IDLE_SECONDS + 1
    monkeypatch.setattr("time.time", lambda: later)
    assert "/sign-in/" in ask(watching).headers["HX-Redirect"]


def test_what_somebody_does_is_seen_by_the_next_question(watching, installer, job):
    other = share_with(watching, installer)
    assert b"Cancelling" not in other.get(LIST, headers=HTMX).content
    other.post(f"/jobs/{job.pk}/cancel/")
    assert b"Cancelling" in other.get(LIST, headers=HTMX).content


def test_a_call_by_a_name_that_is_not_the_consoles_is_refused(watching, settings):
    settings.ALLOWED_HOSTS = ["console.example"]
    assert watching.get(LIST, headers={**HTMX, "Host": "evil.example"}).status_code == 400


# --- no change is lost


def versions(client: Client, job: Job) -> tuple[str, str]:
    """Those of the list and of the job's page, as somebody who opens them gets them."""
    return _version(client, "/jobs/"), _version(client, job.get_absolute_url())


def _version(client: Client, path: str) -> str:
    text = client.get(path).content.decode().partition('<main id="content"')[2]
    return text.partition('hx-get="')[2].partition('"')[0].rpartition("v=")[2]


@pytest.mark.parametrize(
    "change",
    [
        {"state": State.VERIFYING},  # a second change at the same moment
        {"bytes_done": 11},
        {"changed_at": timezone.now() - timedelta(hours=1), "message": "x"},  # a commit that was overtaken
        {"changed_at": timezone.now() - timedelta(hours=1)},
    ],
)
def test_a_change_is_seen_whatever_its_time_says(as_viewer, job, change):
    before = versions(as_viewer, job)
    Job.objects.filter(pk=job.pk).update(**change)
    after = versions(as_viewer, job)
    assert before[0] != after[0] and before[1] != after[1]


def test_nothing_changed_is_the_same_version(as_viewer, job):
    assert versions(as_viewer, job) == versions(as_viewer, job)


# --- how often


def test_the_more_pages_are_open_the_less_often_each_asks():
    clock = Clock()
    polls = Polls(clock)
    assert polls.pace(2) == 2
    for page in range(400):
        polls.note(page)
    assert polls.pace(2) == 400 / polling.POLLS_A_SECOND
    assert polls.pace(2, beside=True) == 2 * polls.pace(2)
    assert polls.pace(8) == 8
    for page in range(100_000):
        polls.note(page)
    assert polls.pace(2) == polling.LONGEST_PACE
    clock.now += polling.CLOSED_AFTER + 1
    polls.note("one")
    assert polls.pace(2) == 2


def test_in_a_crowd_the_strip_gives_way_to_the_page_it_is_on(watching, monkeypatch):
    monkeypatch.setattr(polling, "POLLS_A_SECOND", 0.4)
    assert b'data-live="2.5"' in ask(watching).content
    assert b'data-live="10.0"' in ask(watching, "/strip/?v=other").content


def test_an_answer_is_as_old_as_its_question():
    clock = Clock()
    polls = Polls(clock)
    with polls.alone("list") as asked_at:
        clock.now += 0.9
        polls.keep("list", versioned(HttpResponse("text"), "one"), asked_at, None)
    assert polls.get("list")
    clock.now += 0.2
    assert polls.get("list") is None


def test_what_no_view_called_versioned_is_not_kept():
    polls = Polls()
    polls.keep("page", HttpResponse("text"), 0.0, None)
    assert polls.get("page") is None
