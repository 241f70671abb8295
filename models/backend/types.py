"""What a backend says, in the console's own words."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

StateName = Literal["uninitialized", "busy", "ready", "error"]
#: By the numbers of the protocol.
STATES: dict[int, StateName] = {0: "uninitialized", 1: "busy", 2: "ready", -1: "error"}


@dataclass(frozen=True)
class Status:
    """What a backend says of itself. Memory in bytes; None when it does not say, which is not the same as nothing."""

    state: StateName
    memory_total: int | None = None
    breakdown: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Chunk:
    """A whole answer, or a piece of a streamed one.

    tokens: what the backend reports for it; some report all so far, some one at a time, some nothing (0).
    prompt_tokens: tokens of the prompt, or 0. prompt_ms, generation_ms: milliseconds spent on either, or 0.
    """

    text: str
    tokens: int = 0
    prompt_tokens: int = 0
    prompt_ms: float = 0.0
    generation_ms: float = 0.0


@dataclass(frozen=True)
class Metrics:
    """The last answer a backend made."""

    tokens_per_second: float
    tokens_generated: int
    prompt_tokens: int
