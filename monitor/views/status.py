"""What a backend says of itself. Asked in a request of its own, with a deadline, so that no page waits for it."""

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from models.services import ModelNotLoaded, ModelUnknown
from monitor.services import ProcessGone, check_and_sample
from team.access import requires


@requires("monitor.view_sample")
@require_GET
def status(request: HttpRequest, name: str) -> HttpResponse:
    """A fragment: state, memory and breakdown as its Status call gives them, or a sentence why there are none."""
    report, sentence = None, ""
    try:
        report = check_and_sample(name)
    except (ModelNotLoaded, ProcessGone) as error:
        sentence = str(error)
    except ModelUnknown as error:
        raise Http404(str(error)) from error
    return render(request, "monitor/status.html", {"report": report, "sentence": sentence})
