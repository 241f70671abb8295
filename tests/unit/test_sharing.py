"""How the ranges of a file are shared out among connections."""

from gallery.downloads.sharing import Claim, Shares

MIB = 1 << 20
SPEED = 3.0 * MIB


def aged(claim: Claim, seconds: float, got: int) -> Claim:
    claim.began -= seconds
    claim.at += got
    return claim


def shares(claim: Claim) -> Shares:
    return Shares(active=[claim])


def test_nothing_is_taken_from_a_connection_whose_answer_may_still_come() -> None:
    assert shares(aged(Claim(0, 8 * MIB), 1.0, 0)).steal(4 * MIB, SPEED) is None


def test_nearly_all_is_taken_from_a_connection_that_never_got_an_answer() -> None:
    silent = aged(Claim(0, 8 * MIB), 5.0, 0)
    stolen = shares(silent).steal(16 * MIB, SPEED)
    assert stolen is not None
    assert (stolen.at, stolen.end, silent.end) == (MIB, 8 * MIB, MIB)


def test_of_a_connection_that_has_just_begun_about_half_is_taken() -> None:
    young = aged(Claim(0, 16 * MIB), 0.1, 16 << 10)
    stolen = shares(young).steal(16 * MIB, SPEED)
    assert stolen is not None
    assert (stolen.at, stolen.end, young.end) == (8 * MIB + MIB, 16 * MIB, 9 * MIB)


def test_more_is_taken_from_a_slow_connection() -> None:
    slow = aged(Claim(0, 16 * MIB), 4.0, 4 * MIB)
    stolen = shares(slow).steal(16 * MIB, SPEED)
    assert stolen is not None
    assert (stolen.at, slow.end) == (7 * MIB, 7 * MIB)


def test_what_ends_soon_is_left_to_whoever_has_it() -> None:
    assert shares(aged(Claim(0, 4 * MIB), 1.0, 3 * MIB + MIB // 2)).steal(4 * MIB, SPEED) is None
