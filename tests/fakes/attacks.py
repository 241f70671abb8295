"""Attacks by what somebody else wrote, and a look at a page as a browser takes it."""

import re
from html.parser import HTMLParser
from typing import Any

from django.http import HttpResponse

from gallery.models import Entry, Gallery

HOSTILE = "\"><script>alert(1)</script><img src=x onerror=alert(1)>' hx-get=/x"

BAD_NAMES = [
    "../x",
    "..",
    ".",
    "../../etc/passwd",
    "/etc/passwd",
    "a/../../b",
    "x\x00y",
    "x\ny",
    "x" * 300,
    "é" * 200,
    "..\\x",
    "%2e%2e%2fx",
    "\u202egpj.x",
    "x\u200b",
    "._gallery_x",
    ".ingest",
    "C:\\x",
    "\u2024\u2024/x",
    "\ud800x",
]

HOSTILE_VALUES = [
    "-1",
    "0",
    "10" * 30,
    "NaN",
    "1e9",
    "٣",
    "²",
    "\x00",
    "%00",
    "'",
    "1;drop",
    "x" * 5000,
    "None",
    "[]",
    "2020-01-01T00:00:00",
    "9999-99-99T99:99:99Z",
    "0001-01-01T00:00:00+23:59",
]


class _Page(HTMLParser):
    """What a browser could be made to do by a page: its elements and attributes, without those that are text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attributes}))


def assert_harmless(answer: HttpResponse) -> None:
    """No script but the console's own files, no handler, no link that runs, no image of somebody who was not asked."""
    for tag, attributes in _Page(answer.content.decode()).elements:
        assert tag not in {"iframe", "object", "embed", "base", "applet"}
        if tag == "script":
            assert attributes["src"].startswith(("/static/", "/django-admin/jsi18n/"))
        if tag == "img":
            assert attributes["src"].startswith(("https://", "/static/"))
        for name, value in attributes.items():
            assert not name.startswith("on")
            assert name != "style"
            if name in {"href", "src", "action", "formaction"}:
                assert re.match(r"(https?://|mailto:|/|\?|#)", value), f"{tag} {name}={value}"
            if name.startswith(("hx-get", "hx-post", "data-hx")):
                assert value.startswith(("/", "?")), f"{tag} {name}={value}"
            if name in {"action", "formaction"}:
                assert value.startswith("/")
                assert not value.startswith("//")


def hostile_gallery() -> Gallery:
    return Gallery.objects.create(
        name="x", url="https://gallery.example/index.yaml", enabled=True, error=HOSTILE, entry_count=1
    )


def hostile_entry(gallery: Gallery, **changes: Any) -> Entry:
    files = [{"filename": HOSTILE, "uri": f"javascript:{HOSTILE}", "sha256": HOSTILE}]
    data = {
        "description": f"{HOSTILE}\n\n[a](javascript:alert(1)) <a href='https://x.example' hx-post='/sign-out/'>b</a>"
        "<form action=https://evil.example><input name=password></form> [c](data:text/html,x)",
        "urls": ["javascript:alert(1)", "https://fine.example/", f"https://x.example/{HOSTILE}", "//evil.example"],
        "url": f"javascript:{HOSTILE}",
        "files": files,
        "variants": [{"model": HOSTILE}],
        "overrides": {"system_prompt": HOSTILE, "trust_remote_code": True},
    }
    fields = {
        "name": "fine",
        "position": 1,
        "summary": HOSTILE,
        "license": HOSTILE,
        "icon": "javascript:alert(1)",
        "backend": HOSTILE,
        "tags": [HOSTILE],
        "usecases": [HOSTILE],
        "search": "fine",
        "data": data,
    }
    return Entry.objects.create(gallery=gallery, **{**fields, **changes})


def quoted(name: str) -> str:
    return "".join(f"%{byte:02x}" for byte in name.encode("utf-8", "surrogatepass"))
