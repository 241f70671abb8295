"""What becomes of installed models, in the browser: deleted beside others, updated, rolled back, and imported ones."""

import re
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import go, sign_in
from tests.browser.steps import confirm, figure, job_state, plan, worked_out
from tests.fakes import hub_server, tiny_gguf
from tests.fakes.console import ROOT, Console
from tests.fakes.own_gallery import OwnGallery, sha256

EYES = b"eyes" * 50_000
FAKE_BACKENDS = str(ROOT / "tests" / "fakes" / "backends")


def install(page: Page, console: Console, entry: str) -> None:
    plan(page, console, entry)
    confirm(page)
    expect(job_state(page)).to_have_text("Done", timeout=40_000)


def text(page: Page) -> str:
    return page.locator("main").inner_text()


@pytest.mark.timeout(180)
def test_a_running_model_is_stopped_and_deleted_but_for_what_another_one_uses(
    own: OwnGallery, start: Callable[..., Console], open_page: Callable[..., Page]
) -> None:
    for name in ("first", "second"):
        files = {f"{name}.gguf": name.encode() * 10_000, "eyes-mmproj.gguf": EYES}
        own.has(name, files, overrides={"backend": "good", "mmproj": "eyes-mmproj.gguf"})
    console = start(LOCALAI_BACKENDS_PATH=FAKE_BACKENDS)
    folder = console.data / "models"
    page = open_page()
    sign_in(page, console)
    install(page, console, "first")
    plan(page, console, "second")
    expect(page.locator("tr", has_text="eyes-mmproj.gguf")).to_contain_text("Also used by first")
    assert "1 of 2 files" in figure(page, "To fetch")
    confirm(page)
    expect(job_state(page)).to_have_text("Done", timeout=40_000)
    assert own.sent("eyes-mmproj.gguf") < 2 * len(EYES)

    page.goto(console.address + "/models/first/")
    page.get_by_role("button", name="Load first").click()
    expect(page.locator("main .head .state").first).to_have_text("Ready", timeout=30_000)
    pid = int(re.findall(r"\d+", page.locator("dt", has_text="Process").locator("+ dd").inner_text())[0])
    page.get_by_role("link", name="Delete first").click()
    expect(page.locator("main")).to_contain_text("It is shut down first")
    stays = page.locator("section", has=page.get_by_role("heading", name="1 file stays")).locator("tbody tr")
    expect(stays).to_have_text(re.compile(r"eyes-mmproj\.gguf\s*second"))
    page.get_by_role("button", name="Delete", exact=True).click()
    page.wait_for_url(re.compile("/jobs/"))
    expect(job_state(page)).to_have_text("Done", timeout=30_000)
    expect(page.locator("main")).to_contain_text("first is deleted")
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    assert (folder / "eyes-mmproj.gguf").read_bytes() == EYES
    assert not [path.name for path in folder.iterdir() if "first" in path.name]
    go(page, "Models")
    expect(page.get_by_role("link", name="second", exact=True)).to_be_visible()
    expect(page.get_by_role("link", name="first", exact=True)).to_have_count(0)


