"""The bandwidth of all downloads together: it holds, it is fair, and a change is followed at once."""

import threading
import time

import pytest

from gallery.downloads.bandwidth import Line, Share

MIB = 1 << 20


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Reader:
    """A connection that reads a piece, and waits as long as it is told; `speed` is what its server gives."""

    def __init__(self, share: Share, piece: int = 64 << 10, speed: float = float("inf")) -> None:
        self.share, self.piece, self.speed = share, piece, speed
        self.next, self.got = 0.0, 0

    def read(self, now: float) -> None:
        self.got += self.piece
        wait = self.share.spend(self.piece)
        self.next = now + max(wait, self.piece / self.speed, 0.0005)


def run(clock: Clock, readers: list[Reader], seconds: float) -> float:
    """Let them read for so long; returns the bytes a second of all together."""
    before, end = sum(reader.got for reader in readers), clock.now + seconds
    for reader in readers:
        reader.next = max(reader.next, clock.now)
    while (reader := min(readers, key=lambda reader: reader.next)).next < end:
        clock.now = max(clock.now, reader.next)
        reader.read(clock.now)
    clock.now = end
    return (sum(reader.got for reader in readers) - before) / seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def line(clock: Clock) -> Line:
    return Line(clock)


def share_of(line: Line) -> Share:
    return line.share(lambda: 8)


@pytest.mark.parametrize("rate", [100_000, 1 * MIB, 8 * MIB, 60 * MIB])
@pytest.mark.parametrize("piece", [4 << 10, 64 << 10])
def test_a_limit_holds_over_ten_seconds_with_eight_connections(clock: Clock, line: Line, rate: int, piece: int) -> None:
    line.limit(rate)
    share = share_of(line)
    # What eight connections have read before the first is told to wait is a piece each.
    allowed = 8 * piece / 10
    assert run(clock, [Reader(share, piece) for _ in range(8)], 10) == pytest.approx(rate, rel=0.05, abs=allowed)


def test_real_threads_keep_to_it() -> None:
    line, rate, seconds = Line(), 16 * MIB, 3.0
    line.limit(rate)
    share, got, end = share_of(line), [0] * 8, time.monotonic() + seconds

    def read(number: int) -> None:
        while (left := end - time.monotonic()) > 0:
            got[number] += 64 << 10
            time.sleep(min(share.spend(64 << 10), left))

    threads = [threading.Thread(target=read, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(got) / seconds == pytest.approx(rate, rel=0.1)


def test_a_job_with_many_connections_gets_no_more_than_one_with_a_single_one(clock: Clock, line: Line) -> None:
    line.limit(8 * MIB)
    many, one = share_of(line), share_of(line)
    first, second = [Reader(many) for _ in range(8)], [Reader(one)]
    assert run(clock, first + second, 10) == pytest.approx(8 * MIB, rel=0.05)
    assert second[0].got == pytest.approx(40 * MIB, rel=0.1)


def test_what_a_slow_source_leaves_the_others_take(clock: Clock, line: Line) -> None:
    line.limit(8 * MIB)
    slow, fast = Reader(share_of(line), 16 << 10, speed=MIB), [Reader(share_of(line)) for _ in range(2)]
    assert run(clock, [slow, *fast], 10) == pytest.approx(8 * MIB, rel=0.05)
    assert slow.got == pytest.approx(10 * MIB, rel=0.05)
    assert [reader.got for reader in fast] == pytest.approx([35 * MIB] * 2, rel=0.1)


def test_what_a_job_that_ended_had_the_others_take(clock: Clock, line: Line) -> None:
    line.limit(4 * MIB)
    stays, goes = Reader(share_of(line)), Reader(share_of(line))
    run(clock, [stays, goes], 3)
    del goes
    assert run(clock, [stays], 5) == pytest.approx(4 * MIB, rel=0.1)


def test_shares_that_come_and_go_all_the_time_do_not_raise_the_sum(clock: Clock, line: Line) -> None:
    line.limit(4 * MIB)
    got = 0.0
    for _ in range(20):
        readers = [Reader(share_of(line)) for _ in range(3)]
        got += run(clock, readers, 0.5) * 0.5
    assert got / 10 < 4 * MIB * 1.25


@pytest.mark.parametrize(("first", "second"), [(MIB, 8 * MIB), (8 * MIB, MIB), (None, 2 * MIB)])
def test_another_limit_holds_at_once(clock: Clock, line: Line, first: float | None, second: float) -> None:
    line.limit(first)
    readers = [Reader(share_of(line)) for _ in range(4)]
    run(clock, readers, 2)
    line.limit(second)
    assert run(clock, readers, 10) == pytest.approx(second, rel=0.06)


def test_without_a_limit_nobody_waits(clock: Clock, line: Line) -> None:
    share = share_of(line)
    assert share.spend(1 << 40) == 0.0
    line.limit(MIB)
    assert share.spend(10 * MIB) > 5
    line.limit(None)
    assert share.spend(0) == 0.0


def test_whoever_waits_can_ask_whether_that_is_over(clock: Clock, line: Line) -> None:
    line.limit(MIB)
    share = share_of(line)
    assert share.spend(4 * MIB) == pytest.approx(4, rel=0.1)
    clock.now += 2
    assert share.spend(0) == pytest.approx(2, rel=0.1)
    clock.now += 2.1
    assert share.spend(0) == 0.0


def test_the_number_of_connections_is_asked_each_time(line: Line) -> None:
    allowed = [8]
    share = line.share(lambda: allowed[0])
    assert share.connections() == 8
    allowed[0] = 2
    assert share.connections() == 2


def test_no_more_is_read_at_once_than_comes_in_a_moment(line: Line) -> None:
    share = share_of(line)
    assert share.piece() == MIB
    line.limit(4 * MIB)
    assert share.piece() == pytest.approx(4 * MIB / 20, rel=0.01)
    line.limit(1000)
    assert share.piece() == 16 << 10
    line.limit(None)
    assert share.piece() == MIB
