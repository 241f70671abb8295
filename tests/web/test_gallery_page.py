import os
import re
from datetime import timedelta
from pathlib import Path

import pytest
from django.test import Client
from django.utils import timezone
from django.utils.html import escape

from gallery.catalog.entries import CatalogEntry, parse_index
from gallery.models import Entry, Gallery, Job
from gallery.search import Wish
from gallery.searching import index
from gallery.states import Kind, State
from tests.contracts.test_search import HOSTILE
from tests.fakes import real_gallery

HTMX = {"HX-Request": "true"}
LONGEST = "qwen3.6-40b-claude-4.6-opus-deckard-heretic-uncensored-thinking-neo-code-di-imatrix-max"

LLAMA = {"backend": "llama-cpp"}
HEARS = "Hears what qwen3 says."


def gallery_of(*rows: dict, name: str = "localai", **fields) -> Gallery:
    """A gallery that was read ten minutes ago and has these entries."""
    read = {"digest": name, "refreshed_at": timezone.now() - timedelta(minutes=10), "entry_count": len(rows)}
    made = Gallery.objects.create(name=name, url=f"https://example.org/{name}.yaml", **{**read, **fields})
    for position, row in enumerate(rows):
        tags = row.get("tags", [])
        search = " ".join([row["name"], *tags, row.get("summary", "")]).lower()
        Entry.objects.create(gallery=made, position=position, **{"search": search, **row})
    return made


def install(models_path: Path, name: str) -> None:
    """As LocalAI leaves a model that it installed from a gallery."""
    (models_path / f"{name}.yaml").write_text(f"name: {name}\n")
    (models_path / f"._gallery_{name}.yaml").write_text(f"entry_name: {name}\n")


@pytest.fixture
def catalogue(db, models_path: Path) -> Gallery:
    install(models_path, "whisper-base")
    return gallery_of(
        {
            "name": "big-qwen3-coder",
            "tags": ["llm", "code"],
            "usecases": ["chat"],
            "license": "mit",
            "size": 9 << 30,
            **LLAMA,
        },
        {
            "name": "qwen3",
            "tags": ["llm"],
            "usecases": ["chat", "vision"],
            "license": "apache-2.0",
            "size": 1 << 30,
            **LLAMA,
        },
        {"name": "qwen3-4b", "tags": ["LLM"], "usecases": ["chat"], "backend": "vllm", "summary": "Small and quick."},
        {
            "name": "whisper-base",
            "tags": ["asr"],
            "usecases": ["transcript"],
            "backend": "whisper",
            "license": "mit",
            "summary": HEARS,
        },
    )


def page(client: Client, status: int = 200, htmx: bool = False, **query) -> str:
    response = client.get("/gallery/", query, headers=HTMX if htmx else {})
    assert response.status_code == status
    return response.content.decode()


def names(text: str) -> list[str]:
    titles = (part.split("</a>")[0].partition(">")[2] for part in text.split("<h2><a")[1:])
    return [re.sub("</?mark>", "", title) for title in titles]


def test_entries_stand_in_the_order_of_the_gallery(catalogue, as_viewer):
    assert names(page(as_viewer)) == ["big-qwen3-coder", "qwen3", "qwen3-4b", "whisper-base"]


def test_the_exact_name_comes_first_then_names_that_begin_so_then_the_rest(catalogue, as_viewer):
    assert names(page(as_viewer, q="Qwen3")) == ["qwen3", "qwen3-4b", "big-qwen3-coder", "whisper-base"]


def test_every_word_has_to_match_somewhere(catalogue, as_viewer):
    assert names(page(as_viewer, q="qwen3 quick")) == ["qwen3-4b"]


