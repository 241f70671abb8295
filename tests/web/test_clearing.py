"""Rows that nobody needs any more do not stay for good."""

from datetime import timedelta

import pytest
from axes.models import AccessAttempt, AccessLog
from django.contrib.sessions.models import Session
from django.utils import timezone

from localai_admin.tasks import ACCESS_LOG_KEPT, ATTEMPTS_KEPT, clear

pytestmark = pytest.mark.django_db


def test_sessions_and_sign_ins_that_are_over_are_cleared_away_and_others_stay():
    now = timezone.now()
    for key, ends in (("over", now - timedelta(seconds=1)), ("valid", now + timedelta(days=1))):
        Session.objects.create(session_key=key, session_data="", expire_date=ends)
    rows = ((AccessAttempt, ATTEMPTS_KEPT, {"failures_since_start": 1}), (AccessLog, ACCESS_LOG_KEPT, {}))
    for model, kept, fields in rows:
        for name, age in (("old", kept + timedelta(hours=1)), ("new", kept - timedelta(hours=1))):
            row = model.objects.create(username=name, ip_address="192.0.2.1", user_agent="x", path_info="/", **fields)
            model.objects.filter(pk=row.pk).update(attempt_time=now - age)
    clear(now)
    assert list(Session.objects.values_list("session_key", flat=True)) == ["valid"]
    assert list(AccessAttempt.objects.values_list("username", flat=True)) == ["new"]
    assert list(AccessLog.objects.values_list("username", flat=True)) == ["new"]
