import re
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.html import escape

from gallery.models import Job, JobEvent, JobFile
from gallery.states import Kind, State, Wanted

HTMX = {"HX-Request": "true"}
GIB = 1 << 30


def job_of(subject: str = "qwen3", state: State = State.QUEUED, **fields: Any) -> Job:
    return Job.objects.create(**{"kind": Kind.INSTALL, "subject": subject, "state": state, "by": "ines", **fields})


def ago(**span: float) -> datetime:
    return timezone.now() - timedelta(**span)


def listed(client: Client, tab: str = "", **query: str) -> str:
    response = client.get("/jobs/", {**({"tab": tab} if tab else {}), **query})
    assert response.status_code == 200
    return response.content.decode().partition('<main id="content"')[2]


def shown(client: Client, job: Job) -> str:
    response = client.get(job.get_absolute_url())
    assert response.status_code == 200
    return response.content.decode()


@pytest.fixture
def downloading(db) -> Job:
    return job_of(
        state=State.DOWNLOADING,
        message="Fetching 2 files",
        attempt=1,
        bytes_total=4 * GIB,
        bytes_done=1 * GIB,
        speed=10 * (1 << 20),
        last_data_at=timezone.now(),
        started_at=ago(minutes=2),
    )


# --- the lists


def test_each_job_is_a_row_with_its_bar_speed_and_time_left(downloading, as_viewer):
    text = listed(as_viewer)
    for part in ("Install qwen3", "Downloading", "1.0 GiB of 4.0 GiB", "10.0 MiB/s", "5 min 7 s", "ines"):
        assert part in text
    assert f'<progress class="" value="{GIB}" max="{4 * GIB}" aria-label="Progress of qwen3">' in text


def test_the_tabs_count_what_is_in_them(db, as_viewer):
    job_of("a")
    job_of("b", State.FAILED, error="No space.")
    job_of("c", State.FAILED, dismissed=True)
    job_of("d", State.DONE)
    text = listed(as_viewer)
    counts = [part.split("<")[0] for part in text.split('class="count">')[1:]]
    assert counts == ["1", "1", "3"]


def test_each_tab_has_its_own_jobs(db, as_viewer):
    job_of("going"), job_of("broken", State.FAILED, error="The disk is full."), job_of("over", State.DONE)
    assert "going" in listed(as_viewer) and "broken" not in listed(as_viewer)
    assert "The disk is full." in listed(as_viewer, "attention") and "going" not in listed(as_viewer, "attention")
    record = listed(as_viewer, "record")
    assert "broken" in record and "over" in record and "going" not in record


def test_what_has_just_ended_stays_in_place_for_a_while(db, as_viewer):
    just, before = job_of("just", State.DONE), job_of("before", State.DONE)
    JobEvent.objects.create(job=just, to_state=State.DONE, at=ago(seconds=10))
    JobEvent.objects.create(job=before, to_state=State.DONE, at=ago(minutes=10))
    text = listed(as_viewer)
    assert "Install just" in text and "Install before" not in text


def test_the_order_of_the_queue_is_told(db, as_viewer):
    job_of("second", created_at=ago(minutes=1))
    job_of("first", created_at=ago(minutes=2))
    text = listed(as_viewer)
    assert text.index("1st in the queue") < text.index("second") < text.index("2nd in the queue")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"state": "failed"}, {"b"}),
        ({"kind": "delete"}, {"c"}),
        ({"by": "ada"}, {"b"}),
        ({"by": "-"}, {"c"}),
        ({"q": "A-MODEL"}, {"a-model"}),
        ({"q": "%"}, set()),
        ({"state": "nonsense", "kind": "nonsense", "page": "x"}, {"a-model", "b", "c"}),
    ],
)
def test_the_record_can_be_narrowed_by_its_url(db, as_viewer, query, expected):
    job_of("a-model", State.DONE)
    job_of("b", State.FAILED, by="ada")
    job_of("c", State.CANCELLED, by="", kind=Kind.DELETE)
    text = listed(as_viewer, "record", **query)
    assert {name for name in ("a-model", "b", "c") if f" {name}</a>" in text} == expected


