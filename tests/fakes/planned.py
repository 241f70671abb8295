"""What a person does with a plan: wait until it is worked out, then press its button."""

import re
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import requests

_PLAN = re.compile(r"/plans/[0-9a-f-]{36}/")


def carried_out(
    answer: requests.Response,
    get: Callable[[str], requests.Response],
    post: Callable[[str], requests.Response],
    seconds: float = 70,
) -> requests.Response:
    """From the answer of an Install button to the page of the job; that of the plan when there is nothing to press.

    `get` and `post` take the path of a page of the console.
    """
    path = urlsplit(answer.url).path
    if not _PLAN.fullmatch(path):
        return answer
    end = time.monotonic() + seconds
    while "Being worked out" in answer.text:
        assert time.monotonic() < end, "the plan was never worked out"
        time.sleep(0.1)
        answer = get(path)
    return post(f"{path}confirm/") if f"{path}confirm/" in answer.text else answer
