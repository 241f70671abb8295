"""A real Chromium, driven by Playwright, against a real console."""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.fakes import http_server
from tests.fakes.console import Console
from tests.fakes.own_gallery import OwnGallery

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage"]
WIDE = {"width": 1440, "height": 900}
PHONE = {"width": 390, "height": 844}
NAME, PASSWORD = "ada", "a quiet long phrase"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/browser" in str(item.path):
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    assert CHROMIUM, "No Chromium. On Debian: apt-get install chromium"
    # The driver leaves a running event loop in this thread, beside which Django would not use its database; no test
    # does anything in that loop.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        chromium.close()


class Complaints(list[str]):
    """What the browser complained about: errors of scripts, blocked content, failed requests to our own host."""


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Make a page of a size and a theme; at the end of the test nothing may have been complained about."""
    contexts: list[BrowserContext] = []
    complaints = Complaints()

    def make(size: dict[str, int] = WIDE, theme: str = "light", **options: object) -> Page:
        context = browser.new_context(
            viewport=size, color_scheme=theme, has_touch=size is PHONE, reduced_motion="reduce", **options
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.on("pageerror", lambda error: complaints.append(f"{page.url}: {error}"))
        page.on("console", lambda line: complaints.append(f"{page.url}: {line.text}") if line.type == "error" else None)
        page.complaints = complaints  # type: ignore[attr-defined]
        return page

    yield make
    for context in contexts:
        context.close()
    assert not complaints


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Console]:
    with Console(tmp_path / "data") as running:
        yield running


@pytest.fixture
def own() -> Iterator[OwnGallery]:
    with http_server.running() as server:
        yield OwnGallery(server)


@pytest.fixture
def start(tmp_path: Path, own: OwnGallery) -> Iterator[Callable[..., Console]]:
    """Starts a console that knows our own gallery as it is by then, and one person; more can be put in its settings."""
    with contextlib.ExitStack() as stack:

        def started(**environment: str) -> Console:
            console = stack.enter_context(Console(tmp_path / "data", **(own.environment() | environment)))
            own.prepare(console, NAME, PASSWORD)
            return console

        yield started


def welcome(page: Page, console: Console) -> None:
    """Make the first administrator by the printed link."""
    page.goto(console.welcome_link)
    page.get_by_label("Name").fill(NAME)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_label("Password again").fill(PASSWORD)
    page.get_by_role("button", name="Create and sign in").click()
    page.get_by_role("heading", name="Four steps to the first token").wait_for()


def sign_in(page: Page, console: Console, name: str = NAME) -> None:
    page.goto(console.address + "/sign-in/")
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("navigation", name="Main").wait_for()


def go(page: Page, label: str) -> None:
    page.get_by_role("navigation", name="Main").get_by_role("link", name=label, exact=True).click()