def test_the_record_has_pages(db, as_viewer):
    Job.objects.bulk_create(
        Job(kind=Kind.INSTALL, subject=f"m{number:02}", state=State.DONE, created_at=ago(minutes=number))
        for number in range(45)
    )
    first, second = listed(as_viewer, "record", q="m"), listed(as_viewer, "record", q="m", page="2")
    assert "m39" in first and "m40" not in first and 'href="?tab=record&amp;q=m&amp;page=2"' in first
    assert "m40" in second and 'href="?tab=record&amp;q=m"' in second
    assert "past the end" in listed(as_viewer, "record", page="9")


@pytest.mark.parametrize(
    ("tab", "sentence"),
    [("progress", "Nothing is under way"), ("attention", "Nothing needs you"), ("record", "The record is empty")],
)
def test_an_empty_tab_says_what_would_be_there(db, as_viewer, tab, sentence):
    assert sentence in listed(as_viewer, tab)


def polled(client: Client, text: str, marker: str) -> Any:
    """What the page's live part would get for an answer."""
    part = text.partition(marker)[2].partition('hx-get="')[2].partition('"')[0].replace("&amp;", "&")
    return client.get(part if part.startswith("/") else "/jobs/" + part, headers=HTMX)


def test_a_list_that_has_not_changed_is_not_sent_again(db, as_viewer):
    job_of()
    text = listed(as_viewer)
    assert polled(as_viewer, text, 'id="jobs"').status_code == 204
    Job.objects.update(message="x", changed_at=timezone.now())
    changed = polled(as_viewer, text, 'id="jobs"')
    assert changed.status_code == 200
    assert changed.content.decode().lstrip().startswith('<div id="jobs"')


def test_a_list_is_asked_for_more_often_while_something_moves(downloading, as_viewer):
    assert 'data-live="2"' in listed(as_viewer).split('id="jobs"')[1].split(">")[0]
    Job.objects.update(state=State.DONE)
    assert 'data-live="8"' in listed(as_viewer).split('id="jobs"')[1].split(">")[0]


@pytest.mark.parametrize("tab", ["progress", "attention", "record"])
def test_a_list_takes_the_same_few_queries_however_long_it_is(db, as_installer, django_assert_max_num_queries, tab):
    for number in range(30):
        job_of(f"a{number}"), job_of(f"b{number}", State.FAILED, error="x"), job_of(f"c{number}", State.DONE)
    with django_assert_max_num_queries(10):
        listed(as_installer, tab)


# --- one job


def test_the_page_shows_bytes_speed_time_left_and_each_file(downloading, as_viewer):
    JobFile.objects.create(
        job=downloading,
        filename="big.gguf",
        uri="https://x/",
        size=3 * GIB,
        done=GIB // 2,
        status="downloading",
        sha256="a" * 64,
    )
    half = GIB // 2
    JobFile.objects.create(
        job=downloading, filename="eye.gguf", uri="https://x/", size=half, done=half, status="already here", position=1
    )
    text = shown(as_viewer, downloading)
    for part in ("1.0 GiB of 4.0 GiB", "10.0 MiB/s", "5 min 7 s", "25 %", "big.gguf", "512.0 MiB of 3.0 GiB"):
        assert part in text
    assert "Already here" in text and "no digest" in text
    assert text.count("<progress") == 3


def test_an_unknown_total_is_an_indeterminate_bar_and_bytes_so_far(downloading, as_viewer):
    Job.objects.update(bytes_total=None, bytes_done=1288490189)
    text = shown(as_viewer, downloading)
    assert '<progress aria-label="Progress of qwen3, total not known">' in text
    assert "1.2 GiB so far" in text
    assert 'Time left</dt><dd class="num">–' in text


def test_a_stall_is_told_with_its_age_and_has_no_speed(downloading, as_viewer):
    Job.objects.update(last_data_at=ago(seconds=12.2))
    for text in (shown(as_viewer, downloading), listed(as_viewer)):
        assert "No data for 12 s" in text
        assert "10.0 MiB/s" not in text


