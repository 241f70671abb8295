"""What the worker clears away for the whole site: rows that Django and axes keep for good otherwise."""

from datetime import datetime, timedelta

from axes.models import AccessAttempt, AccessLog
from django.contrib.sessions.models import Session
from django.utils import timezone
from huey import crontab
from huey.contrib.djhuey import db_periodic_task

#: Who signed in when can be looked up for so long.
ACCESS_LOG_KEPT = timedelta(days=365)
ATTEMPTS_KEPT = timedelta(days=1)


@db_periodic_task(crontab(minute="37", hour="3"))
def clear_old_rows() -> None:
    clear(timezone.now())


def clear(now: datetime) -> None:
    """Sessions that have ended, failed sign-ins that lock nobody out any more, and sign-ins of another year."""
    Session.objects.filter(expire_date__lt=now).delete()
    AccessAttempt.objects.filter(attempt_time__lt=now - ATTEMPTS_KEPT).delete()
    AccessLog.objects.filter(attempt_time__lt=now - ACCESS_LOG_KEPT).delete()
