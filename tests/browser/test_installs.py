"""Installs in the browser: planned, paused over restarts, called off, failed and tried again, in line."""

import random
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from gallery.downloads.sharing import LEAST_PART
from tests.browser.conftest import go, sign_in
from tests.browser.steps import confirm, figure, job_state, on_job, plan
from tests.fakes import tiny_gguf
from tests.fakes.console import Console
from tests.fakes.own_gallery import OwnGallery, sha256

MIB = 1 << 20
#: Seconds after each 64 KiB of an answer: a quarter of a megabyte a second for each connection.
SLOW = 0.25


def noise(seed: int, mebibytes: int) -> bytes:
    return random.Random(seed).randbytes(mebibytes * MIB)


def models_in(console: Console) -> set[str]:
    """What can be seen in the models folder."""
    return {path.name for path in (console.data / "models").iterdir() if not path.name.startswith(".")}


def kept(console: Console, job: str) -> Path:
    return console.data / "models" / ".ingest" / job.rstrip("/").rpartition("/")[2]


@pytest.mark.timeout(240)
def test_an_install_that_was_paused_survives_every_restart_and_fetches_nothing_twice(
    own: OwnGallery, start: Callable[[], Console], open_page: Callable[..., Page], tmp_path: Path
) -> None:
    model = tiny_gguf.write(tmp_path / "tiny.gguf").read_bytes() + noise(1, 24)
    files = {"lasting.gguf": model, "lasting-mmproj.gguf": noise(2, 6)}
    own.has("lasting", files, pause=SLOW, overrides={"mmproj": "lasting-mmproj.gguf"})
    console = start()
    page = open_page()
    sign_in(page, console)
    before = models_in(console)
    plan(page, console, "lasting")
    expect(page.locator("#plan")).to_contain_text("lasting-mmproj.gguf")
    assert figure(page, "To fetch").startswith("30.6 MiB")
    assert re.match(r"[\d.]+ [KMGT]iB free", figure(page, "Disk after"))
    assert "Fits" in figure(page, "Memory")
    assert "llama-cpp" in figure(page, "Backend")
    expect(page.locator("#plan")).to_contain_text("mit")
    asked = {seen.headers.get("range") for seen in own.server.seen if "lasting" in seen.path and seen.method == "GET"}
    assert None not in asked, "a whole file was asked for"
    looked_at = {name: own.sent(name) for name in ("lasting.gguf", "lasting-mmproj.gguf")}
    assert sum(looked_at.values()) < 2 * MIB

    job = confirm(page)
    expect(page.locator("section[aria-label=Progress] progress")).to_have_count(1)
    expect(page.locator("#job-files-title + .sub")).to_contain_text("2")
    expect(page.locator("section", has=page.locator("#job-files-title")).locator("tbody tr")).to_have_count(2)
    until(lambda: own.sent("lasting.gguf") > 3 * MIB)
    assert models_in(console) == before
    page.get_by_role("button", name="Pause").first.click()
    expect(job_state(page)).to_have_text("Paused")
    expect(page.locator("main")).to_contain_text("What was fetched is kept")
    files = sorted(path.name for path in kept(console, job).iterdir())
    sent = {name: own.sent(name) for name in looked_at}
    page.goto("about:blank")

    console.stop()
    console.start()
    on_job(page, console, job, "Paused")
    page.goto("about:blank")
    console.kill_all()
    console.start()
    on_job(page, console, job, "Paused")
    assert sorted(path.name for path in kept(console, job).iterdir()) == files
    assert {name: own.sent(name) for name in looked_at} == sent

    page.get_by_role("button", name="Resume").first.click()
    expect(job_state(page)).to_have_text("Downloading")
    assert models_in(console) == before
    own.hurry(*looked_at)
    expect(job_state(page)).to_have_text("Done", timeout=40_000)
    for name, first in looked_at.items():
        body = own.bodies[name]
        assert sha256((console.data / "models" / name).read_bytes()) == sha256(body)
        twice = own.sent(name) - first - len(body)
        assert twice <= LEAST_PART, f"{twice:,} bytes of {name} were sent twice"
    assert not kept(console, job).exists()
    go(page, "Models")
    expect(page.locator("tr", has_text="lasting")).to_be_visible()


