"""Tags and filters of the console's templates: figures, times, states, icons."""

from datetime import datetime
from functools import lru_cache

from django import template
from django.template import Context
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


@register.simple_tag(takes_context=True)
def action(
    context: Context,
    label: str,
    url: str,
    *,
    icon_name: str = "",
    tone: str = "",
    large: bool = False,
    aria: str = "",
    id: str = "",
    confirm: str = "",
    confirm_label: str = "",
    target: str = "#content",
    field: str = "",
    value: object = "",
) -> SafeString:
    """A button that posts: `{% action "Load" url tone="primary" icon_name="play" confirm="…" target="#content" %}`.

    With `confirm` it asks that first. It is no template because a list of jobs has a hundred of them: that took a third
    of the page's time.
    """
    classes = "btn" + ("" if large else " btn-sm") + (f" btn-{tone}" if tone else "")
    picture = icon(icon_name) if icon_name else ""
    sent = format_html('<input type="hidden" name="{}" value="{}">', field, value) if field else ""
    named = format_html(' id="{}"', id) if id else ""
    said = format_html(' aria-label="{}"', aria) if aria else ""
    shown = confirm_label or label if confirm else format_html("{}{}", picture, label)
    form = format_html(_POSTS, url, target, target, context["csrf_token"], sent, named, classes, said, shown)
    return format_html(_ASKS, classes, picture, label, confirm, form) if confirm else form


_POSTS = (
    '<form method="post" action="{}" class="action" hx-boost="true" hx-push-url="false" hx-target="{}" hx-select="{}"'
    ' hx-swap="morph:outerHTML show:none"><input type="hidden" name="csrfmiddlewaretoken" value="{}">{}'
    '<button type="submit"{} class="{}"{}>{}</button></form>'
)
_ASKS = (
    '<details class="confirm"><summary class="{}">{}{}</summary>'
    '<div class="confirm-box" role="group" aria-label="Confirm"><p>{}</p>{}</div></details>'
)