@pytest.mark.parametrize("words", ["%", "_", "100%", "\\", "'", '"', "a\x00b", "z" * 5000])
def test_signs_that_mean_something_to_a_database_mean_themselves(catalogue, as_viewer, words):
    assert names(page(as_viewer, q=words)) == []


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"tag": "llm"}, ["big-qwen3-coder", "qwen3", "qwen3-4b"]),
        ({"tag": ["llm", "code"]}, ["big-qwen3-coder"]),
        ({"usecase": "vision"}, ["qwen3"]),
        ({"backend": "vllm"}, ["qwen3-4b"]),
        ({"license": "mit"}, ["big-qwen3-coder", "whisper-base"]),
        ({"license": "-"}, ["qwen3-4b"]),
        ({"installed": "yes"}, ["whisper-base"]),
        ({"installed": "no", "license": "mit"}, ["big-qwen3-coder"]),
        ({"gallery": "another"}, []),
        ({"sort": "name"}, ["big-qwen3-coder", "qwen3", "qwen3-4b", "whisper-base"]),
        ({"sort": "smallest"}, ["qwen3", "big-qwen3-coder", "qwen3-4b", "whisper-base"]),
        ({"sort": "largest"}, ["big-qwen3-coder", "qwen3", "qwen3-4b", "whisper-base"]),
    ],
)
def test_facets_and_sorts_narrow_and_order_what_is_shown(catalogue, as_viewer, query, expected):
    assert names(page(as_viewer, **query)) == expected


def facet(text: str, title: str) -> dict[str, int]:
    """Label to count, as written beside the cards."""
    part = text.partition(f">{title}</h2>")[2].partition("</ul>")[0]
    rows = [row.split("<span")[1:] for row in part.split("<a ")[1:]]
    return {label.partition(">")[2].split("<")[0]: int(count.partition(">")[2].split("<")[0]) for label, count in rows}


def test_facets_count_what_each_choice_would_leave(catalogue, as_viewer):
    text = page(as_viewer, license="mit")
    assert facet(text, "Licence") == {"mit": 2, "apache-2.0": 1, "Not said": 1}
    assert facet(text, "Backend") == {"llama-cpp": 1, "whisper": 1}
    assert facet(text, "Use case") == {"chat": 1, "transcript": 1}
    assert facet(text, "Installed") == {"Yes": 1, "No": 1}
    assert facet(text, "Tag") == {"asr": 1, "code": 1, "llm": 1}


def test_a_chosen_facet_stays_visible_when_nothing_is_left_of_it(catalogue, as_viewer):
    text = page(as_viewer, q="whisper", backend="vllm")
    assert facet(text, "Backend") == {"vllm": 0, "whisper": 1}


def test_counts_follow_a_refresh_and_the_models_folder(catalogue, as_viewer, models_path):
    assert facet(page(as_viewer), "Installed") == {"No": 3, "Yes": 1}
    install(models_path, "qwen3")
    Entry.objects.filter(name="qwen3-4b").delete()
    Gallery.objects.update(digest="another")
    assert facet(page(as_viewer), "Installed") == {"Yes": 2, "No": 1}


def test_the_gallery_facet_is_there_only_when_there_are_several(catalogue, as_viewer):
    assert ">Gallery</h2>" not in page(as_viewer)
    gallery_of({"name": "house-model"}, name="house", position=1)
    assert facet(page(as_viewer), "Gallery") == {"localai": 4, "house": 1}
    assert names(page(as_viewer, gallery="house")) == ["house-model"]


def test_a_gallery_that_is_switched_off_is_not_shown(catalogue, as_viewer):
    gallery_of({"name": "house-model"}, name="house", enabled=False)
    assert "house-model" not in page(as_viewer)


def test_pages_keep_the_search_and_say_where_they_are(db, models_path, as_viewer):
    gallery_of(*({"name": f"model-{number:03}"} for number in range(50)))
    text = page(as_viewer, q="model", page=2)
    assert names(text)[0] == "model-024"
    assert "25–48 of 50" in text
    assert 'href="?q=model"' in text and 'href="?q=model&amp;page=3"' in text


def test_a_page_past_the_end_says_so(catalogue, as_viewer):
    assert "This page is past the end" in page(as_viewer, page=99)


@pytest.mark.parametrize("query", [{"page": "x"}, {"page": "-1"}, {"page": "٣"}, {"sort": "no"}, {"installed": "?"}])
def test_nonsense_in_the_url_counts_as_not_said(catalogue, as_viewer, query):
    assert len(names(page(as_viewer, **query))) == 4


def test_a_wish_comes_back_from_its_own_url():
    wish = Wish(q="a b", tags=("x", "y"), license="-", sort="name", page=3)
    from django.http import QueryDict

    assert Wish.read(QueryDict(wish.query_string[1:])) == wish


