"""Steps that several journeys through the pages have in common."""

import re

from playwright.sync_api import Locator, Page, expect

from tests.fakes.console import Console


def plan(page: Page, console: Console, entry: str) -> None:
    """From the page of an entry of our own gallery to its plan, once that is worked out."""
    page.goto(f"{console.address}/gallery/own/{entry}/")
    page.get_by_role("button", name="Install", exact=True).click()
    worked_out(page)


def worked_out(page: Page) -> None:
    page.wait_for_url(re.compile("/plans/"))
    expect(page.locator("#plan-state")).to_have_text("Can be installed", timeout=40_000)


def confirm(page: Page) -> str:
    """Press the plan's button. Returns the path of the job's page."""
    page.get_by_role("button", name=re.compile("^(Install|Update)\\b")).click()
    page.wait_for_url(re.compile("/jobs/"))
    return "/jobs/" + page.url.partition("/jobs/")[2]


def job_state(page: Page) -> Locator:
    return page.locator("#job-state .state")


def on_job(page: Page, console: Console, job: str, state: str, seconds: float = 20) -> None:
    """Look at a job until it says that it is so."""
    page.goto(console.address + job)
    expect(job_state(page)).to_have_text(state, timeout=seconds * 1000)


def figure(page: Page, label: str) -> str:
    shown = page.locator(".figure", has=page.locator("dt", has_text=re.compile(f"^{label}$")))
    return shown.locator("dd").inner_text()
