"""How an instance stands, as every page says it: its state, why, since when, and what can be done about it."""

from datetime import datetime
from typing import NamedTuple

from models.models import Instance
from models.runtime.reasons import BUSY
from models.states import ALIVE, State


class Standing(NamedTuple):
    """What a person is told. `moving`: it will change by itself soon. `next_try_at` is set only while backing off."""

    state: str
    reason: str
    since: datetime | None
    next_try_at: datetime | None
    offers_load: bool
    moving: bool


NEVER_LOADED = Standing(State.STOPPED, "", None, None, offers_load=True, moving=False)


def standing(instance: Instance | None) -> Standing:
    """The standing of an instance; a model that has none was never loaded here."""
    if instance is None:
        return NEVER_LOADED
    waits = _wish_not_seen_yet(instance)
    return Standing(
        state=_where_it_goes(instance) if waits else instance.state,
        reason=waits or _reason(instance),
        since=instance.desired_at if waits else instance.state_since,
        next_try_at=instance.next_try_at if instance.state == State.BACKOFF else None,
        offers_load=not instance.is_wanted or instance.state == State.FAILED,
        moving=instance.is_moving or bool(waits),
    )


def _where_it_goes(instance: Instance) -> State:
    """A wish shows at once; that nobody has begun yet is in the words beside it."""
    return State.STARTING if instance.is_wanted else State.STOPPING


def _wish_not_seen_yet(instance: Instance) -> str:
    """Words for a wish that the agent has not acted on; without an agent it stays that way."""
    if instance.is_wanted and instance.state == State.STOPPED:
        return "Load requested; the agent begins in a moment"
    if not instance.is_wanted and instance.state in ALIVE - {State.STOPPING}:
        return "Shutdown requested; the agent begins in a moment"
    return ""


def _reason(instance: Instance) -> str:
    """A state that is as it should be needs no reason, unless a ready backend is silent."""
    as_it_should_be = instance.state in {State.READY, State.STOPPED} and instance.reason != BUSY
    return "" if as_it_should_be else instance.reason
