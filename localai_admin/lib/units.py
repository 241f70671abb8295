"""Figures as people read them: binary bytes with one decimal, durations in two units, absent as a dash."""

ABSENT = "–"
_BYTE_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_TIME_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def bytes_text(count: float | None) -> str:
    """512 B, 1.5 KiB, 253.0 MiB; a dash when unknown."""
    if count is None:
        return ABSENT
    value = float(count)
    for unit in _BYTE_UNITS:
        if abs(value) < 1024 or unit == _BYTE_UNITS[-1]:
            break
        value /= 1024
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"


def duration_text(seconds: float | None) -> str:
    """3 h 12 min, 45 s; at most two units; a dash when unknown."""
    if seconds is None:
        return ABSENT
    left = max(0, round(seconds))
    parts: list[str] = []
    for size, unit in _TIME_UNITS:
        count, left = divmod(left, size)
        if count or parts:
            parts.append(f"{count} {unit}" if count else "")
        if len(parts) == 2:
            break
    return " ".join(part for part in parts if part) or "0 s"


def age_text(seconds: float) -> str:
    """45 s, 12 min, 3 h, 5 d: one unit, so that it stands still while somebody reads."""
    left = max(0, int(seconds))
    size, unit = next(((size, unit) for size, unit in _TIME_UNITS if left >= size), (1, "s"))
    return f"{left // size} {unit}"


def percent_text(value: float | None) -> str:
    return ABSENT if value is None else f"{value:.0f} %" if value >= 10 else f"{value:.1f} %"
