"""Nothing jumps, closes or loses the keyboard while live parts bring themselves up to date."""

import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import NAME, PASSWORD, sign_in
from tests.fakes.console import ROOT, Console

CHUNK, CHUNKS = 64 << 10, 900
#: Of the layout shift score, where 0.1 is what browsers call good for a whole visit.
STILL = 0.01
WATCH = """() => {
  window.shifts = [];
  new PerformanceObserver(list => {
    for (const shift of list.getEntries())
      if (!shift.hadRecentInput)
        window.shifts.push({value: shift.value, what: shift.sources.map(source => source.node && source.node.outerHTML
          ? source.node.outerHTML.slice(0, 120) : String(source.node && source.node.textContent))});
  }).observe({type: "layout-shift", buffered: false});
}"""
SEED = """
from django.contrib.auth.models import User
from gallery.models import Gallery
from gallery.services import refresh
User.objects.create_superuser({name!r}, password={password!r})
gallery = Gallery.objects.create(name="own", url="file://{index}", position=0)
refresh.refresh_now(gallery.pk)
"""
INDEX = """
- name: slow
  description: Two files that come slowly.
  license: mit
  overrides: {{backend: llama-cpp, parameters: {{model: slow.gguf}}}}
  files:
    - {{filename: slow/one.gguf, uri: "{url}/one.gguf"}}
    - {{filename: slow/two.gguf, uri: "{url}/two.gguf"}}
"""
MODEL = "name: {name}\nbackend: {backend}\nknown_usecases: [chat]\nparameters:\n  model: {name}.gguf\n"


