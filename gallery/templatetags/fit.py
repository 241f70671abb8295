"""Whether a model would fit this host, told from nothing but the size of its files: for lists of many."""

from functools import lru_cache
from time import monotonic
from typing import NamedTuple

from django import template

from gallery.plan_page import FITS
from models import fit
from models.host import Host, Memory, host_without_asking

register = template.Library()

#: What a host has does not change while it runs, but what it may use can. Seconds.
_LOOK = 60


class Badge(NamedTuple):
    word: str
    tone: str
    sentence: str


@register.simple_tag
def fit_of(size: int | None) -> Badge:
    """Word, tone and reason; `size` is the bytes of all files of a model."""
    verdict = fit.quick(size, _host(int(monotonic() / _LOOK)))
    return Badge(*FITS[verdict.fit], f"About: {verdict.sentence}")


@lru_cache(maxsize=2)
def _host(_moment: int) -> Host:
    """With everything free: what fits does not change from one look at a list to the next."""
    host = host_without_asking()
    return Host(Memory(host.memory.total, host.memory.total), host.gpus)
