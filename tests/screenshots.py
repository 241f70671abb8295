"""The pictures of the console, taken from real ones.

`make screenshots` takes the README's, from a console with the starter model loaded (which is fetched, 240 MB).
`python -m tests.screenshots FOLDER` takes every page of a crowded, a silent and a fresh console, in both themes and
every size, to be looked at by those who change the pages.
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser.conftest import ARGUMENTS, NAME, PASSWORD, PHONE, WIDE, sign_in, welcome
from tests.browser.crowd import Crowd
from tests.fakes.console import ROOT, Console

MODEL = "gemma-3-270m-q4_k_m"
README = {
    "overview": "/",
    "gallery": "/gallery/?q=qwen",
    "models": "/models/",
    "jobs": "/jobs/?tab=record",
    "monitor": f"/monitor/{MODEL}/",
}
EVERY = {
    "overview": "/", "models": "/models/", "models-ready": "/models/?state=ready", "models-none": "/models/?q=zzz",
    "gallery": "/gallery/", "gallery-found": "/gallery/?q=qwen", "gallery-none": "/gallery/?q=nothing-is-called-so",
    "jobs": "/jobs/", "attention": "/jobs/?tab=attention", "record": "/jobs/?tab=record", "monitor": "/monitor/",
    "missing": "/nowhere/", "admin": "/django-admin/", "admin-jobs": "/django-admin/gallery/job/",
}  # fmt: skip
#: A page, and the link on it that leads to one of the many pages of its kind.
FIRST = {
    "model-failed": ("/models/?state=failed", "td.name a"),
    "model-backoff": ("/models/?state=backoff", "td.name a"),
    "monitored": ("/monitor/", "td.name a"),
    "delete": ("/models/?state=failed", ".menu-box .btn-quiet-danger"),
    "entry": ("/gallery/?q=qwen", ".card-head h2 a"),
    "job": ("/jobs/", "tr:has(.silent) td.name a"),
    "job-failed": ("/jobs/?tab=attention", "td.name a"),
}
SIZES = {"wide": WIDE, "hd": {"width": 1920, "height": 1080}, "tablet": {"width": 820, "height": 1180}, "phone": PHONE,
         "zoomed": {"width": 720, "height": 450}}  # fmt: skip
SHOWCASE = "from tests.browser import showcase_rows; showcase_rows.fill({name!r}, {password!r}, {folder!r})"


def pictures_of_the_readme(chromium: Browser, folder: Path, target: Path) -> None:
    settings = {"LOCALAI_ADMIN_GALLERY_ICONS": "false", "LOCALAI_ADMIN_FILE_ROOTS": str(folder)}
    with Console(folder / "data", **settings) as console:
        console.manage("shell", "-v", "0", "-c", SHOWCASE.format(name=NAME, password=PASSWORD, folder=str(folder)))
        page = chromium.new_context(viewport={"width": 1440, "height": 1060}).new_page()
        sign_in(page, console)
        page.goto(console.address + README["monitor"])
        ask(page, "Once upon a time, in a small town by the sea, there was a lighthouse")
        take(page, console, target / "monitor.png")
        page.set_viewport_size(WIDE)  # type: ignore[arg-type]
        for name, path in README.items():
            if name != "monitor":
                page.goto(console.address + path)
                take(page, console, target / f"{name}.png")


def ask(page: Page, prompt: str) -> None:
    page.get_by_label("Prompt").fill(prompt)
    page.get_by_role("button", name="Send").click()
    page.wait_for_timeout(5000)
    # It may have said all it has to say.
    if (stop := page.get_by_role("button", name="Stop")).is_visible():
        stop.click()
    page.wait_for_timeout(6000)


def take(page: Page, console: Console, file: Path, whole: bool = False) -> None:
    page.wait_for_load_state("networkidle")
    page.screenshot(path=file, full_page=whole)


def every_picture(chromium: Browser, folder: Path, target: Path) -> None:
    with Crowd(folder / "crowd", NAME, PASSWORD) as crowd:
        for size, theme, page in views(chromium):
            every_page(page, crowd, target, f"-{size}-{theme}")
        page = chromium.new_context(viewport=WIDE).new_page()
        sign_in(page, crowd, "vera")
        every_page(page, crowd, target, "-viewer")
    with Crowd(folder / "silent", NAME, PASSWORD, silent=True) as silent:
        page = chromium.new_context(viewport=WIDE).new_page()
        sign_in(page, silent)
        some_pages(page, silent, {"overview": "/", "monitor": "/monitor/"}, target, "-silent")
    with Console(folder / "fresh", new=True) as fresh:
        page = chromium.new_context(viewport=WIDE).new_page()
        welcome(page, fresh)
        some_pages(page, fresh, EVERY, target, "-fresh")


def views(chromium: Browser) -> Iterator[tuple[str, str, Page]]:
    for size, viewport in SIZES.items():
        for theme in ("light", "dark"):
            context = chromium.new_context(viewport=viewport, color_scheme=theme, has_touch=size == "phone")
            yield size, theme, context.new_page()
            context.close()


def every_page(page: Page, console: Console, target: Path, suffix: str) -> None:
    page.goto(console.address + "/sign-in/")
    if page.get_by_label("Password").count():
        take(page, console, target / f"sign-in{suffix}.png")
        sign_in(page, console)
    some_pages(page, console, EVERY, target, suffix)
    for name, (path, link) in FIRST.items():
        page.goto(console.address + path)
        if found := page.locator(link).first.get_attribute("href") if page.locator(link).count() else "":
            some_pages(page, console, {name: found}, target, suffix)


def some_pages(page: Page, console: Console, paths: Mapping[str, str], target: Path, suffix: str) -> None:
    for name, path in paths.items():
        page.goto(console.address + path)
        take(page, console, target / f"{name}{suffix}.png", whole=True)


def main(target: Path, everything: bool) -> None:
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=os.environ.get("CHROMIUM") or shutil.which("chromium"), args=ARGUMENTS
        )
        (every_picture if everything else pictures_of_the_readme)(chromium, Path(place), target)
        chromium.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "pictures", everything=len(sys.argv) > 1)
