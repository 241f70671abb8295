"""Who fetches what: the missing ranges of a file, shared out among connections."""

import time
from dataclasses import dataclass, field

from gallery.downloads.blocks import SIZE
from gallery.downloads.ranges import Range

#: Bytes of a part: what a connection takes at a time brings it about a second of work, within these.
LEAST_PART, MOST_PART = 4 << 20, 32 << 20
#: A range is left to whoever has it when fewer bytes are missing, or when it takes no longer than so many seconds.
_LEAST_STOLEN, _WORTH_STEALING = 128 << 10, 0.3
#: Nothing is taken from a connection that has waited for its first byte for less than that, and of one that has begun
#: a moment ago the speed is not known yet: two idle connections would take the same range from each other all the time,
#: and each time give up an answer that is on its way. Seconds.
_FIRST_BYTE, _YOUNG = 3.0, 0.5
#: Of small remains the place where they are divided is a multiple of this. Bytes.
_FINE = 16 << 10


@dataclass(eq=False)
class Claim:
    """A range that one connection fetches: `at` is the next byte, `end` the one behind the last, None while unknown.

    `end` may become smaller while it is fetched: another connection has taken the rest.
    """

    at: int
    end: int | None
    start: int = field(init=False)
    began: float = field(init=False)

    def __post_init__(self) -> None:
        self.start, self.began = self.at, time.monotonic()

    def speed(self, usual: float) -> float:
        """Bytes a second so far, never zero; of one that has just begun not less than the `usual`."""
        own = (self.at - self.start) / max(0.001, self.age)
        return max(1.0, own, usual if self.age < _YOUNG else 0.0)

    @property
    def age(self) -> float:
        """Seconds."""
        return time.monotonic() - self.began

    @property
    def awaits_answer(self) -> bool:
        return self.at == self.start and self.age < _FIRST_BYTE

    @property
    def is_done(self) -> bool:
        return self.end is not None and self.at >= self.end

    @property
    def left(self) -> int:
        return 0 if self.end is None else max(0, self.end - self.at)


@dataclass
class Shares:
    """The ranges of one file: those that nobody has, and those that are being fetched. One thread at a time.

    Parts are given out in the order of the file, so that its digest can follow.
    """

    gaps: list[Range] = field(default_factory=list)
    active: list[Claim] = field(default_factory=list)

    def take(self, part: int | None) -> Claim | None:
        """The first `part` bytes that nobody has, all of the first gap for None; None when there are none."""
        if not self.gaps:
            return None
        start, end = self.gaps.pop(0)
        cut = end if part is None else min(end, _on_grid(start + part))
        if cut < end:
            self.gaps.insert(0, (cut, end))
        return self._claimed(Claim(start, cut))

    def take_whole(self) -> Claim:
        """A file of unknown size, from its beginning."""
        return self._claimed(Claim(0, None))

    def steal(self, part: int, speed: float) -> Claim | None:
        """Some of what the one that needs longest would still have to fetch; None when it would end soon anyway.

        `speed` is what a connection brings, in bytes a second: both should end at the same time.
        """
        begun = [claim for claim in self.active if not claim.awaits_answer]
        victim = max(begun, key=lambda claim: claim.left / claim.speed(speed), default=None)
        if victim is None or victim.end is None or victim.left < _LEAST_STOLEN:
            return None
        end, left, own = victim.end, victim.left, victim.speed(speed)
        if left / own < _WORTH_STEALING:
            return None
        kept = int(left * own / (own + max(speed, own, 1.0)))
        cut = _on_grid(victim.at + min(kept, part), SIZE if left > LEAST_PART else _FINE)
        if cut >= end:
            return None
        victim.end = cut
        self.gaps = sorted([*self.gaps, (cut, end)])
        return self.take(part)

    def give_back(self, claim: Claim) -> None:
        """It is not fetched any more; what is missing of it is anybody's."""
        if claim in self.active:
            self.active.remove(claim)
            if claim.left:
                self.gaps = sorted([*self.gaps, (claim.at, claim.end or claim.at)])

    def _claimed(self, claim: Claim) -> Claim:
        self.active.append(claim)
        return claim


def part_for(speed: float) -> int:
    """Bytes of a part for a connection of this speed, in bytes a second."""
    return _on_grid(min(MOST_PART, max(LEAST_PART, int(speed))))


def _on_grid(offset: int, step: int = SIZE) -> int:
    return -(-offset // step) * step
