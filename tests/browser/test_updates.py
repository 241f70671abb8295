"""An update and the way back, in the browser: a change by hand is kept, and the revision before comes back whole."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from playwright.sync_api import Page, expect

from tests.browser.conftest import NAME, PASSWORD, go, sign_in
from tests.browser.steps import confirm, job_state, plan, worked_out
from tests.fakes import http_server
from tests.fakes.console import Console
from tests.fakes.own_gallery import OwnGallery

FIRST = {"phi.gguf": b"first weights" * 1000, "phi-old.bin": b"only in the first"}
SECOND = {"phi.gguf": b"second weights" * 1000, "phi-new.bin": b"only in the second"}


@pytest.fixture
def own() -> Iterator[OwnGallery]:
    with http_server.running() as server:
        yield OwnGallery(server)


@pytest.fixture
def console(tmp_path: Path, own: OwnGallery) -> Iterator[Console]:
    own.has("phi", FIRST, overrides={"context_size": 1024})
    with Console(tmp_path / "data", **own.environment()) as running:
        own.prepare(running, NAME, PASSWORD)
        yield running


def seen(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.timeout(180)
def test_a_model_is_updated_and_rolled_back(console: Console, own: OwnGallery, open_page: Callable[..., Page]) -> None:
    page, models = open_page(), console.data / "models"
    sign_in(page, console)
    plan(page, console, "phi")
    confirm(page)
    expect(job_state(page)).to_have_text("Done", timeout=40_000)
    config = models / "phi.yaml"
    config.write_text("# mine\n" + config.read_text() + "threads: 3\n")
    first = seen(models)

    own.has("phi", SECOND, overrides={"context_size": 2048})
    go(page, "Gallery")
    page.get_by_role("button", name="Refresh", exact=True).click()
    updates = page.get_by_role("link", name="1 update")
    for _ in range(60):
        if updates.count():
            break
        page.wait_for_timeout(500)
        page.reload()
    updates.click()
    page.get_by_role("button", name="See what the update of phi changes").click()
    worked_out(page)
    changes = page.locator("section", has=page.get_by_role("heading", name="What changes"))
    for part in (
        "phi-new.bin is new",
        "phi-old.bin is not part of it any more",
        "1024 → 2048",
        "threads",
        "It is kept",
    ):
        expect(changes).to_contain_text(part)
    confirm(page)
    expect(job_state(page)).to_have_text("Done", timeout=40_000)
    now = yaml.safe_load(config.read_text())
    assert (now["context_size"], now["threads"]) == (2048, 3)
    assert {name: body for name, body in seen(models).items() if name in SECOND} == SECOND
    assert not (models / "phi-old.bin").exists()

    page.goto(console.address + "/models/phi/")
    page.get_by_role("link", name="Revisions of phi").click()
    expect(page.locator("#revision-2")).to_contain_text("Installed")
    kept = page.locator("#revision-1")
    expect(kept).to_contain_text("Kept")
    kept.locator("summary", has_text="Roll back").click()
    kept.get_by_role("button", name=re.compile("^Roll back")).click()
    page.wait_for_url(re.compile("/jobs/"))
    expect(job_state(page)).to_have_text("Done", timeout=40_000)
    assert seen(models) == first
    page.goto(console.address + "/gallery/revisions/phi/")
    expect(page.locator("#revision-3")).to_contain_text("Back to revision 1")
    expect(page.locator("#revision-2")).to_contain_text("Kept")