def test_a_bar_is_not_full_before_everything_is_in_place(downloading, as_viewer):
    Job.objects.update(state=State.VERIFYING, bytes_done=4 * GIB)
    text = shown(as_viewer, downloading)
    assert f'value="{int(4 * GIB * 0.99)}" max="{4 * GIB}"' in text and "100 %" not in text
    Job.objects.update(state=State.DONE)
    assert "100 %" in shown(as_viewer, downloading)


def test_a_wait_for_the_next_try_says_which_and_when_and_why(db, as_viewer):
    job = job_of(
        state=State.RETRYING,
        attempt=1,
        error="huggingface.co answered 503.",
        next_try_at=timezone.now() + timedelta(seconds=8.3),
    )
    for text in (shown(as_viewer, job), listed(as_viewer)):
        # A machine may take its time between the row and the page.
        assert len(re.findall(r"Try 2 of 5 in [3-8] s", text)) == 1 and "huggingface.co answered 503." in text


@pytest.mark.parametrize(
    ("state", "word"),
    [(State.PAUSED, "paused"), (State.RETRYING, "waiting"), (State.QUEUED, "waiting"), (State.FAILED, "not whole")],
)
def test_of_a_file_that_nobody_works_on_it_is_not_said_that_somebody_does(downloading, as_viewer, state, word):
    Job.objects.update(state=state, next_try_at=timezone.now())
    JobFile.objects.create(
        job=downloading, position=0, filename="phi.gguf", size=4 * GIB, done=GIB, status="downloading"
    )
    text = shown(as_viewer, downloading)
    assert f"<td>{word}" in text and "<td>downloading" not in text


def test_a_failure_shows_cause_then_action_then_buttons(db, as_installer):
    job = job_of(
        state=State.FAILED, error="The disk is full: 4.1 GiB are missing.", action="Free some space, then retry."
    )
    text = shown(as_installer, job)
    cause, action = text.index("4.1 GiB are missing"), text.index("Free some space")
    assert (
        cause < action < text.index(f'action="/jobs/{job.pk}/retry/"') < text.index(f'action="/jobs/{job.pk}/dismiss/"')
    )


def test_a_cancel_is_acknowledged_before_the_worker_lets_go(downloading, as_installer):
    response = as_installer.post(f"/jobs/{downloading.pk}/cancel/")
    assert response.status_code == 303
    downloading.refresh_from_db()
    assert (downloading.wanted, downloading.state) == (Wanted.CANCEL, State.DOWNLOADING)
    text = shown(as_installer, downloading)
    assert "Cancelling: the worker lets go first" in text
    assert "/cancel/" not in text


@pytest.mark.parametrize(
    ("cause", "address"), [("no_space", "/disk/"), ("digest_mismatch", "/disk/?tab=downloads"), ("network", None)]
)
def test_a_failure_leads_to_the_page_that_helps(db, as_viewer, cause, address):
    note = shown(as_viewer, job_of(state=State.FAILED, error="x", cause=cause)).split('role="alert"')[1]
    assert (f'href="{address}"' in note) if address else "href" not in note.split("</div>")[0]


def test_the_page_with_the_licence_is_one_click_away(db, as_viewer):
    action = "Accept the licence at https://huggingface.co/meta/llama?a=1&b=<i>, and set HF_TOKEN."
    note = shown(as_viewer, job_of(state=State.FAILED, error="x", action=action)).split('role="alert"')[1]
    assert '<a href="https://huggingface.co/meta/llama?a=1&amp;b=' in note and "<i>" not in note


def test_a_waiting_job_is_cancelled_at_once_and_can_be_retried(db, as_installer):
    job = job_of()
    as_installer.post(f"/jobs/{job.pk}/cancel/")
    text = shown(as_installer, job)
    assert "Cancelled" in text and f'action="/jobs/{job.pk}/retry/"' in text
    as_installer.post(f"/jobs/{job.pk}/retry/")
    assert "Queued" in shown(as_installer, job)


def test_a_dismissed_failure_needs_nobody_any_more(db, as_installer):
    job = job_of(state=State.FAILED, error="x")
    as_installer.post(f"/jobs/{job.pk}/dismiss/")
    assert "Nothing needs you" in listed(as_installer, "attention")


