"""An install of two files, of which one suffers: what a person sees of it, what is kept, and what became visible."""

import html
import random
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from django.test import Client
from django.urls import reverse
from django.utils import timezone

from gallery.downloads.partial import bytes_here
from gallery.models import Entry, Gallery, Job
from gallery.services import installs, jobs, leftovers, running
from gallery.services.running import JobRun
from gallery.states import State
from tests.fakes.downloads import QUICK, SHORT
from tests.fakes.http_server import Page, Server

SICK, GOOD = "sick.gguf", "good.gguf"
GOOD_BODY = random.Random(1).randbytes(5_000)
#: Less than what a second connection would take a part of, so that what is fetched can be counted to the byte.
BODY = random.Random(2).randbytes(120_000)
HALF = 60_000
#: Enough for several connections, when it comes slowly.
LARGE = random.Random(3).randbytes(2 << 20)
#: What both files were before.
EARLIER = {SICK: b"the earlier weights" * 100, GOOD: b"the earlier projector" * 10}


class TwoFiles:
    """The entry `two` of a gallery, with a template, from `server`; `client` is the browser of who installs it."""

    def __init__(self, server: Server, client: Client, models: Path) -> None:
        self.server, self.client, self.models = server, client, models
        self.gallery = Gallery.objects.create(name="own", url=server.url("/index.yaml"))
        self.entry = Entry.objects.create(gallery=self.gallery, name="two", data={})
        self.bodies = {SICK: BODY, GOOD: GOOD_BODY}
        self.job = Job()

    # --- what there is

    def offer(self, body: bytes = BODY, good: bytes = GOOD_BODY, uri: str = "", **how: Any) -> None:
        """The entry has these bytes as its files; `how` is what the server does with the first one."""
        self.bodies = {SICK: body, GOOD: good}
        self.server.gives("/sick", body, **how)
        self.server.gives("/good", good, pause=how.get("pause", 0.0))
        self.enter({SICK: uri or self.server.url("/sick"), GOOD: self.server.url("/good")})

    def enter(self, uris: dict[str, str]) -> None:
        files = [
            {"filename": name, "sha256": sha256(self.bodies[name]).hexdigest(), "uri": uri}
            for name, uri in uris.items()
        ]
        settings = {"backend": "llama-cpp", "context_size": len(self.bodies[SICK]), "parameters": {"model": SICK}}
        self.entry.data = {"name": "two", "license": "mit", "overrides": settings, "files": files}
        self.entry.save()

    def install_earlier(self) -> None:
        """The same model, as it was before."""
        self.bodies = EARLIER
        self.enter({name: self.server.gives(f"/earlier-{name}", body) for name, body in EARLIER.items()})
        self.ask()
        self.run()
        assert self.job.state == State.DONE, self.job.error

    def suffer(self, **how: Any) -> None:
        """From now on the server does this with the first file; nothing for what a good server does."""
        self.server.pages["/sick"] = Page(self.bodies[SICK], **how)

    # --- what happens

    def ask(self) -> None:
        self.job = installs.request_install(self.entry, "", None)

    def run(self, during: Callable[[JobRun], None] = lambda _: None, **more: Any) -> None:
        """One try, impatient. `during` may change how the run's methods work."""
        work = partial(installs.run_install, **{"timeouts": QUICK, "patience": SHORT, **more})

        def watched(run: JobRun) -> str:
            during(run)
            return work(run)

        running.run(self.job.pk, watched)
        self.job.refresh_from_db()

    def begin(self, count: int) -> None:
        """An earlier try has brought so many bytes of the first file, and failed then."""
        self.suffer(turns=[Page(self.bodies[SICK], cut=count)], status=503)
        self.run()
        assert self.job.state == State.RETRYING
        assert self.kept(SICK) == count
        self.ask_again()

    def ask_again(self) -> None:
        """As a person, with the button; or as time does, when the job tries again by itself."""
        if self.job.state == State.RETRYING:
            Job.objects.filter(pk=self.job.pk).update(next_try_at=timezone.now())
        else:
            self.press("retry")

    def lose_worker(self) -> None:
        """Whoever worked on it is gone, or taken for gone: somebody else may have it."""
        if self.job.state == State.RETRYING:
            self.ask_again()
        jobs.recover(timezone.now() + timedelta(hours=1))
        self.job.refresh_from_db()
        assert self.job.state == State.QUEUED

    def end(self) -> None:
        """Call a failed install off for good: its bytes go, the next one begins anew."""
        self.press("dismiss")
        leftovers.sweep(timezone.now())

    def press(self, act: str) -> None:
        """A button of the job's page."""
        assert self.offers(act)
        self.client.post(reverse(f"gallery:{act}", args=[self.job.pk]))

    # --- what there is to see

    def page(self) -> str:
        """The job's page as it is read."""
        return html.unescape(self.client.get(self.job.get_absolute_url()).content.decode())

    def offers(self, act: str) -> bool:
        """Whether the page has a button for that."""
        return f'action="{reverse(f"gallery:{act}", args=[self.job.pk])}"' in self.page()

    def visible(self) -> dict[str, bytes]:
        """Every file of the models folder that is not of an install under way."""
        found = {str(path.relative_to(self.models)): path for path in self.models.rglob("*") if path.is_file()}
        return {name: path.read_bytes() for name, path in sorted(found.items()) if not name.startswith(".ingest/")}

    def kept(self, name: str) -> int:
        """Bytes of the file that the next try can use."""
        part = self.models / ".ingest" / str(self.job.pk) / f"{sha256(name.encode()).hexdigest()[:16]}.part"
        return bytes_here(part)

    def suspects(self) -> list[bytes]:
        folder = self.models / ".ingest/suspect"
        return [path.read_bytes() for path in sorted(folder.glob("*")) if path.suffix != ".json"]

    def assert_installed(self) -> None:
        assert (self.job.state, self.job.error) == (State.DONE, ""), self.job.error
        assert "two is installed" in self.page()
        seen = self.visible()
        assert {name: seen[name] for name in self.bodies} == self.bodies
        assert f"context_size: {len(self.bodies[SICK])}".encode() in seen["two.yaml"]
        assert "._gallery_two.yaml" in seen
        assert not (self.models / ".ingest" / str(self.job.pk)).exists()


def at_progress(do: Callable[[], None], beyond: int = 0) -> Callable[[JobRun], None]:
    """Once, in the middle of the bytes."""
    done_once: list[bool] = []

    def hook(run: JobRun) -> None:
        show = run.progress

        def shown(done: int, *rest: Any, **more: Any) -> None:
            show(done, *rest, **more | {"final": True})
            if done > beyond and not done_once:
                done_once.append(True)
                do()

        run.progress = shown  # type: ignore[method-assign]

    return hook


def at_move(to: State, do: Callable[[], None]) -> Callable[[JobRun], None]:
    """Right after the job has gone to that state."""

    def hook(run: JobRun) -> None:
        move = run.move

        def moved(new: State, *rest: Any, **more: Any) -> None:
            move(new, *rest, **more)
            if new == to:
                do()

        run.move = moved  # type: ignore[method-assign]

    return hook
