"""`make screenshots`: the README's pictures, taken from a real console with a loaded model."""

import os
import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from tests.browser.conftest import ARGUMENTS, NAME, PASSWORD, PHONE, WIDE, sign_in
from tests.browser.seed import seed
from tests.fakes.console import ROOT, Console

PICTURES = {
    "overview": "/",
    "gallery": "/gallery/?q=qwen",
    "monitor": "/monitor/tiny/",
    "models": "/models/",
    "jobs": "/jobs/?tab=record",
}


def main(target: Path, everything: bool) -> None:
    """Into the folder; with everything, each page in both themes and sizes."""
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        folder = Path(place)
        settings = {"LOCALAI_ADMIN_GALLERY_ICONS": "false", "LOCALAI_ADMIN_FILE_ROOTS": str(folder)}
        with Console(folder / "data", **settings) as console:
            names = seed(console, folder, NAME, PASSWORD)
            chromium = playwright.chromium.launch(
                executable_path=os.environ.get("CHROMIUM") or shutil.which("chromium"), args=ARGUMENTS
            )
            for size, size_name in ((WIDE, "wide"), (PHONE, "phone")):
                for theme in ("light", "dark"):
                    if everything or (size is WIDE and theme == "light"):
                        page = chromium.new_context(viewport=size, color_scheme=theme).new_page()
                        sign_in(page, console)
                        take(page, console, target, names, f"-{size_name}-{theme}" if everything else "", everything)
            chromium.close()


def take(page: Page, console: Console, target: Path, names: dict[str, str], suffix: str, everything: bool) -> None:
    pictures = dict(PICTURES)
    if everything:
        pictures |= {
            "entry": f"/gallery/seed/{names['entry']}/",
            "job-failed": names["failed_job"], "job-done": names["done_job"],
            "model": "/models/tiny/", "delete": "/gallery/delete/tiny/", "attention": "/jobs/?tab=attention",
            "monitor-index": "/monitor/", "nothing": "/gallery/?q=nothing-is-called-so", "missing": "/nowhere/",
        }  # fmt: skip
    for name, path in pictures.items():
        page.goto(console.address + path)
        page.wait_for_load_state("networkidle")
        if name == "monitor":
            page.get_by_label("Prompt").fill("Tell me about the sea.")
            page.get_by_role("button", name="Send").click()
            page.wait_for_timeout(4000)
        page.screenshot(path=target / f"{name}{suffix}.png", full_page=everything)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "pictures", everything=len(sys.argv) > 1)
