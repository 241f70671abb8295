"""The limits as people read and type them: MiB a second and times of day."""

from datetime import datetime
from typing import Any

from django import forms
from django.utils import timezone

from gallery.models import Limits
from gallery.services.limits import holding
from localai_admin.lib.units import bytes_text

MIB = 1 << 20
#: A line of a hundred gigabits a second. MiB a second.
MAX_RATE = 12_000
MOST_AT_ONCE, MOST_CONNECTIONS = 32, 32
#: Below this a large file would take for ever. MiB a second.
_LEAST = 0.01

_RATES = ("bandwidth", "quiet_bandwidth")


class LimitsForm(forms.Form):
    """Empty bandwidths are no limit. After `is_valid()`, `facts` are fields of Limits."""

    at_once = forms.IntegerField(min_value=1, max_value=MOST_AT_ONCE, label="Installs at once")
    connections = forms.IntegerField(min_value=1, max_value=MOST_CONNECTIONS, label="Connections of one install")
    bandwidth = forms.FloatField(
        required=False, min_value=_LEAST, max_value=MAX_RATE, label="Bandwidth of all together, MiB/s"
    )
    quiet_from = forms.TimeField(required=False, label="From", widget=forms.TimeInput({"type": "time"}))
    quiet_to = forms.TimeField(required=False, label="To", widget=forms.TimeInput({"type": "time"}))
    quiet_bandwidth = forms.FloatField(
        required=False, min_value=_LEAST, max_value=MAX_RATE, label="Bandwidth in quiet hours, MiB/s"
    )

    def __init__(self, *args: Any, limits: Limits, may_change: bool, **kwargs: Any) -> None:
        super().__init__(*args, **{"label_suffix": "", "initial": _typed(limits), **kwargs})
        for name, field in self.fields.items():
            field.widget.attrs["autocomplete"] = "off"
            field.disabled = not may_change
            if name in _RATES:
                field.widget.attrs |= {"step": "any", "placeholder": "no limit"}
            if self.is_bound and name in self.errors:
                field.widget.attrs |= {"aria-invalid": "true", "aria-describedby": f"id_{name}_error"}

    def clean(self) -> dict[str, Any]:
        said: dict[str, Any] = self.cleaned_data
        begin, end = said.get("quiet_from"), said.get("quiet_to")
        if "quiet_from" in said and "quiet_to" in said and (begin is None) != (end is None):
            self.add_error("quiet_to" if end is None else "quiet_from", "Quiet hours have a beginning and an end.")
        elif begin is not None and begin == end:
            self.add_error("quiet_to", "Quiet hours end at another time than they begin. Leave both empty for none.")
        elif begin is None and said.get("quiet_bandwidth") is not None and not self.errors:
            self.add_error("quiet_from", "Say from when to when this bandwidth shall hold.")
        return said

    @property
    def facts(self) -> dict[str, Any]:
        rates = {name: _bytes(self.cleaned_data[name]) for name in _RATES}
        return {**self.cleaned_data, **rates}


def sentence(limits: Limits, now: datetime) -> str:
    """What holds right now: `8.0 MiB/s until 22:00, then without a limit`. Empty when nothing is ever limited."""
    held = holding(limits, now)
    if held.until is None or held.bandwidth == held.then:
        return _rate(held.bandwidth) if held.bandwidth is not None else ""
    return f"{_rate(held.bandwidth)} until {timezone.localtime(held.until):%H:%M}, then {_rate(held.then)}"


def _rate(bandwidth: int | None) -> str:
    return "without a limit" if bandwidth is None else f"{bytes_text(bandwidth)}/s"


def _typed(limits: Limits) -> dict[str, Any]:
    rates = {name: getattr(limits, name) for name in _RATES}
    shown = {
        name: None if rate is None else f"{rate / MIB:.2f}".rstrip("0").rstrip(".") for name, rate in rates.items()
    }
    times = {
        name: value and f"{value:%H:%M}" for name in ("quiet_from", "quiet_to") if (value := getattr(limits, name))
    }
    return {"at_once": limits.at_once, "connections": limits.connections, **times, **shown}


def _bytes(rate: float | None) -> int | None:
    return None if rate is None else round(rate * MIB)
