"""What Hugging Face's own scan found in the repositories that files are to come from, before anything is fetched.

Nobody is told that a repository is safe who has not heard so: no answer, or none yet, is `unknown`, and says why.
"""

import json
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

from gallery.downloads.errors import DownloadError, UnsafeFiles
from gallery.downloads.schemes.huggingface import repository_of
from gallery.downloads.schemes.scheme import Settings
from gallery.downloads.specs import FileSpec

#: For all repositories together. Seconds.
SECONDS = 10.0
MAX_ANSWER = 1 << 20
_MOST_SHOWN = 20

#: An address in, the body of what is there out; raises DownloadError. Called by several threads; ends by itself.
Fetch = Callable[[str], bytes]


@dataclass(frozen=True)
class Verdict:
    """`repository` is owner/name; `files` are the dangerous ones, as far as they are named; `why` is for unknown."""

    repository: str
    result: Literal["safe", "unsafe", "unknown"]
    files: tuple[str, ...] = ()
    why: str = ""

    @property
    def sentence(self) -> str:
        if self.result == "safe":
            return f"Hugging Face's scan of {self.repository} found nothing dangerous."
        if self.result == "unknown":
            return f"It is not known whether {self.repository} is safe: {self.why}."
        named = ", ".join(self.files[:_MOST_SHOWN]) or "it does not say which"
        return f"Hugging Face's scan found dangerous files in {self.repository}: {named}."


def look(
    files: Iterable[FileSpec], fetch: Fetch, endpoint: str | Sequence[str], seconds: float = SECONDS
) -> tuple[Verdict, ...]:
    """A verdict for each Hugging Face repository among the files, in their order; empty without any.

    `endpoint` is where Hugging Face is; of several the first is asked. Takes at most `seconds`, and raises nothing.
    """
    endpoints = Settings((endpoint,) if isinstance(endpoint, str) else tuple(endpoint)).hf_endpoints
    found = dict.fromkeys(repository_of(file.uri, endpoints) for file in files)
    asked = {name: _asked(fetch, f"{endpoints[0]}/api/models/{quote(name)}/scan") for name in found if name}
    wait(asked.values(), timeout=seconds)
    return tuple(_verdict(name, answer, seconds) for name, answer in asked.items())


def refuse(verdicts: Iterable[Verdict], policy: str) -> None:
    """Raise UnsafeFiles when one of them is unsafe and the policy is to block."""
    unsafe = [verdict for verdict in verdicts if verdict.result == "unsafe"]
    if unsafe and policy == "block":
        raise UnsafeFiles(
            " ".join(verdict.sentence for verdict in unsafe),
            action="Choose another model. If an administrator has looked at it, LOCALAI_ADMIN_HF_SCAN=warn allows it.",
        )


def _asked(fetch: Fetch, url: str) -> Future[bytes]:
    """The answer to come. Whoever has waited long enough leaves the thread to its own end."""
    answer: Future[bytes] = Future()

    def work() -> None:
        try:
            answer.set_result(fetch(url))
        except DownloadError as error:
            answer.set_exception(error)

    threading.Thread(target=work, name="safety", daemon=True).start()
    return answer


def _verdict(repository: str, answer: Future[bytes], seconds: float) -> Verdict:
    if not answer.done():
        return Verdict(repository, "unknown", why=f"there was no answer within {seconds:g} s")
    error = answer.exception()
    if error:
        return Verdict(repository, "unknown", why=f"its scan was not to be had ({str(error).rstrip('.')})")
    try:
        data = json.loads(answer.result())
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict) or not isinstance(data.get("hasUnsafeFile"), bool):
        return Verdict(repository, "unknown", why="the answer is not that of a scan")
    return _read(repository, data)


def _read(repository: str, data: dict[str, Any]) -> Verdict:
    dangerous = (*_names(data.get("clamAVInfectedFiles")), *_names(data.get("dangerousPickles")))
    if data["hasUnsafeFile"] or dangerous:
        return Verdict(repository, "unsafe", tuple(dict.fromkeys(dangerous)))
    if data.get("scansDone") is not True:
        return Verdict(repository, "unknown", why="its scan is not finished")
    return Verdict(repository, "safe")


def _names(value: object) -> list[str]:
    """File names, whether they come alone or in maps."""
    items = value if isinstance(value, list) else []
    named = [item.get("path") or item.get("fileName") if isinstance(item, dict) else item for item in items]
    return [name[:300] for name in named if isinstance(name, str)]
