"""A prompt's answer: line by line to a page that reads it while it is made, whole to any other."""

import json
from collections.abc import Iterator

from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_http_methods

from monitor import prompts
from monitor.views.detail import detail_page
from monitor.views.subject import Subject, find
from team.access import requires

NDJSON = "application/x-ndjson"


@requires("models.prompt_model")
@require_http_methods(["GET", "POST"])
def prompt(request: HttpRequest, name: str) -> HttpResponseBase:
    """Lines of JSON when they are asked for: {"text"}, {"figures"}, {"error"}; else the page with the answer in it.

    A GET is somebody who comes back to the address of an answer: nothing is kept, so they get the page to ask anew.
    """
    if request.method == "GET":
        return redirect("monitor:detail", name)
    subject = find(name)
    typed = request.POST.get("prompt", "")
    streams = NDJSON in request.headers.get("Accept", "")
    try:
        answer = prompts.ask(subject.name, subject.instance, subject.config, typed)
    except prompts.PromptRefused as refusal:
        return _refused(request, subject, typed, refusal, streams=streams)
    if streams:
        # A line that waits in a buffer is no stream: neither a proxy nor the compression may hold it back.
        headers = {"X-Accel-Buffering": "no", "Cache-Control": "no-store", "Content-Encoding": "identity"}
        return StreamingHttpResponse(Lines(answer), content_type=NDJSON, headers=headers)
    return detail_page(request, subject, typed=typed, answer=answer.whole())


class Lines:
    """An answer as lines of JSON. A server that loses its client closes it, and so the engine's work."""

    def __init__(self, answer: prompts.Answer) -> None:
        self._answer = answer

    def __iter__(self) -> Iterator[bytes]:
        for kind, text in self._answer:
            # An empty line says nothing, but finds out whether somebody is still there.
            yield b"\n" if kind == "waiting" else f"{json.dumps({kind: text})}\n".encode()

    def close(self) -> None:
        self._answer.close()


def _refused(
    request: HttpRequest, subject: Subject, typed: str, refusal: prompts.PromptRefused, *, streams: bool
) -> HttpResponse:
    if streams:
        line = json.dumps({"error": str(refusal)})
        response = HttpResponse(f"{line}\n", content_type=NDJSON, status=refusal.status)
    else:
        response = detail_page(request, subject, status=refusal.status, typed=typed, refusal=str(refusal))
    if isinstance(refusal, prompts.TooManyStreams):
        response["Retry-After"] = str(refusal.retry_after)
    return response