def test_typing_answers_with_the_list_alone_and_a_clean_address(catalogue, as_viewer):
    response = as_viewer.get("/gallery/", {"q": "whisper", "sort": "", "tag": "asr"}, headers=HTMX)
    text = response.content.decode()
    assert text.lstrip().startswith('<div id="results"')
    assert "<html" not in text
    assert response.headers["HX-Replace-Url"] == "/gallery/?q=whisper&tag=asr"


def test_a_link_that_htmx_follows_gets_the_whole_page(catalogue, as_viewer):
    response = as_viewer.get("/gallery/", {"q": "whisper"}, headers={**HTMX, "HX-Boosted": "true"})
    assert 'id="content"' in response.content.decode()
    assert "HX-Replace-Url" not in response.headers


def test_a_card_says_installed_installing_or_offers_to_install(catalogue, as_installer, installer):
    job = Job.objects.create(kind=Kind.INSTALL, subject="qwen3-4b", by=installer.username)
    text = page(as_installer)
    assert "/models/whisper-base/" in text and "Installed" in text
    assert f'href="/jobs/{job.pk}/" aria-label="Installing qwen3-4b: follow the job"' in text
    assert 'action="/gallery/localai/qwen3/install/"' in text
    assert 'action="/gallery/localai/qwen3-4b/install/"' not in text


def test_who_may_not_install_or_refresh_sees_no_button_for_it(catalogue, as_viewer):
    text = page(as_viewer)
    assert "/install/" not in text
    assert "/gallery/refresh/" not in text


def test_icons_are_fetched_late_without_a_referrer_and_only_over_https(db, models_path, as_viewer):
    gallery_of({"name": "a", "icon": "https://example.org/a.png"}, {"name": "b", "icon": "http://example.org/b.png"})
    text = page(as_viewer)
    assert 'src="https://example.org/a.png"' in text
    assert 'loading="lazy"' in text and 'referrerpolicy="no-referrer"' in text
    assert "http://example.org/b.png" not in text


def test_no_icon_is_fetched_when_icons_are_off(db, models_path, as_viewer, settings):
    settings.GALLERY_ICONS = False
    gallery_of({"name": "a", "icon": "https://example.org/a.png"})
    assert "<img" not in page(as_viewer)


def test_text_of_a_gallery_is_text(db, models_path, as_viewer):
    evil = '<script>alert(1)</script>"'
    gallery_of({"name": evil, "summary": evil, "license": evil, "tags": [evil], "usecases": [evil], "backend": evil})
    text = page(as_viewer)
    assert "<script>alert" not in text
    assert escape(evil) in text


def test_the_longest_real_name_is_whole_on_its_card(db, models_path, as_viewer):
    gallery_of({"name": LONGEST})
    assert names(page(as_viewer)) == [LONGEST]


def test_a_gallery_that_could_not_be_read_says_why_and_from_when_its_copy_is(catalogue, as_installer):
    Gallery.objects.update(error="https://example.org answered 503.")
    text = page(as_installer)
    assert "https://example.org answered 503." in text
    assert "last good copy" in text and "10 min ago" in text


def test_without_a_gallery_the_page_says_how_to_name_one(db, models_path, as_viewer):
    assert "LOCALAI_GALLERIES" in page(as_viewer)


def test_a_gallery_that_was_never_read_can_be_refreshed_from_here(db, models_path, as_installer):
    gallery_of(refreshed_at=None)
    text = page(as_installer)
    assert "has not been read yet" in text
    assert 'action="/gallery/refresh/"' in text


def test_when_nothing_matches_the_way_back_is_offered(catalogue, as_viewer):
    text = page(as_viewer, q="zzz", sort="name")
    assert "No model matches" in text
    assert 'href="?sort=name"' in text


def test_a_refresh_is_asked_for_and_answered_at_once(catalogue, as_installer):
    response = as_installer.post("/gallery/refresh/")
    assert response.status_code == 303
    assert Job.objects.filter(kind=Kind.REFRESH, state=State.QUEUED).count() == 1