class Dripping(BaseHTTPRequestHandler):
    """A file that takes a minute and a half."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(CHUNK * CHUNKS))
        self.end_headers()
        if self.command == "GET":
            self._drip()

    do_HEAD = do_GET

    def _drip(self) -> None:
        for _ in range(CHUNKS):
            try:
                self.wfile.write(b"\0" * CHUNK)
            except OSError:
                return
            threading.Event().wait(0.1)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def slow_host() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Dripping)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory, slow_host: str) -> Iterator[Console]:
    """A model that loads for a minute, two that load at once, and a gallery whose files come slowly."""
    folder = tmp_path_factory.mktemp("busy")
    environment = {
        "LOCALAI_ADMIN_GALLERY_ICONS": "false",
        "LOCALAI_ADMIN_FILE_ROOTS": str(folder),
        "LOCALAI_ADMIN_ALLOW_HTTP": "true",
        "LOCALAI_ADMIN_TRUSTED_HOSTS": slow_host.removeprefix("http://"),
        "LOCALAI_BACKENDS_PATH": str(ROOT / "tests" / "fakes" / "backends"),
    }
    with Console(folder / "data", **environment) as console:
        for name, backend in (("sluggish", "slow-load"), ("nimble", "good"), ("other", "good")):
            (console.data / "models" / f"{name}.yaml").write_text(MODEL.format(name=name, backend=backend))
            (console.data / "models" / f"{name}.gguf").write_bytes(b"GGUF")
        index = folder / "index.yaml"
        index.write_text(INDEX.format(url=slow_host))
        console.manage("shell", "-v", "0", "-c", SEED.format(name=NAME, password=PASSWORD, index=index))
        yield console


def shifts(page: Page, path: str, seconds: float) -> list[dict[str, object]]:
    """What moved by itself on a page, after it has come to rest."""
    page.goto(path)
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(300)
    page.evaluate(WATCH)
    page.wait_for_timeout(int(seconds * 1000))
    return page.evaluate("window.shifts")


@pytest.mark.timeout(180)
def test_nothing_jumps_while_a_job_runs_and_a_model_loads(busy: Console, open_page: Callable[..., Page]) -> None:
    console = busy
    page = open_page()
    sign_in(page, console)
    page.goto(console.address + "/gallery/")
    page.get_by_role("button", name="Install slow").click()
    page.get_by_role("button", name=re.compile("^Install: fetch")).click()
    page.wait_for_url(re.compile("/jobs/"))
    page.goto(console.address + "/gallery/")
    watch = page.get_by_role("link", name="Installing slow")
    expect(watch).to_be_visible(timeout=2_000)
    expect(page.locator("#strip")).to_contain_text("slow", timeout=2_000)
    job = watch.get_attribute("href") or ""
    page.goto(console.address + "/models/")
    page.get_by_role("button", name="Load sluggish").click()
    expect(page.locator("tr", has_text="sluggish").locator(".state")).to_have_text("Loading", timeout=20_000)
    moved = {
        path: shifts(page, console.address + path, seconds=5)
        for path in ("/jobs/", job, "/", "/models/", "/models/sluggish/", "/monitor/", "/monitor/sluggish/")
    }
    page.goto(console.address + job)
    expect(page.locator("main .head .state")).to_have_text("Downloading")
    assert not {path: found for path, found in moved.items() if sum(float(one["value"]) for one in found) > STILL}


@pytest.mark.timeout(120)
def test_a_load_shows_at_once_and_moves_nothing_else(busy: Console, open_page: Callable[..., Page]) -> None:
    console = busy
    page = open_page()
    sign_in(page, console)
    page.goto(console.address + "/models/")
    page.evaluate(WATCH)
    page.get_by_role("button", name="Load nimble").click()
    row = page.locator("tr", has_text="nimble")
    expect(row.locator(".state")).not_to_have_text("Stopped", timeout=2_000)
    expect(row.locator(".state")).to_have_text("Ready", timeout=20_000)
    page.wait_for_timeout(1000)
    assert sum(shift["value"] for shift in page.evaluate("window.shifts")) <= STILL, page.evaluate("window.shifts")


@pytest.mark.timeout(120)
def test_an_open_menu_survives_the_polls(busy: Console, open_page: Callable[..., Page]) -> None:
    console = busy
    page = open_page()
    sign_in(page, console)
    page.goto(console.address + "/models/")
    page.get_by_label("More for other").click()
    link = page.locator("tr", has_text="other").get_by_role("link", name="Prompt")
    expect(link).to_be_visible()
    page.evaluate("htmx.ajax('GET', '/models/', {target: '#models', source: '#models', swap: 'morph:outerHTML'})")
    page.wait_for_timeout(5000)
    expect(link).to_be_visible()
    page.keyboard.press("Escape")
    expect(link).to_be_hidden()
    expect(page.get_by_label("More for other")).to_be_focused()


@pytest.mark.timeout(120)
def test_the_keyboard_keeps_its_place_through_the_polls(busy: Console, open_page: Callable[..., Page]) -> None:
    console = busy
    page = open_page()
    sign_in(page, console)
    page.goto(console.address + "/models/")
    button = page.get_by_role("button", name="Load other")
    button.focus()
    polled = []
    page.on("response", lambda answer: polled.append(answer.status) if "since=" in answer.url else None)
    page.keyboard.press("Enter")
    expect(page.locator("tr", has_text="other").locator(".state")).to_have_text("Ready", timeout=20_000)
    page.wait_for_timeout(3000)
    assert 200 in polled
    expect(page.get_by_role("button", name="Shut down other")).to_be_focused()


@pytest.mark.timeout(120)
def test_typing_a_search_keeps_the_field_and_the_way_back_keeps_the_list(
    busy: Console, open_page: Callable[..., Page]
) -> None:
    console = busy
    page = open_page()
    sign_in(page, console)
    page.goto(console.address + "/models/")
    page.get_by_label("Search").press_sequentially("nim", delay=120)
    expect(page.locator("#models tbody tr")).to_have_count(1)
    expect(page.get_by_label("Search")).to_be_focused()
    expect(page).to_have_url(console.address + "/models/?q=nim")
    page.get_by_role("link", name="nimble", exact=True).click()
    page.wait_for_url("**/models/nimble/")
    page.go_back()
    expect(page.get_by_label("Search")).to_have_value("nim")
    expect(page.locator("#models tbody tr")).to_have_count(1)
