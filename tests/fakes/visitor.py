"""A person with a browser that runs no scripts: signed in, reads pages as text, presses buttons."""

import html
import re

import requests

from tests.fakes.console import Console
from tests.fakes.planned import carried_out

NAME, PASSWORD = "ada", "correct horse battery"
_HIDDEN = re.compile(r"<(script|style|svg)\b.*?</\1>", re.DOTALL)
_TAG = re.compile(r"<[^>]*>")
_WORK = re.compile(r"/(jobs|plans)/[0-9a-f-]{36}/")


class Visitor:
    """Makes the first administrator of a fresh console by the link that `up` printed."""

    def __init__(self, console: Console) -> None:
        self.address = console.address
        self.session = requests.Session()
        self.session.get(console.welcome_link, timeout=30)
        names = {"username": NAME, "password1": PASSWORD, "password2": PASSWORD}
        answer = self._send(console.welcome_link, names)
        assert "sessionid" in self.session.cookies, text_of(answer.text)

    def get(self, path: str) -> str:
        """The text of a page, which must be there."""
        answer = self.session.get(self.address + path, timeout=60)
        assert answer.status_code == 200, f"{path} answered {answer.status_code}: {text_of(answer.text)[:500]}"
        return text_of(answer.text)

    def post(self, path: str, **fields: str) -> requests.Response:
        """Press a button. The answer is that of the page it leads to."""
        answer = self._send(self.address + path, fields)
        assert answer.status_code < 500, f"{path} answered {answer.status_code}"
        return answer

    def install(self, gallery: str, name: str) -> str:
        """Install an entry; returns the path of its job, or of its plan when that cannot be carried out."""
        asked = self.post(f"/gallery/{gallery}/{name}/install/", name="")
        answer = carried_out(asked, lambda path: self.session.get(self.address + path, timeout=60), self.post)
        found = _WORK.search(answer.url)
        assert found, text_of(answer.text)
        return found[0]

    def close(self) -> None:
        self.session.close()

    def _send(self, url: str, fields: dict[str, str]) -> requests.Response:
        token = self.session.cookies["csrftoken"]
        return self.session.post(url, {**fields, "csrfmiddlewaretoken": token}, timeout=60)


def text_of(page: str) -> str:
    """What a person reads of it, on one line."""
    return " ".join(html.unescape(_TAG.sub(" ", _HIDDEN.sub(" ", page))).split())
