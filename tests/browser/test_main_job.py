"""The main job, on the real model: from the link that `up` prints to the last event in the history."""

import re
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import PHONE, go, welcome
from tests.fakes.console import Console

MODEL = "gemma-3-270m-q4_k_m"
BYTES = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def wait_for_job(page: Page, seconds: float) -> None:
    """On a job's page: it ends well, and says so by itself."""
    expect(page.locator("main .state-ready").first).to_have_text("Done", timeout=seconds * 1000)


def state(page: Page) -> str:
    return page.locator("main .head .state").first.inner_text()


def figure(page: Page, label: str) -> str:
    return (
        page.locator(".figure", has=page.locator("dt", has_text=re.compile(rf"^{label}$"))).locator("dd").inner_text()
    )


def shown_bytes(page: Page, label: str) -> float:
    found = re.match(r"([\d.]+) (\w+)", figure(page, label))
    return float(found[1]) * BYTES[found[2]] if found else 0.0


def resident(pid: int) -> int:
    process = psutil.Process(pid)
    return sum(member.memory_info().rss for member in [process, *process.children(recursive=True)])


@pytest.mark.timeout(420)
def test_a_person_gets_from_the_link_to_an_answer_and_finds_it_in_the_history(
    open_page: Callable[..., Page], tmp_path: Path
) -> None:
    with Console(tmp_path / "data", new=True) as console:
        page = open_page(PHONE)
        welcome(page, console)

        page.locator("summary", has_text="Prepare the starter gallery").click()
        page.get_by_role("checkbox").check()
        page.get_by_role("button", name="Agree and prepare").click()
        page.wait_for_url(re.compile("/jobs/"))
        wait_for_job(page, 180)

        go(page, "Gallery")
        page.get_by_label("Search").fill("gemma 270")
        page.get_by_role("link", name=MODEL, exact=True).click()
        page.get_by_role("button", name="Install", exact=True).click()
        page.wait_for_url(re.compile("/plans/"))
        expect(page.locator("#plan-state")).to_have_text("Can be installed", timeout=30_000)
        assert shown_bytes(page, "To fetch") > 200 * 2**20
        assert "Fits" in figure(page, "Memory")
        page.get_by_role("button", name=re.compile("^Install: fetch")).click()
        page.wait_for_url(re.compile("/jobs/"))
        install = page.url
        wait_for_job(page, 60)

        go(page, "Models")
        page.get_by_role("button", name=f"Load {MODEL}").click()
        row = page.locator("tr", has_text=MODEL)
        expect(row.locator(".state")).to_have_text("Ready", timeout=60_000)

        page.goto(f"{console.address}/monitor/{MODEL}/")
        expect(page.locator("main .head .state").first).to_have_text("Ready")
        page.get_by_label("Prompt").fill("Name three colours.")
        page.get_by_role("button", name="Send").click()
        expect(page.locator("#answer-figures")).to_contain_text("tokens/s", timeout=60_000)
        expect(page.get_by_role("button", name="Send")).to_be_enabled(timeout=150_000)
        assert len(page.locator("#answer").inner_text()) > 3

        pid = int(re.search(r"process (\d+)", figure(page, "Address"))[1])
        tree = [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
        assert len(tree) >= 2
        end = time.monotonic() + 20
        while abs(shown_bytes(page, "Memory") - resident(pid)) > 0.1 * resident(pid):
            assert time.monotonic() < end, (figure(page, "Memory"), resident(pid))
            time.sleep(0.5)

        page.get_by_role("button", name=f"Shut down {MODEL}").click()
        expect(page.locator("main .head .state").first).to_have_text("Stopped", timeout=30_000)
        assert not [
            member for member in tree if psutil.pid_exists(member) and psutil.Process(member).status() != "zombie"
        ]

        go(page, "Jobs")
        page.get_by_role("link", name=re.compile("^Record")).click()
        expect(page.locator("main")).to_contain_text(MODEL)
        page.goto(install)
        for word in ("queued", "resolving", "committing", "done"):
            expect(page.locator("main")).to_contain_text(word)
        page.goto(console.address + "/django-admin/gallery/job/")
        page.get_by_role("link", name=re.compile(MODEL)).first.click()
        expect(page.locator("#content")).to_contain_text("committing")
        page.goto(f"{console.address}/models/{MODEL}/")
        expect(page.locator("main")).to_contain_text("shutdown requested")
        page.close()
