"""The first page: is everything all right, and what to do when it is not."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.models import AnonymousUser, User
from django.db.models import F, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.text import capfirst
from django.views.decorators.http import require_GET, require_POST

from gallery import states as job_states
from gallery.models import Entry, Gallery, Job, JobEvent
from gallery.services import refresh, updates
from gallery.services import starter as starter_service
from gallery.states import Kind
from localai_admin import context
from localai_admin.lib import htmx, units
from localai_admin.lib.htmx import render_partial
from localai_admin.lib.polling import has_seen, pace, versioned
from models import inventory
from models.models import Instance, InstanceEvent
from models.states import RESTING, TROUBLED, State
from monitor import overview as usage
from team.access import requires

#: Below this share of the file system free, the disk is a problem.
LOW_DISK = 0.05
EVENTS_SHOWN = 8
#: More than these are counted, not listed: the page answers one question, its own pages answer the others.
PROBLEMS_SHOWN, BACKENDS_SHOWN, JOBS_SHOWN = 5, 8, 4
#: An event that is a person's wish: it changes no state, or begins a job.
ASKED = Q(from_state=F("to_state")) | Q(from_state="")


@dataclass(frozen=True)
class Problem:
    """Something a person should look at: what, why, the page that tells more, and what can be done at once.

    `act` is what is posted to `act_url`, for those who hold `permission`.
    """

    state: str
    what: str
    why: str
    url: str
    act: str = ""
    act_url: str = ""
    permission: str = ""


@dataclass(frozen=True)
class Happening:
    """One line of the last events, of a job or of an instance."""

    at: Any
    by: str
    what: str
    state: str
    why: str
    url: str


@requires("models.view_instance")
@require_GET
def index(request: HttpRequest) -> HttpResponse:
    model_count = len(inventory.config_folder().all())
    instances = list(Instance.objects.on_this_node().in_use())
    host = usage.host()
    found = list(problems(instances, host))
    page = {
        "section": "Overview",
        "problems": [(problem, request.user.has_perm(problem.permission)) for problem in found[:PROBLEMS_SHOWN]],
        "problem_count": len(found),
        "more_problems": len(found[PROBLEMS_SHOWN:]),
        "host": host,
        "backends": backends(instances, host),
        "backend_count": len(instances),
        "ready_count": sum(instance.is_ready for instance in instances),
        "more_backends": len(instances[BACKENDS_SHOWN:]),
        "model_count": model_count,
        "under_way": context.running(JOBS_SHOWN)["running_jobs"],
        "steps": first_steps(request.user, bool(model_count or inventory.names())),
        "update_count": len(updates.available()),
        "happenings": happenings(),
        "starter": starter_service.what_is_fetched(),
        "starter_job": Job.objects.filter(kind=Kind.STARTER, subject=starter_service.NAME).first(),
        "live_seconds": 2 if any(instance.is_moving for instance in instances) else 5,
    }
    return render_partial(request, "overview/index.html", page, partial="live")


@requires("models.view_instance")
@require_GET
def strip(request: HttpRequest) -> HttpResponse:
    """What is running anywhere, for the strip under the top bar."""
    running = context.running()
    version = running["strip_version"]
    if has_seen(request, version):
        return versioned(htmx.unchanged(), version)
    seconds = pace(request, running["strip_seconds"], beside=True)
    return versioned(render(request, "includes/strip.html", running | {"strip_seconds": seconds}), version)


@requires("gallery.install_model")
@require_POST
def starter(request: HttpRequest) -> HttpResponse:
    """Start the job that prepares the starter gallery, once the terms were agreed to."""
    if request.POST.get("accept_terms") != "yes":
        messages.error(
            request, "The starter model comes under Gemma's terms of use: tick the box to agree to them first."
        )
        return redirect("overview")
    return redirect(starter_service.request_starter(by=cast(User, request.user)))


def problems(instances: list[Instance], host: usage.Host | None) -> Iterator[Problem]:
    """The gravest first: without an agent nothing else can be mended."""
    yield from agent_problem(host)
    yield from disk_problem(host)
    for instance in instances:
        if instance.state in TROUBLED:
            yield instance_problem(instance)
    for job in Job.objects.needs_attention()[:PROBLEMS_SHOWN]:
        yield Problem(
            job.state, str(job), f"{job.error} {job.action}".strip(), job.get_absolute_url(),
            "Retry", reverse("gallery:retry", args=[job.pk]), "gallery.control_job",
        )  # fmt: skip
    for gallery in Gallery.objects.shown().exclude(error=""):
        yield Problem(
            "attention", f"Gallery {gallery.name} could not be refreshed", gallery.error, reverse("gallery:index"),
            "Refresh", reverse("gallery:refresh"), "gallery.refresh_gallery",
        )  # fmt: skip
    for sentence in refresh.setting_problems():
        yield Problem("attention", "A gallery of the settings is not used", sentence, reverse("gallery:index"))
    for path, sentence in inventory.problems():
        yield Problem("attention", f"{path.name} is not used", sentence, reverse("models:index"))


def instance_problem(instance: Instance) -> Problem:
    """One that gave up can be loaded again; one that is backing off tries by itself."""
    act = ("Load", reverse("models:load", args=[instance.name]), "models.load_model")
    gave_up = act if instance.state == State.FAILED else ()
    return Problem(instance.state, instance.name, capfirst(instance.reason), _model_url(instance), *gave_up)


def agent_problem(host: usage.Host | None) -> Iterator[Problem]:
    if host is None or host.age_seconds > usage.AGENT_SILENT_SECONDS:
        yield Problem(
            "attention",
            "The agent is silent",
            "No figures have come from it for a while, so loads and shutdowns wait. See whether localai-admin up (or "
            "run_agent) runs; its log says why it stopped.",
            reverse("monitor:index"),
        )


def disk_problem(host: usage.Host | None) -> Iterator[Problem]:
    if host and host.disk_free < max(settings.DISK_RESERVE, host.disk_total * LOW_DISK):
        left = units.bytes_text(host.disk_free)
        yield Problem(
            "attention",
            "The disk for models is nearly full",
            f"{left} of {units.bytes_text(host.disk_total)} are free. Delete models that nobody uses.",
            reverse("models:index") + "?sort=largest",
        )


def backends(instances: list[Instance], host: usage.Host | None) -> list[tuple[usage.InstanceUsage, float | None]]:
    """The first of them, what runs before what does not, each with its share of the host's memory in percent."""
    first = sorted(instances, key=lambda instance: (not instance.is_ready, not instance.is_moving, instance.name))
    used = usage.with_usage(first[:BACKENDS_SHOWN])
    return [(row, row.share_of(host.latest.memory_total) if host else None) for row in used]


