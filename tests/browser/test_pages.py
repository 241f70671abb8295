"""Every page, in both themes and on both sizes: no serious accessibility violation, nothing wider than the screen."""

import re
from collections.abc import Callable, Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.conftest import NAME, PASSWORD, PHONE, WIDE, sign_in
from tests.browser.seed import seed
from tests.fakes import hub_server
from tests.fakes.console import Console

PAGES = {
    "overview": "/",
    "models": "/models/",
    "model": "/models/tiny/",
    "gallery": "/gallery/",
    "entry": "/gallery/seed/{entry}/",
    "nothing found": "/gallery/?q=nothing-is-called-so",
    "mistyped": "/gallery/?q=tiyn",
    "import": "/import/",
    "import of a text": "/import/text/",
    "import of a repository": "/import/repository/",
    "repository to choose from": "/import/repository/?repo=ada/seer-GGUF",
    "repository that is not there": "/import/repository/?repo=ada/nothing",
    "import of a path": "/import/path/",
    "import of a list": "/import/list/",
    "jobs": "/jobs/",
    "attention": "/jobs/?tab=attention",
    "record": "/jobs/?tab=record",
    "limits": "/jobs/limits/",
    "plan": "{plan}",
    "plan that is refused": "{refused_plan}",
    "job that failed": "{failed_job}",
    "job that ended": "{done_job}",
    "monitor": "/monitor/",
    "monitored": "/monitor/tiny/",
    "delete": "/gallery/delete/tiny/",
    "updates": "/gallery/updates/",
    "revisions": "/gallery/revisions/small/",
    "entry with an update": "/gallery/own/small/",
    "galleries": "/gallery/galleries/",
    "gallery added": "/gallery/galleries/add/",
    "gallery edited": "/gallery/galleries/1/",
    "disk": "/disk/",
    "partial downloads": "/disk/?tab=downloads",
    "unused files": "/disk/?tab=unused",
    "duplicates": "/disk/?tab=duplicates",
    "earlier revisions": "/disk/?tab=revisions",
    "revisions of a stranger": "/gallery/revisions/tiny/",
    "not found": "/nowhere/",
}


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Console, dict[str, str]]]:
    """A console with a gallery, a loaded model, and jobs that went well and badly, beside a hub with one repository."""
    folder = tmp_path_factory.mktemp("seeded")
    with hub_server.running() as hub:
        sizes = {"seer-Q4_K_M.gguf": 3 << 30, "seer-Q8_0.gguf": 5 << 30, "mmproj-seer-F16.gguf": 800 << 20}
        hub.has("ada/seer-GGUF", {"README.md": b"# Seer"}, sizes=sizes, facts={"cardData": {"license": "apache-2.0"}})
        settings = {
            "LOCALAI_ADMIN_GALLERY_ICONS": "false",
            "LOCALAI_ADMIN_FILE_ROOTS": str(folder),
            "LOCALAI_ADMIN_ALLOW_HTTP": "true",
            "LOCALAI_ADMIN_TRUSTED_HOSTS": hub.host,
            "HF_ENDPOINT": hub.address,
        }
        with Console(folder / "data", **settings) as console:
            yield console, seed(console, folder, NAME, PASSWORD)


def serious(page: Page) -> list[str]:
    found = Axe().run(page).response["violations"]
    return [
        f"{violation['id']}: {violation['help']}: {[node['html'][:160] for node in violation['nodes'][:4]]}"
        for violation in found
        if violation["impact"] in {"serious", "critical"}
    ]


#: Menus and questions are opened one by one, and closed again.
BOXES_OFF_SCREEN = """[...document.querySelectorAll('details.confirm, details.menu')].filter(details => {
    details.open = true
    const box = details.querySelector('.confirm-box, .menu-box').getBoundingClientRect()
    details.open = false
    return box.left < 0 || box.right > document.documentElement.clientWidth
}).map(details => details.textContent.trim().slice(0, 80))"""