@pytest.mark.timeout(120)
def test_an_install_that_is_called_off_says_so_at_once_and_leaves_nothing(
    own: OwnGallery, start: Callable[[], Console], open_page: Callable[..., Page]
) -> None:
    own.has("unwanted", {"unwanted.gguf": noise(3, 16)}, pause=SLOW)
    console = start()
    page = open_page()
    sign_in(page, console)
    before = models_in(console)
    plan(page, console, "unwanted")
    job = confirm(page)
    until(lambda: own.sent("unwanted.gguf") > MIB)
    assert kept(console, job).is_dir()
    page.get_by_label("More for Install unwanted").click()
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("main")).to_contain_text(re.compile("Cancelling|Cancelled"), timeout=2_000)
    expect(job_state(page)).to_have_text("Cancelled")
    assert not kept(console, job).exists()
    assert models_in(console) == before
    expect(page.get_by_role("button", name="Retry")).to_be_visible()


@pytest.mark.timeout(180)
def test_a_wrong_file_is_put_aside_and_shown_and_the_right_one_taken_on_a_second_try(
    own: OwnGallery, start: Callable[[], Console], open_page: Callable[..., Page]
) -> None:
    own.has("spoilt", {"spoilt.gguf": noise(4, 1)})
    console = start()
    page = open_page()
    sign_in(page, console)
    right, wrong = own.bodies["spoilt.gguf"], noise(99, 1)
    own.page("spoilt.gguf").body = wrong
    before = models_in(console)
    plan(page, console, "spoilt")
    job = confirm(page)
    expect(job_state(page)).to_have_text("Failed", timeout=40_000)
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text(sha256(right))
    expect(alert).to_contain_text(sha256(wrong))
    expect(alert).to_contain_text("Refresh the gallery and install again")
    assert models_in(console) == before

    page.goto(console.address + "/disk/?tab=downloads")
    suspect = page.locator("tr", has_text=f"got {sha256(wrong)}")
    expect(suspect).to_contain_text(f"expected {sha256(right)}")
    expect(suspect.locator(".name")).to_contain_text("spoilt.gguf")
    suspect.locator("summary").click()
    suspect.get_by_role("button", name="Delete").click()
    expect(page.locator("main")).not_to_contain_text(sha256(wrong))

    own.page("spoilt.gguf").body = right
    on_job(page, console, job, "Failed")
    page.get_by_role("button", name="Retry").click()
    expect(job_state(page)).to_have_text("Done", timeout=40_000)
    expect(page.get_by_role("alert")).to_have_count(0)
    assert (console.data / "models" / "spoilt.gguf").read_bytes() == right


@pytest.mark.timeout(120)
def test_a_file_that_was_taken_away_is_named_with_what_can_be_done_and_retry_takes_it_once_it_is_back(
    own: OwnGallery, start: Callable[[], Console], open_page: Callable[..., Page]
) -> None:
    own.has("gone", {"gone.gguf": noise(5, 1)})
    console = start()
    page = open_page()
    sign_in(page, console)
    plan(page, console, "gone")
    own.page("gone.gguf").status = 404
    confirm(page)
    expect(job_state(page)).to_have_text("Failed")
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("404")
    expect(alert).to_contain_text("The file was moved or removed")
    own.page("gone.gguf").status = 200
    alert.get_by_role("button", name="Retry").click()
    expect(job_state(page)).to_have_text("Done", timeout=40_000)
    expect(page.get_by_role("alert")).to_have_count(0)
    expect(page.locator("main .note-error, main .note-warning")).to_have_count(0)