@dataclass(frozen=True)
class Step:
    """One of the four steps from a fresh console to the first token."""

    title: str
    done: bool
    now: bool
    key: str


def first_steps(user: User | AnonymousUser, has_models: bool) -> list[Step]:
    """The steps with their ticks; empty once all four were taken."""
    done = {
        "gallery": has_models or Entry.objects.exists(),
        "install": has_models,
        "load": Instance.objects.filter(ready_at__isnull=False).exists(),
        "prompt": Instance.objects.filter(last_used_at__isnull=False).exists(),
    }
    if all(done.values()):
        return []
    titles = {
        "gallery": "Get a gallery to choose from",
        "install": "Install a model",
        "load": "Load it into a backend",
        "prompt": "Send it a prompt",
    }
    now = next(key for key, is_done in done.items() if not is_done)
    return [Step(titles[key], is_done, key == now, key) for key, is_done in done.items()]


def happenings() -> list[Happening]:
    """What people asked for and how it ended, newest first; the steps between are on the pages of jobs and models."""
    of_jobs = JobEvent.objects.filter(Q(to_state__in=job_states.ENDED | {job_states.State.RETRYING}) | ASKED)
    of_instances = InstanceEvent.objects.filter(Q(to_state__in=RESTING | TROUBLED | {State.READY}) | ASKED)
    found = [
        Happening(event.at, event.by, str(event.job), _word(event), event.why, event.job.get_absolute_url())
        for event in of_jobs.select_related("job").order_by("-at", "-pk")[:EVENTS_SHOWN]
    ] + [
        Happening(event.at, event.by, event.instance.name, _word(event), event.why, _model_url(event.instance))
        for event in of_instances.select_related("instance").order_by("-at", "-pk")[:EVENTS_SHOWN]
    ]
    return sorted(found, key=lambda happening: happening.at, reverse=True)[:EVENTS_SHOWN]


def _word(event: JobEvent | InstanceEvent) -> str:
    """The state it came to; a wish changes none."""
    return "asked" if event.from_state in {"", event.to_state} else event.to_state


def _model_url(instance: Instance) -> str:
    return reverse("models:detail", args=[instance.name])
