"""The page of the limits, what of them holds when, and what the downloads make of it."""

from datetime import datetime, time
from zoneinfo import ZoneInfo

import pytest
from django.utils import timezone

from gallery import limits_page
from gallery.models import Job, Limits
from gallery.services import limits

MIB = 1 << 20
FORM = {"at_once": "2", "connections": "4", "bandwidth": "8", "quiet_from": "22:00", "quiet_to": "06:30"}


def quiet(begin, end, **fields):
    return Limits(**{"bandwidth": 8 * MIB, "quiet_from": begin, "quiet_to": end, "quiet_bandwidth": None, **fields})


def at(hour, minute=0, zone="UTC"):
    return datetime(2026, 3, 28, hour, minute, tzinfo=ZoneInfo(zone))


@pytest.mark.parametrize(
    ("begin", "end", "now", "expected", "until"),
    [
        (22, 6, 23, None, "06:00"),  # over midnight, before it
        (22, 6, 3, None, "06:00"),  # after it
        (22, 6, 12, 8 * MIB, "22:00"),
        (22, 6, 22, None, "06:00"),  # its first moment
        (22, 6, 6, 8 * MIB, "22:00"),  # its end is outside
        (1, 5, 3, None, "05:00"),  # within a day
        (1, 5, 6, 8 * MIB, "01:00"),
    ],
)
def test_another_limit_holds_in_quiet_hours(begin, end, now, expected, until):
    held = limits.holding(quiet(time(begin), time(end)), at(now))
    assert (held.bandwidth, f"{held.until:%H:%M}") == (expected, until)
    assert held.until > at(now)


def test_hours_are_those_of_the_consoles_time_zone():
    with timezone.override("Asia/Tokyo"):
        held = limits.holding(quiet(time(22), time(6)), at(14))  # 23:00 there
    assert held.bandwidth is None


def test_the_night_in_which_the_clock_is_set_has_an_end():
    with timezone.override("Europe/Berlin"):
        held = limits.holding(quiet(time(22), time(2, 30)), at(23, zone="Europe/Berlin"))
    assert 2 <= (held.until - at(23, zone="Europe/Berlin")).total_seconds() / 3600 <= 4.5


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (Limits(), ""),
        (Limits(bandwidth=8 * MIB), "8.0 MiB/s"),
        (quiet(time(22), time(6)), "8.0 MiB/s until 22:00, then without a limit"),
        (quiet(time(8), time(18), quiet_bandwidth=MIB), "1.0 MiB/s until 18:00, then 8.0 MiB/s"),
    ],
)
def test_what_holds_now_is_a_sentence(row, said):
    assert limits_page.sentence(row, at(12)) == said


def test_limits_are_three_at_once_until_somebody_says_so(db):
    assert limits.read().at_once == 3
    assert not Limits.objects.exists()


def test_a_changed_limit_holds_for_a_job_that_is_at_work(db):
    pace = limits.pace()
    assert pace.spend(64 * MIB) == 0.0
    limits.change(None, bandwidth=MIB, connections=2)
    limits._governor._read_at = float("-inf")  # as a second later
    limits.follow()
    assert pace.spend(4 * MIB) > 3
    assert pace.connections() == 2
    limits.change(None, bandwidth=None)
    limits._governor._read_at = float("-inf")
    limits.follow()
    assert pace.spend(0) == 0.0


def test_the_form_is_kept_and_says_who_changed_it(as_installer):
    response = as_installer.post("/jobs/limits/", {**FORM, "quiet_bandwidth": ""}, follow=True)
    assert response.redirect_chain == [("/jobs/limits/", 303)]
    row = limits.read()
    assert (row.at_once, row.connections, row.bandwidth, row.quiet_bandwidth) == (2, 4, 8 * MIB, None)
    assert (row.quiet_from, row.quiet_to, row.changed_by) == (time(22), time(6, 30), "installer-person")
    text = response.content.decode()
    assert "by installer-person" in text and "0 of 2" in text and "MiB/s" in text
    assert 'value="22:00"' in text and 'value="8"' in text


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"at_once": "0"}, "greater than or equal to 1"),
        ({"at_once": "33"}, "less than or equal to 32"),
        ({"at_once": ""}, "required"),
        ({"bandwidth": "-1"}, "greater than or equal"),
        ({"bandwidth": "nan"}, "Enter a number"),
        ({"bandwidth": "fast"}, "Enter a number"),
        ({"quiet_to": ""}, "a beginning and an end"),
        ({"quiet_to": "22:00"}, "another time than they begin"),
        ({"quiet_from": "25:99"}, "valid time"),
        ({"quiet_from": "", "quiet_to": "", "quiet_bandwidth": "3"}, "from when to when"),
    ],
)
def test_what_makes_no_sense_is_refused_with_what_was_typed(as_installer, wrong, sentence):
    response = as_installer.post("/jobs/limits/", {**FORM, "quiet_bandwidth": "", **wrong})
    assert response.status_code == 422
    text = response.content.decode()
    assert sentence in text
    assert all(f'value="{value}"' in text for value in wrong.values() if value)
    assert limits.read().at_once == 3


def test_who_may_look_sees_them_and_cannot_change_them(as_viewer):
    text = as_viewer.get("/jobs/limits/").content.decode()
    assert "without a limit" in text and "Save" not in text
    assert as_viewer.post("/jobs/limits/", FORM).status_code == 403
    assert limits.read().at_once == 3


def test_more_at_work_than_are_allowed_is_told(as_viewer, db):
    Limits.objects.create(pk=1, at_once=1)
    for name in "ab":
        Job.objects.create(kind="install", subject=name, state="downloading")
    assert "as many as were allowed when they began" in as_viewer.get("/jobs/limits/").content.decode()
