"""Who is behind a session, remembered for pages that ask every few seconds.

Nothing is taken on trust for longer than a second: then it is asked anew for all of them at once, whether the sessions
are there as they were, and whether the people are active, with the same password, groups and permissions.
"""

import time
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from threading import Lock

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, User
from django.contrib.sessions.models import Session
from django.http import HttpRequest
from django.utils import timezone

from team import sessions

#: Seconds between two looks, and until somebody who does not ask any more is forgotten.
LOOK_EVERY, FORGET_AFTER = 1.0, 60.0


@dataclass
class Pass:
    """A session with what its person may do, and the time at which it is over. `rights` is what that came from."""

    person: int
    permissions: Hashable
    rights: Hashable
    session_data: str
    ends_at: float
    used_at: float


class Passes:
    """The passes of this process. Safe to use from any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, Lock()
        self._held: dict[str, Pass] = {}
        self._looked_at = clock()

    def of(self, session_key: str | None) -> Pass | None:
        """The pass of a session that was good a second ago at most; None when it has to be asked for in full."""
        if not session_key or session_key not in self._held:
            return None
        with self._lock:
            if self._clock() - self._looked_at >= LOOK_EVERY:
                self._look()
            found = self._held.get(session_key)
            if found is None or time.time() >= found.ends_at:
                return None
            found.used_at = self._clock()
            return found

    def remember(self, request: HttpRequest) -> None:
        """Make a pass for somebody whose request was answered in full."""
        key = request.session.session_key
        if not key or not request.user.is_authenticated:
            return
        with self._lock:
            data = _sessions([key]).get(key)
            rights = _rights([request.user.pk]).get(request.user.pk)
            if data is None or rights is None:
                return
            # Asked after the rights were: what changes in between is seen at the next look.
            person = get_user_model()._default_manager.get(pk=request.user.pk)
            self._held[key] = Pass(
                person.pk, _permissions(person), rights, data, sessions.ends_at(request), self._clock()
            )

    def _look(self) -> None:
        now = self._looked_at = self._clock()
        held = {key: entry for key, entry in self._held.items() if now - entry.used_at < FORGET_AFTER}
        data, rights = _sessions(held), _rights({entry.person for entry in held.values()})
        self._held = {
            key: entry
            for key, entry in held.items()
            if data.get(key) == entry.session_data and rights.get(entry.person) == entry.rights
        }


def _permissions(person: User) -> Hashable:
    return "all" if person.is_superuser else frozenset(person.get_all_permissions())


def _sessions(keys: Iterable[str]) -> dict[str, str]:
    found = Session.objects.filter(session_key__in=list(keys), expire_date__gt=timezone.now())
    return dict(found.values_list("session_key", "session_data"))


def _rights(people: Iterable[int]) -> dict[int, Hashable]:
    """What each active person's permissions follow from, in four queries for all."""
    ids = list(people)
    of_groups = frozenset(Group.permissions.through._default_manager.values_list("group_id", "permission_id"))
    groups = _pairs(User.groups.through._default_manager.filter(user_id__in=ids).values_list("user_id", "group_id"))
    own = User.user_permissions.through._default_manager.filter(user_id__in=ids)
    permissions = _pairs(own.values_list("user_id", "permission_id"))
    active = User.objects.filter(pk__in=ids, is_active=True).values_list("pk", "is_superuser", "password")
    digest = hash(of_groups)
    return {
        pk: (is_superuser, password, groups.get(pk), permissions.get(pk), digest)
        for pk, is_superuser, password in active
    }


def _pairs(found: Iterable[tuple[int, int]]) -> dict[int, frozenset[int]]:
    grouped: dict[int, set[int]] = {}
    for person, other in found:
        grouped.setdefault(person, set()).add(other)
    return {person: frozenset(others) for person, others in grouped.items()}
