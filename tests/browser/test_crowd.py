"""The pages under a load that hurts: the longest names, every state at once, a long record, little room."""

from collections.abc import Callable, Iterator, Sequence

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import NAME, PASSWORD, PHONE, WIDE, sign_in
from tests.browser.crowd import Crowd
from tests.browser.test_pages import serious

PAGES = ("/", "/models/", "/models/?state=backoff", "/jobs/", "/jobs/?tab=attention", "/jobs/?tab=record", "/monitor/")
#: A page, and the link on it to one that says more.
DEEPER = {"/models/?state=backoff": "td.name a", "/monitor/": "td.name a", "/jobs/": "tr:has(.silent) td.name a"}
DESK = {"width": 1920, "height": 1080}
TABLET = {"width": 820, "height": 1180}
#: A wide screen at 200 %.
ZOOMED = {"width": 720, "height": 450}
ROOM_AT_MOST = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
ROWS_IN_SIGHT = (
    "[...document.querySelectorAll('tbody tr')].filter(r => r.getBoundingClientRect().bottom <= innerHeight).length"
)
CUT_OFF = """[...document.querySelectorAll('main td, main .figure, main .head')]
  .filter(e => e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).textOverflow !== 'ellipsis')
  .map(e => e.innerText.slice(0, 60))"""


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crowd]:
    with Crowd(tmp_path_factory.mktemp("crowd") / "data", NAME, PASSWORD) as running:
        yield running


@pytest.mark.timeout(240)
@pytest.mark.parametrize(("theme", "sizes"), [("light", (WIDE, TABLET, ZOOMED)), ("dark", (DESK, PHONE))])
def test_every_page_has_room_for_the_longest_names_and_every_state(
    crowd: Crowd, theme: str, sizes: Sequence[dict[str, int]], open_page: Callable[..., Page]
) -> None:
    page = open_page(sizes[0], theme)
    sign_in(page, crowd)
    problems = {path: found for path in all_pages(page, crowd) if (found := problems_of(page, crowd, path, sizes))}
    assert not problems


def all_pages(page: Page, crowd: Crowd) -> list[str]:
    found = list(PAGES)
    for path, link in DEEPER.items():
        page.goto(crowd.address + path)
        found.append(page.locator(link).first.get_attribute("href") or "")
    return found


def problems_of(page: Page, crowd: Crowd, path: str, sizes: Sequence[dict[str, int]]) -> list[str]:
    """Of the page as it is loaded in the first size, the widest; room is looked at in each of them."""
    page.set_viewport_size(sizes[0])
    page.goto(crowd.address + path)
    page.wait_for_load_state("networkidle")
    found = serious(page)
    for size in sizes:
        page.set_viewport_size(size)
        if (wider := page.evaluate(ROOM_AT_MOST)) > 0:
            found.append(f"{wider} pixels wider than a screen of {size['width']}")
        found += [f"cut off at {size['width']}: {text}" for text in page.evaluate(CUT_OFF)]
    return found


def test_a_screen_of_1080_lines_shows_thirty_rows(crowd: Crowd, open_page: Callable[..., Page]) -> None:
    page = open_page(DESK)
    sign_in(page, crowd)
    for path in ("/models/", "/jobs/?tab=record"):
        page.goto(crowd.address + path)
        assert page.evaluate(ROWS_IN_SIGHT) >= 30, path


def test_a_viewer_sees_no_button_that_would_be_refused_and_is_told_why(
    crowd: Crowd, open_page: Callable[..., Page]
) -> None:
    page = open_page()
    sign_in(page, crowd, "vera")
    for path in all_pages(page, crowd):
        page.goto(crowd.address + path)
        assert page.locator("main form[method=post]").count() == 0, path
    page.goto(crowd.address + "/models/?state=failed")
    page.locator("td.name a").first.click()
    expect(page.locator("main")).to_contain_text("Loading needs the role operator")
    page.get_by_label("Account of vera").click()
    expect(page.locator(".menu-note")).to_contain_text("Viewer")


def test_the_first_load_is_light(crowd: Crowd, open_page: Callable[..., Page]) -> None:
    page = open_page()
    sizes: list[int] = []
    page.on("requestfinished", lambda request: sizes.append(request.sizes()["responseBodySize"]))
    sign_in(page, crowd)
    page.wait_for_load_state("networkidle")
    assert sum(sizes) < 150_000