@pytest.mark.parametrize("act", ["cancel", "retry", "dismiss"])
def test_what_comes_too_late_says_so(db, as_installer, act):
    job = job_of(state=State.DONE)
    response = as_installer.post(f"/jobs/{job.pk}/{act}/", follow=True)
    assert "note-error" in response.content.decode()


@pytest.mark.parametrize("act", ["cancel", "retry", "dismiss"])
def test_who_may_only_look_is_refused_and_sees_no_button(db, as_operator, act):
    job = job_of(state=State.FAILED, error="x")
    assert as_operator.post(f"/jobs/{job.pk}/{act}/").status_code == 403
    assert f"/{act}/" not in shown(as_operator, job) + listed(as_operator) + listed(as_operator, "attention")
    assert not JobEvent.objects.exists()


def test_the_page_says_who_asked_for_what_and_all_that_happened(db, as_viewer):
    job = job_of(request={"entry": "localai@qwen3", "overrides": {"name": "<b>"}})
    JobEvent.objects.create(job=job, by="ines", to_state=State.QUEUED, why="asked for")
    JobEvent.objects.create(job=job, by="worker", from_state=State.QUEUED, to_state=State.RESOLVING, why="try 1 <i>")
    text = shown(as_viewer, job)
    assert escape('"entry": "localai@qwen3"') in text and "&lt;b&gt;" in text
    assert "queued → resolving" in text and "try 1 &lt;i&gt;" in text


def test_an_installed_model_can_be_opened_and_loaded_from_its_job(db, as_operator, as_viewer):
    job = job_of(state=State.DONE)
    assert 'href="/models/qwen3/"' in shown(as_operator, job) and 'action="/models/qwen3/load/"' in shown(
        as_operator, job
    )
    assert "/load/" not in shown(as_viewer, job)


def test_an_ended_job_is_not_asked_for_again(downloading, as_viewer):
    assert 'data-live="2"' in shown(as_viewer, downloading)
    Job.objects.update(state=State.DONE)
    assert "data-live" not in shown(as_viewer, downloading).split('id="job"')[1]


def test_a_poll_that_finds_no_change_is_one_query_for_the_job(downloading, as_viewer):
    text = shown(as_viewer, downloading)
    with CaptureQueriesContext(connection) as queries:
        assert polled(as_viewer, text, 'id="job"').status_code == 204
    # The others are who is asking.
    assert len([query for query in queries if "gallery_job" in query["sql"]]) == 1
    Job.objects.update(changed_at=timezone.now())
    answer = polled(as_viewer, text, 'id="job"')
    assert answer.status_code == 200 and answer.content.decode().lstrip().startswith('<div id="job"')


def test_what_changes_with_time_alone_is_sent_again(downloading, as_viewer):
    text = shown(as_viewer, downloading)
    assert polled(as_viewer, text, 'id="job"').status_code == 204
    Job.objects.update(last_data_at=ago(seconds=20))
    assert "No data for" in polled(as_viewer, text, 'id="job"').content.decode()


@pytest.mark.parametrize("since", ["", "x", "2026-13-45T99:99:99"])
def test_a_moment_that_is_none_gets_the_page(db, as_viewer, since):
    assert as_viewer.get(job_of().get_absolute_url(), {"since": since}, headers=HTMX).status_code == 200


# --- control


def test_a_job_at_work_can_be_paused_and_the_page_says_so_at_once(downloading, as_installer):
    for text in (shown(as_installer, downloading), listed(as_installer)):
        assert f'action="/jobs/{downloading.pk}/pause/"' in text
    response = as_installer.post(f"/jobs/{downloading.pk}/pause/")
    assert response.status_code == 303
    for text in (shown(as_installer, downloading), listed(as_installer)):
        assert "Pausing: the worker lets go first, the bytes stay" in text
        assert f'action="/jobs/{downloading.pk}/resume/"' in text