@pytest.mark.timeout(180)
def test_a_model_is_updated_when_its_entry_changes_and_goes_back_byte_for_byte(
    own: OwnGallery, start: Callable[..., Console], open_page: Callable[..., Page]
) -> None:
    own.has("phi", {"phi.gguf": b"old" * 40_000}, overrides={"context_size": 512})
    console = start()
    folder = console.data / "models"
    page = open_page()
    sign_in(page, console)
    install(page, console, "phi")
    before = contents(folder)

    own.has("phi", {"phi.gguf": b"newer" * 40_000}, overrides={"context_size": 1024})
    page.goto(console.address + "/gallery/galleries/")
    page.get_by_role("button", name="Refresh own").click()
    page.goto(console.address + "/gallery/own/phi/")
    reload_until(page, page.locator("#standing", has_text="Update available"))
    page.goto(console.address + "/gallery/updates/")
    expect(page.locator("main")).to_contain_text("1 model differs from its gallery")
    page.get_by_role("button", name="See what the update of phi changes").click()
    worked_out(page)
    changes = page.locator("section", has=page.get_by_role("heading", name="What changes"))
    expect(changes).to_contain_text("phi.gguf is another one: 117.2 KiB → 195.3 KiB")
    expect(changes).to_contain_text("context_size: 512 → 1024")
    assert contents(folder) == before
    confirm(page)
    expect(job_state(page)).to_have_text("Done", timeout=40_000)
    assert (folder / "phi.gguf").read_bytes() == own.bodies["phi.gguf"]
    assert "context_size: 1024" in (folder / "phi.yaml").read_text()
    page.goto(console.address + "/gallery/updates/")
    expect(page.get_by_role("heading", name="Everything is as its gallery has it")).to_be_visible()

    page.goto(console.address + "/gallery/revisions/phi/")
    earlier = page.locator("#revision-1")
    expect(earlier).to_contain_text("Kept")
    earlier.locator("summary", has_text="Roll back").click()
    earlier.get_by_role("button", name="Roll back").click()
    page.wait_for_url(re.compile("/jobs/"))
    expect(job_state(page)).to_have_text("Done", timeout=30_000)
    assert contents(folder) == before
    page.goto(console.address + "/gallery/updates/")
    expect(page.locator("main")).to_contain_text("1 model differs from its gallery")


def reload_until(page: Page, there: Locator) -> None:
    for _ in range(60):
        if there.count():
            return
        page.wait_for_timeout(250)
        page.reload()
    raise AssertionError(f"{there} never came: {text(page)}")


def contents(folder: Path) -> dict[str, bytes]:
    """All that can be seen in the models folder, and the gallery's records."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


@pytest.mark.timeout(180)
def test_a_model_is_imported_from_a_repository_with_the_quantisation_and_the_eyes_that_were_chosen(
    start: Callable[..., Console], open_page: Callable[..., Page], own: OwnGallery, tmp_path: Path
) -> None:
    model = tiny_gguf.write(tmp_path / "tiny.gguf").read_bytes()
    files = {
        "seer-Q4_K_M.gguf": model,
        "seer-Q8_0.gguf": model + b"8" * 300_000,
        "mmproj-seer-F16.gguf": EYES,
        "README.md": b"# Seer",
    }
    own.has("other", {"other.gguf": b"other"})
    with hub_server.running() as hub:
        hub.has("ada/seer-GGUF", files, facts={"cardData": {"license": "apache-2.0"}})
        hosts = f"{hub.host},{own.server.host}"
        console = start(HF_ENDPOINT=hub.address, LOCALAI_ADMIN_TRUSTED_HOSTS=hosts)
        page = open_page()
        sign_in(page, console)
        go(page, "Models")
        page.get_by_role("link", name="Import").click()
        page.get_by_role("link", name="Hugging Face").click()
        page.get_by_label("Repository").fill("ada/seer-GGUF")
        page.get_by_role("button", name="List its files").click()
        page.get_by_role("radio", name=re.compile("Q8_0")).check()
        page.get_by_label("Eyes or ears (mmproj)").select_option("mmproj-seer-F16.gguf")
        page.get_by_label("Name on this host").fill("seer")
        assert not hub.asked("/resolve/"), "a file was asked for before the plan"
        page.get_by_role("button", name="Show the plan").click()
        worked_out(page)
        assert "2 of 2 files" in figure(page, "To fetch")
        assert "Fits" in figure(page, "Memory")
        expect(page.locator("#plan")).to_contain_text("apache-2.0")
        confirm(page)
        expect(job_state(page)).to_have_text("Done", timeout=40_000)
    folder = console.data / "models"
    found = {sha256(path.read_bytes()): path for path in folder.rglob("*.gguf") if ".ingest" not in path.parts}
    assert set(found) == {sha256(files["seer-Q8_0.gguf"]), sha256(EYES)}
    configuration = (folder / "seer.yaml").read_text()
    assert "mmproj" in configuration
    assert "Q8_0" in configuration
    go(page, "Models")
    expect(page.get_by_role("link", name="seer", exact=True)).to_be_visible()