@pytest.mark.timeout(240)
@pytest.mark.parametrize(("size", "theme"), [(WIDE, "light"), (PHONE, "dark")], ids=["wide, light", "phone, dark"])
def test_every_page_can_be_used_by_everybody(
    seeded: tuple[Console, dict[str, str]], size: dict[str, int], theme: str, open_page: Callable[..., Page]
) -> None:
    console, names = seeded
    page = open_page(size, theme)
    page.goto(console.address + "/sign-in/")
    problems = {"sign-in": serious(page)}
    sign_in(page, console)
    for what, path in PAGES.items():
        page.goto(console.address + path.format(**names))
        page.wait_for_load_state("networkidle")
        problems[what] = serious(page)
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        if wide > 0:
            problems[what].append(f"{wide} pixels wider than the screen")
        problems[what] += [f"a box runs off the screen: {text}" for text in page.evaluate(BOXES_OFF_SCREEN)]
    # What is not there is answered with 404, a form with what is not there in it with 422, which the browser notes.
    expected = re.compile("status of (404|422)")
    page.complaints[:] = [line for line in page.complaints if not expected.search(line)]  # type: ignore[attr-defined]
    assert not {what: found for what, found in problems.items() if found}


@pytest.mark.timeout(120)
def test_the_keyboard_reaches_everything(
    seeded: tuple[Console, dict[str, str]], open_page: Callable[..., Page]
) -> None:
    console, _ = seeded
    page = open_page()
    sign_in(page, console)
    page.keyboard.press("g")
    page.keyboard.press("g")
    page.wait_for_url("**/gallery/")
    page.keyboard.press("/")
    expect(page.get_by_label("Search")).to_be_focused()
    page.keyboard.press("Escape")
    page.locator("body").press("Tab")
    page.goto(console.address + "/models/")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Shortcuts")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog", name="Shortcuts")).to_be_hidden()


@pytest.mark.timeout(120)
def test_the_console_works_without_scripts(
    seeded: tuple[Console, dict[str, str]], open_page: Callable[..., Page]
) -> None:
    console, names = seeded
    page = open_page(java_script_enabled=False)
    sign_in(page, console)
    page.goto(console.address + "/gallery/")
    page.get_by_label("Search").fill(names["entry"])
    page.get_by_label("Search").press("Enter")
    expect(page.locator(".card-model").first).to_contain_text(names["entry"])
    page.goto(console.address + "/monitor/tiny/")
    page.get_by_label("Prompt").fill("Hello")
    page.get_by_role("button", name="Send").click()
    expect(page.locator("#answer-figures")).to_contain_text("tokens/s", timeout=60_000)
    with page.expect_navigation():
        page.get_by_role("button", name="Shut down tiny").click()
    page.goto(console.address + "/models/tiny/")
    reload_until(page, "Stopped")
    with page.expect_navigation():
        page.get_by_role("button", name="Load tiny").click()
    reload_until(page, "Ready")


def reload_until(page: Page, state: str) -> None:
    """Without scripts nothing comes by itself."""
    for _ in range(60):
        page.reload()
        if page.locator("main .state").first.inner_text().strip() == state:
            return
        page.wait_for_timeout(500)
    raise AssertionError(f"it never became {state}")


def test_a_theme_that_was_chosen_stays(seeded: tuple[Console, dict[str, str]], open_page: Callable[..., Page]) -> None:
    console, _ = seeded
    page = open_page()
    sign_in(page, console)
    page.get_by_role("button", name="Dark or light").click()
    expect(page.locator("html")).to_have_attribute("data-bs-theme", "dark")
    page.goto(console.address + "/models/")
    expect(page.locator("html")).to_have_attribute("data-bs-theme", "dark")


def test_a_look_at_the_admin_does_not_turn_on_the_light(
    seeded: tuple[Console, dict[str, str]], open_page: Callable[..., Page]
) -> None:
    console, _ = seeded
    page = open_page(theme="dark")
    sign_in(page, console)
    page.goto(console.address + "/django-admin/")
    page.get_by_role("link", name="Back to the console").click()
    expect(page.locator("html")).to_have_attribute("data-bs-theme", "dark")