@pytest.mark.parametrize(("path", "status"), [("/gallery/refresh/", 403), ("/gallery/localai/qwen3/install/", 403)])
def test_a_viewer_is_refused_what_changes_something(catalogue, as_viewer, path, status):
    assert as_viewer.post(path).status_code == status
    assert not Job.objects.exists()


def test_who_is_not_signed_in_is_sent_to_sign_in(catalogue):
    assert Client().get("/gallery/").headers["Location"].startswith("/sign-in/")


@pytest.fixture
def real_catalogue(db, models_path: Path, tmp_path: Path) -> Gallery:
    """All 1,709 entries, with a few of them installed."""
    entries = parse_index(real_gallery.index(tmp_path).read_bytes()).entries
    for entry in entries[::300]:
        install(models_path, entry.name)
    made = Gallery.objects.create(
        name="localai", url="https://example.org/", digest="d", refreshed_at=timezone.now(), entry_count=len(entries)
    )
    Entry.objects.bulk_create(row_of(entry, made, position) for position, entry in enumerate(entries))
    # A folder that changed this moment is looked at again.
    os.utime(models_path, (0, 0))
    index.write(made)
    return made


def row_of(entry: CatalogEntry, gallery: Gallery, position: int) -> Entry:
    search = " ".join([entry.name, *entry.tags, entry.description]).lower()
    same = {key: getattr(entry, key) for key in ("name", "summary", "license", "icon", "backend", "size")}
    tags, usecases = list(entry.tags), list(entry.usecases)
    return Entry(
        gallery=gallery, position=position, tags=tags, usecases=usecases, search=search, data=entry.raw, **same
    )


WORDS = {"q": "instruct", "tag": "llm", "usecase": "chat", "installed": "no", "page": "2"}


#: Who asks and what they may (4), galleries, installed, entries, and the strip of what is running (2).
WHOLE_PAGE = 9


@pytest.mark.parametrize(("query", "most"), [({}, WHOLE_PAGE), (WORDS, WHOLE_PAGE + 1)])
def test_the_whole_page_takes_one_query_more_for_words_never_searched_before(
    real_catalogue, as_installer, django_assert_max_num_queries, query, most
):
    page(as_installer)
    with django_assert_max_num_queries(most):
        text = page(as_installer, **query)
    assert len(names(text)) == 24


def test_typing_takes_eight_queries_at_most(real_catalogue, as_installer, django_assert_max_num_queries):
    page(as_installer)
    with django_assert_max_num_queries(8):
        text = page(as_installer, htmx=True, **WORDS)
    assert len(names(text)) == 24


def test_words_in_another_order_of_another_person_are_not_looked_up_again(
    real_catalogue, as_installer, as_viewer, django_assert_max_num_queries
):
    page(as_installer, **WORDS)
    with django_assert_max_num_queries(WHOLE_PAGE):
        page(as_viewer, **{**WORDS, "sort": "name"})


def test_a_slip_is_mended_and_said_with_a_way_to_insist(catalogue, as_viewer):
    text = page(as_viewer, q="wisper", license="mit")
    assert names(text) == ["whisper-base"]
    assert "this is what <strong>whisper</strong> finds" in text
    assert 'href="?q=wisper&amp;exactly=1&amp;license=mit"' in text
    insisted = page(as_viewer, q="wisper", exactly="1")
    assert "No model matches" in insisted
    # Whoever types on is not held to it.
    assert 'name="exactly"' not in insisted


def test_what_matched_is_marked_and_nothing_else_becomes_markup(db, models_path, as_viewer):
    gallery_of({"name": "qwen3", "summary": "<b>Qwen3</b> & more"})
    text = page(as_viewer, q="qwen3")
    assert "<mark>qwen3</mark></a>" in text
    assert "&lt;b&gt;<mark>Qwen3</mark>&lt;/b&gt; &amp; more" in text


@pytest.mark.parametrize("field", ["q", "tag", "license", "gallery", "exactly", "page"])
def test_nothing_that_can_stand_in_the_url_is_an_error(catalogue, as_viewer, field):
    for value in HOSTILE:
        # Half a sign cannot be written in a URL.
        page(as_viewer, **{field: value.encode(errors="replace").decode()})