def test_a_paused_job_says_who_paused_it_and_what_is_kept(downloading, as_installer):
    Job.objects.update(state=State.QUEUED)
    as_installer.post(f"/jobs/{downloading.pk}/pause/")
    for text in (shown(as_installer, downloading), listed(as_installer)):
        assert "Paused by installer-person" in text and "1.0 GiB" in text
        assert f'action="/jobs/{downloading.pk}/resume/"' in text
    as_installer.post(f"/jobs/{downloading.pk}/resume/")
    assert "Queued" in shown(as_installer, downloading)


def test_a_job_that_waits_tells_its_place_and_why(db, as_viewer):
    for number in range(3):
        job_of(f"working{number}", State.DOWNLOADING, created_at=ago(minutes=9))
    job_of("first", created_at=ago(minutes=2))
    second = job_of("second", created_at=ago(minutes=1))
    for text in (listed(as_viewer), shown(as_viewer, second)):
        assert "2nd in the queue: waits because 3 of 3 are at work" in text


def test_the_order_of_the_queue_can_be_changed(db, as_installer):
    jobs = [job_of(name, created_at=ago(minutes=9 - place)) for place, name in enumerate("abc")]
    text = listed(as_installer)
    assert 'aria-label="Move Install b up"' in text and 'aria-label="Move Install b down"' in text
    assert 'aria-label="Move Install a up"' not in text and 'aria-label="Move Install c down"' not in text
    as_installer.post(f"/jobs/{jobs[2].pk}/move/front/")
    assert [job.subject for job in Job.objects.in_line()] == ["c", "a", "b"]
    assert as_installer.post(f"/jobs/{jobs[2].pk}/move/sideways/").status_code == 404


@pytest.mark.parametrize("act", ["pause", "resume", "move/up"])
def test_a_lost_race_says_so_and_changes_nothing(db, as_installer, act):
    job = job_of(state=State.DONE)
    response = as_installer.post(f"/jobs/{job.pk}/{act}/", follow=True)
    assert "note-error" in response.content.decode()
    assert not job.events.exists()


@pytest.mark.parametrize("path", ["{pk}/pause/", "{pk}/resume/", "{pk}/move/up/", "pause-all/", "resume-all/"])
def test_who_may_only_look_cannot_control(db, as_operator, path):
    jobs = [job_of(), job_of("other", state=State.PAUSED, wanted=Wanted.PAUSE)]
    assert as_operator.post("/jobs/" + path.format(pk=jobs[0].pk)).status_code == 403
    text = listed(as_operator)
    assert not any(word in text for word in ("/pause/", "/resume/", "/move/", "-all/"))


def test_all_can_be_paused_and_go_on(db, as_installer):
    jobs = [job_of(name) for name in "abc"]
    assert 'action="/jobs/pause-all/"' in listed(as_installer)
    as_installer.post("/jobs/pause-all/")
    assert set(Job.objects.values_list("state", flat=True)) == {State.PAUSED}
    assert 'action="/jobs/resume-all/"' in listed(as_installer)
    as_installer.post("/jobs/resume-all/")
    assert list(Job.objects.in_line()) == jobs


def test_of_many_files_a_poll_sends_those_that_something_happens_to(downloading, as_viewer):
    states = ["verified"] * 100 + ["waiting"] * 100
    states[150] = "downloading"
    JobFile.objects.bulk_create(
        JobFile(job=downloading, filename=f"f{place:03}.bin", uri="x", size=10, position=place, status=status)
        for place, status in enumerate(states)
    )
    text = shown(as_viewer, downloading)
    assert text.count('id="file-') == 24 and "f150.bin" in text and "f000.bin" not in text
    assert "200" in text and "100 whole" in text and "Show the other 176" in text
    assert 'data-live="5"' in text
    every = as_viewer.get(downloading.get_absolute_url(), {"files": "all"}).content.decode()
    assert every.count('id="file-') == 200 and "?files=all&amp;v=" in every


def test_what_came_over_the_wire_is_told_apart_from_what_is_here(downloading, as_viewer):
    Job.objects.update(bytes_fetched=GIB // 4)
    assert 'Fetched</dt><dd class="num">256.0 MiB' in shown(as_viewer, downloading)
