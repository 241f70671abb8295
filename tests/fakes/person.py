"""Somebody with a browser, as far as forms go."""

import re
from collections.abc import Iterator

import requests

from tests.fakes.console import Console
from tests.fakes.planned import carried_out


class Person:
    """Somebody with a browser: signs up by the printed link, then posts forms."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.session = requests.Session()

    def sign_up(self) -> "Person":
        link = self.console.welcome_link
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', self.session.get(link, timeout=20).text)
        assert token
        phrase = "a quiet long phrase"
        form = {"username": "ada", "password1": phrase, "password2": phrase, "csrfmiddlewaretoken": token[1]}
        assert self.session.post(link, form, headers={"Referer": self.console.address}, timeout=20).ok
        return self

    def again(self) -> "Person":
        """The same person at a second browser."""
        other = Person(self.console)
        other.session.cookies.update(self.session.cookies)
        return other

    def stream(self, name: str, prompt: str) -> Iterator[bytes]:
        """The lines of an answer, as they come."""
        headers = {"X-CSRFToken": self.session.cookies["csrftoken"], "Accept": "application/x-ndjson"}
        url = f"{self.console.address}/monitor/{name}/prompt/"
        answer = self.session.post(url, {"prompt": prompt}, headers=headers, stream=True, timeout=30)
        assert answer.status_code == 200, answer.text
        yield from answer.iter_lines()

    def post(self, path: str, **form: str) -> requests.Response:
        headers = {"X-CSRFToken": self.session.cookies["csrftoken"], "Referer": self.console.address}
        answer = self.session.post(self.console.address + path, form, headers=headers, timeout=30)
        assert answer.status_code < 500, answer.text
        return answer

    def install(self, gallery: str, name: str) -> requests.Response:
        """Ask for a plan, and do what it says. The answer is the page of the job."""
        asked = self.post(f"/gallery/{gallery}/{name}/install/")
        return carried_out(asked, lambda path: self.session.get(self.console.address + path, timeout=30), self.post)

    def get(self, path: str) -> str:
        answer = self.session.get(self.console.address + path, timeout=30)
        assert answer.status_code < 500, answer.text
        return answer.text
