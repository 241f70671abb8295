"""Tags and filters of the console's templates: figures, times, states, icons."""

from datetime import datetime
from functools import lru_cache
from typing import Any

from django import template
from django.templatetags.static import static
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from localai_admin.lib import units

register = template.Library()

register.filter("bytes", units.bytes_text)
register.filter("duration", units.duration_text)
register.filter("percent", units.percent_text)

#: A state's tone: the word, a colour and a shape say the same thing.
TONES = {
    "ready": "ready",
    "done": "ready",
    "starting": "working",
    "loading": "working",
    "stopping": "working",
    "resolving": "working",
    "downloading": "working",
    "verifying": "working",
    "committing": "working",
    "queued": "waiting",
    "paused": "waiting",
    "retrying": "attention",
    "backoff": "attention",
    "unknown": "attention",
    "attention": "attention",
    "failed": "failed",
    "asked": "waiting",
    "stopped": "resting",
    "cancelled": "resting",
}
WORDS = {"backoff": "Backing off", "asked": "Asked"}


@register.simple_tag
@lru_cache(maxsize=256)
def icon(name: str, label: str = "") -> SafeString:
    """An icon of the sprite; decoration unless it has a label."""
    sprite = static("icons.svg")
    if label:
        return format_html(
            '<svg class="icon" role="img" aria-label="{}"><use href="{}#{}"/></svg>', label, sprite, name
        )
    return format_html('<svg class="icon" aria-hidden="true"><use href="{}#{}"/></svg>', sprite, name)


@register.simple_tag
def state(value: str) -> SafeString:
    """A state as a word, a colour and a shape."""
    tone = TONES.get(value, "resting")
    word = WORDS.get(value, str(value).capitalize())
    return format_html('<span class="state state-{}">{}{}</span>', tone, icon(tone), word)


@register.filter
def tone(value: str) -> str:
    return TONES.get(value, "resting")


@register.filter
def ago(moment: datetime | None) -> str | SafeString:
    """How long ago, with the moment itself on hover."""
    if moment is None:
        return units.ABSENT
    age = (timezone.now() - moment).total_seconds()
    text = "just now" if 0 <= age < 5 else f"{units.age_text(age)} ago" if age > 0 else f"in {units.age_text(-age)}"
    return format_html('<time datetime="{}" title="{}">{}</time>', moment.isoformat(), _absolute(moment), text)


@register.filter
def since(moment: datetime | None) -> str | SafeString:
    """How long it has been so, without `ago`."""
    if moment is None:
        return units.ABSENT
    age = (timezone.now() - moment).total_seconds()
    return format_html(
        '<time datetime="{}" title="since {}">{}</time>',
        moment.isoformat(),
        _absolute(moment),
        units.age_text(age),
    )


def _absolute(moment: datetime) -> str:
    return f"{timezone.localtime(moment):%Y-%m-%d %H:%M:%S %Z}"


@register.filter
def until(moment: datetime | None) -> str:
    """How long until then: 12 s."""
    return units.ABSENT if moment is None else units.duration_text((moment - timezone.now()).total_seconds())


@register.inclusion_tag("includes/action.html", takes_context=True)
def action(context: dict[str, Any], label: str, url: str, **options: Any) -> dict[str, Any]:
    """A button that posts: `{% action "Load" url tone="primary" icon="play" confirm="…" target="#content" %}`."""
    return {"label": label, "url": url, "csrf_token": context.get("csrf_token"), "target": "#content", **options}