@pytest.mark.timeout(180)
def test_the_line_can_be_put_in_another_order_and_the_limits_hold_for_what_runs(
    own: OwnGallery, start: Callable[[], Console], open_page: Callable[..., Page]
) -> None:
    files = [f"line-{number}.gguf" for number in (1, 2, 3)]
    for number, file in enumerate(files, start=1):
        own.has(f"line-{number}", {file: noise(number, 16)}, pause=4 * SLOW)
    console = start()
    page = open_page()
    sign_in(page, console)
    limit(page, console, at_once=1)
    jobs: list[str] = []
    for number in (1, 2, 3):
        plan(page, console, f"line-{number}")
        jobs.append(confirm(page))
    until(lambda: own.sent("line-1.gguf") > MIB)
    page.goto(console.address + "/jobs/")
    rows = page.locator("#jobs tbody tr", has_text="Install line-")
    expect(rows.nth(1)).to_contain_text("line-2")
    expect(rows.nth(1)).to_contain_text("1st in the queue: waits because 1 of 1 are at work")
    rows.nth(2).get_by_label("More for Install line-3").click()
    rows.nth(2).get_by_role("button", name="Move Install line-3 up").click()
    expect(rows.nth(1)).to_contain_text("line-3")
    expect(rows.nth(1)).to_contain_text("1st in the queue")
    expect(rows.nth(2)).to_contain_text("line-2")

    limit(page, console, at_once=2)
    on_job(page, console, jobs[2], "Downloading")
    on_job(page, console, jobs[1], "Queued")
    expect(page.locator("section[aria-label=Progress]")).to_contain_text("waits because 2 of 2 are at work")

    limit(page, console, bandwidth="0.1")
    expect(page.locator("main .figures-line")).to_contain_text("102.4 KiB/s")
    page.goto(console.address + "/jobs/")
    page.wait_for_timeout(2_500)
    assert speed(page, seconds=5) < 0.25 * MIB
    own.hurry(*files)
    limit(page, console, bandwidth="")
    for job in jobs:
        on_job(page, console, job, "Done", seconds=40)


def limit(page: Page, console: Console, at_once: int | None = None, bandwidth: str | None = None) -> None:
    page.goto(console.address + "/jobs/limits/")
    if at_once is not None:
        page.get_by_label("Installs at once").fill(str(at_once))
    if bandwidth is not None:
        page.get_by_label("Bandwidth of all together, MiB/s").fill(bandwidth)
    page.get_by_role("button", name="Save").click()
    page.wait_for_load_state()


def speed(page: Page, seconds: float) -> float:
    """Bytes a second that the bars of all jobs grow by. What the server sends shows it late: sockets have buffers."""
    together = "bars => bars.reduce((sum, bar) => sum + bar.value, 0)"
    before = page.locator("#jobs progress").evaluate_all(together)
    page.wait_for_timeout(seconds * 1000)
    return float(page.locator("#jobs progress").evaluate_all(together) - before) / seconds


@pytest.mark.timeout(120)
def test_without_scripts_a_plan_leads_to_a_job_that_can_be_called_off(
    own: OwnGallery, start: Callable[[], Console], open_page: Callable[..., Page]
) -> None:
    own.has("plain", {"plain.gguf": noise(6, 16)}, pause=SLOW)
    console = start()
    page = open_page(java_script_enabled=False)
    sign_in(page, console)
    page.goto(console.address + "/gallery/own/plain/")
    page.get_by_role("button", name="Install", exact=True).click()
    for _ in range(60):
        if (waiting := page.get_by_role("link", name="See whether it is ready")).count() == 0:
            break
        waiting.click()
    page.get_by_role("button", name=re.compile("^Install: fetch")).click()
    until(lambda: own.sent("plain.gguf") > MIB)
    page.reload()
    expect(job_state(page)).to_have_text("Downloading")
    page.get_by_label("More for Install plain").click()
    with page.expect_navigation():
        page.get_by_role("button", name="Cancel").click()
    for _ in range(60):
        page.reload()
        if job_state(page).inner_text() == "Cancelled":
            break
        page.wait_for_timeout(200)
    expect(job_state(page)).to_have_text("Cancelled")
    assert not kept(console, page.url).exists()


def until(holds: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.05)
