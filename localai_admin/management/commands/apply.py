"""`localai-admin apply`: install everything that a list names."""

import sys
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from gallery.services import applying


class Command(BaseCommand):
    help = "Installs the models of a list in YAML or JSON, as LocalAI's PRELOAD_MODELS; a worker does the jobs."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", help="the list; - reads it from standard input")

    def handle(self, *args: Any, file: str, **options: Any) -> None:
        try:
            outcomes = (
                applying.apply_from_string(sys.stdin.buffer.read(applying.MOST + 1), by=None)
                if file == "-"
                else applying.apply_from_file(Path(file), by=None)
            )
        except applying.ListRefused as error:
            raise CommandError(f"{error} {error.action}") from None
        for outcome in outcomes:
            line = f"{outcome.number}. {outcome.name or '–'}: {outcome.result}. {outcome.sentence}"
            self.stdout.write(line if outcome.job is None else f"{line} Job {outcome.job.pk}.")
        refused = sum(outcome.is_refused for outcome in outcomes)
        if refused:
            raise CommandError(f"{refused} of {len(outcomes)} were refused.")
