"""A job's bar, and what it does in a sentence. No templates: a list of jobs has fifty of each."""

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst

from gallery.job_figures import Figures
from gallery.models import Job
from localai_admin.lib.units import bytes_text, duration_text

register = template.Library()


@register.simple_tag
def bar(figures: Figures, label: str) -> SafeString:
    """How far it is; a bar that only moves while the total is not known."""
    if figures.bar_value is None:
        return format_html('<progress aria-label="Progress of {}, total not known"></progress>', label)
    return format_html(
        '<progress class="{}" value="{}" max="{}" aria-label="Progress of {}">{} %</progress>',
        figures.bar_tone,
        figures.bar_value,
        figures.total,
        label,
        figures.percent,
    )


@register.simple_tag
def doing(job: Job, figures: Figures, standing: str = "") -> str | SafeString:
    """What happens now: what was asked of it comes before what it does, and silence before both figures."""
    if job.is_being_cancelled:
        return "Cancelling: the worker lets go first"
    if job.is_being_paused:
        return "Pausing: the worker lets go first, the bytes stay"
    if figures.silent_for:
        silence = format_html('<span class="silent">No data for {}</span>', duration_text(figures.silent_for))
        return format_html("{} · {}", silence, far) if (far := _far(figures)) else silence
    if job.is_working or job.is_paused:
        return " · ".join(filter(None, (_far(figures), job.message)))
    return capfirst(standing) or job.message


def _far(figures: Figures) -> str:
    if figures.total:
        return f"{bytes_text(figures.done)} of {bytes_text(figures.total)}"
    return f"{bytes_text(figures.done)} so far" if figures.done else ""
