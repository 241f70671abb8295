"""A plan's data in the words of its page."""

from typing import Any

from gallery.models import Plan
from localai_admin.lib.units import bytes_text
from models.fit import Fit

#: So many files are shown at once; the rest is a click away.
SHOWN_FILES = 8

_STATUS = {
    "fetch": ("To fetch", "waiting"),
    "here": ("Here already", "ready"),
    "elsewhere": ("Here under another name", "ready"),
    "conflict": ("In the way", "failed"),
}
#: How a fit is shown: its word and its tone.
FITS = {
    Fit.FITS: ("Fits", "ready"),
    Fit.TIGHT: ("Tight", "attention"),
    Fit.NOT: ("Does not fit", "failed"),
    Fit.UNKNOWN: ("Fit not known", "resting"),
}


def mark(state: str, step: int | None) -> str:
    """What of a plan a page has shown: it changes whenever there is something else to see."""
    return f"{state}.{'' if step is None else step}"


def context(plan: Plan) -> dict[str, Any]:
    """What the template needs; `data` is None until the recipe is known."""
    data: dict[str, Any] = plan.data
    found: dict[str, Any] = {
        "is_working": plan.state == Plan.WORKING,
        "has_failed": plan.state == Plan.FAILED,
        "seen": mark(plan.state, data.get("step")),
        "data": data or None,
        "entry": entry_of(plan),
    }
    if data:
        files = [_file(file) for file in data["files"]]
        found |= {
            "files": files[:SHOWN_FILES],
            "more_files": files[SHOWN_FILES:],
            "sources": _sources(data["files"]),
            "fetch": fetch_text(data["totals"]),
            "button": button(data),
            "fit_word": FITS[Fit(data["memory"]["fit"])][0],
            "fit_tone": FITS[Fit(data["memory"]["fit"])][1],
            "replaced": [text["filename"] for text in data["texts"] if text["status"] == "replace"],
        }
    return found


def entry_of(plan: Plan) -> dict[str, str] | None:
    """{gallery, name} of the entry a plan is about; None for one that is in no gallery."""
    gallery, _, name = str(plan.request.get("entry", "")).partition("@")
    return {"gallery": gallery, "name": name} if name else None


def fetch_text(totals: dict[str, Any]) -> str:
    """How much is to be fetched: 4.1 GiB, at least 4.1 GiB, 3 files of unknown size, nothing."""
    if not totals["to_fetch"]:
        return "nothing"
    if not totals["unknown_sizes"]:
        return bytes_text(totals["fetch"])
    if totals["fetch"]:
        return f"at least {bytes_text(totals['fetch'])}"
    count = totals["to_fetch"]
    return "1 file of unknown size" if count == 1 else f"{count} files of unknown size"


def button(data: dict[str, Any]) -> str:
    """What the one button says."""
    act = "Install the update" if data["update"] else "Install again" if data["changes"] is not None else "Install"
    return f"{act}: fetch {fetch_text(data['totals'])}" if data["totals"]["to_fetch"] else act


def _sources(files: list[dict[str, Any]]) -> str:
    named = sorted({file["source"] for file in files})
    return f"{len(named)} sources" if len(named) > 2 else " and ".join(named)


def _file(file: dict[str, Any]) -> dict[str, Any]:
    word, tone = _STATUS[file["status"]]
    if file["error"]:
        word, tone = ("Not reached", "attention") if file["error"]["passes"] else ("Not to be had", "failed")
    elif file["replaces"]:
        word = "To fetch, replaces"
    elif file["unchecked"]:
        word, tone = "Here, it seems", "attention"
    return {**file, "word": word, "tone": tone}
