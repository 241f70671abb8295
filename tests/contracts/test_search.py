"""What full-text search and facets promise, whichever database holds the entries."""

import random
from collections import Counter
from collections.abc import Iterable

import pytest
from django.db import transaction
from django.utils import timezone

from gallery.facets import facets
from gallery.installed import ANY, Installed
from gallery.models import Entry, Gallery, SearchPart
from gallery.search import PAGE_SIZE, SORTS, Answer, Wish, answer
from gallery.searching import index, matching
from gallery.searching.engine import engine
from gallery.searching.query import Phrase, parse, searchable
from localai_admin.lib.parameters import words

pytestmark = pytest.mark.django_db

NOTHING_HERE = Installed()


def gallery_of(rows: Iterable[dict], name: str = "localai", **fields) -> Gallery:
    made = Gallery.objects.create(name=name, url="https://x.test/", digest=name, refreshed_at=timezone.now(), **fields)
    for position, row in enumerate(rows):
        about = row.pop("about", "")
        search = searchable("\n".join([row["name"], " ".join(row.get("tags", [])), about]))
        Entry.objects.create(gallery=made, position=position, search=search, summary=about[:300], **row)
    return made


def named(*names: str) -> list[dict]:
    return [{"name": name} for name in names]


def ask(q: str = "", here: Installed = NOTHING_HERE, **wish) -> Answer:
    wished = Wish(q=words(q, 100), **wish)
    return answer(wished, list(Gallery.objects.shown()), here)


def found(q: str = "", **wish) -> list[str]:
    asked = ask(q, **wish)
    names = dict(Entry.objects.values_list("pk", "name"))
    return [names[key] for key in asked.keys()]  # noqa: SIM118


def word(text: str) -> Phrase:
    return Phrase((text,), prefix=True)


@pytest.fixture(params=["ranked one by one", "too many for it"])
def ranking(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "too many for it":
        monkeypatch.setattr(matching, "_RANKED", 0)


SPELLINGS = ["qwen3-4b", "qwen 3 4b", "Qwen3 4B", "qwen3_4b", "qwen-3-4b", "4b qwen3", "qwen/3:4b"]


@pytest.mark.usefixtures("ranking")
@pytest.mark.parametrize("q", SPELLINGS)
@pytest.mark.parametrize("name", ["qwen3-4b", "qwen-3-4b", "Qwen3_4B", "qwen3.4b"])
def test_what_stands_between_the_parts_of_a_name_does_not_matter(q, name):
    gallery_of(named("gemma-3-4b", name, "qwen3-14b"))
    assert found(q) == [name]


@pytest.mark.usefixtures("ranking")
@pytest.mark.parametrize(
    ("q", "expected"),
    [
        ("qw", ["qwen3-coder"]),
        ("qwen code", ["qwen3-coder"]),
        ("code", ["code-llama", "qwen3-coder"]),
        ("llama", ["code-llama"]),
        # Not the middle of a word.
        ("wen", []),
    ],
)
def test_the_beginning_of_a_word_is_enough(q, expected):
    gallery_of(named("qwen3-coder", "code-llama"))
    assert found(q) == expected


def test_the_name_comes_first_then_its_beginning_then_its_words_then_tags_then_descriptions():
    gallery_of(
        [
            {"name": "a", "about": "It was made of phi and of much else, and is described here at some length."},
            {"name": "b", "tags": ["phi"], "about": "It was made of much else, and is described here at some length."},
            {"name": "small-phi"},
            {"name": "phi-4"},
            {"name": "phi"},
        ]
    )
    assert found("phi") == ["phi", "phi-4", "small-phi", "b", "a"]


def test_of_very_many_names_come_first_and_all_else_stands_in_the_gallerys_order(monkeypatch):
    monkeypatch.setattr(matching, "_RANKED", 0)
    about = {"about": "Made of phi."}
    rows = [
        {"name": "b", **about},
        *named("small-phi", "PHI_4", "phim"),
        {"name": "a", **about},
        *named("phi", "my-phi"),
    ]
    gallery_of(rows, name="one")
    gallery_of(named("gemma", "phi"), name="two", position=1)
    assert found("phi") == ["phi", "phi", "PHI_4", "phim", "small-phi", "my-phi", "b", "a"]
    assert found("phi 4") == ["PHI_4"]


def test_a_phrase_that_was_looked_up_is_kept_for_the_next_search(monkeypatch, django_assert_num_queries):
    monkeypatch.setattr(matching, "_RANKED", 0)
    gallery_of([{"name": "phi", "tags": ["small"]}, {"name": "phi-4"}])
    assert found("small phi") == ["phi"]
    with django_assert_num_queries(1):  # the galleries
        assert ask("phi").total == 2


@pytest.mark.usefixtures("ranking")
def test_every_word_has_to_be_there_in_any_order_and_place():
    gallery_of([{"name": "phi-4", "tags": ["small"], "about": "Answers quickly."}, {"name": "phi-3"}])
    assert found("quick phi small") == ["phi-4"]


@pytest.mark.parametrize(
    ("q", "meant"),
    [
        ("mistal", "mistral"),
        ("mitsral", "mistral"),
        ("imstral", "mistral"),
        ("misstral", "mistral"),
        ("MISTARL instruct", "mistral instruct"),
        ("mistral instrct", "mistral instruct"),
        ("transcritpion", "transcription"),
    ],
)
def test_a_slip_is_taken_for_the_word_that_was_meant(q, meant):
    about = {"about": "Made for transcription."}
    gallery_of([{"name": "mistral-7b-instruct", **about}, *named("minstrel-7b")])
    asked = ask(q)
    assert asked.meant == meant
    assert found(q)[0] == "mistral-7b-instruct"


@pytest.mark.parametrize(
    "q",
    [
        # Another figure is another model.
        "qwen4",
        # Nothing is near.
        "zebra",
        # So short a word is near to anything.
        "qen",
        # Each word is somewhere, and no entry has both.
        "qwen3 gemma",
    ],
)
def test_what_is_no_slip_is_not_changed(q):
    gallery_of(named("qwen3", "gemma"))
    assert (ask(q).meant, found(q)) == ("", [])


def test_a_word_that_is_somewhere_is_searched_as_it_stands():
    gallery_of([{"name": "mistral"}, {"name": "x", "about": "Mistal is what somebody wrote."}])
    assert found("mistal") == ["x"]


def test_whoever_insists_gets_what_was_written():
    gallery_of(named("mistral"))
    assert found("mistal") == ["mistral"]
    assert found("mistal", exactly="1") == []


HOSTILE = [
    # What means something to FTS5, to tsquery, or to SQL.
    '"', "'", "*", "^", "(", ")", "a OR", "NEAR(a b)", "name:qwen", "{name}: qwen", "-qwen", "qwen AND NOT", '"qwen',
    "qwen*", "\\", "%", "_", "--", "; DROP TABLE gallery_entry", "' OR 1=1 --", "&|!:*", "qwen:*A", "<->", "$$",
    # Too much, and what cannot be stored.
    "z" * 10_000, "qwen " * 2_000, "a" * 50 + "1" * 50, "a\x00b", "\x00", "\ud800", "\u200b", "\n\t",
    # Other scripts, signs of several parts, written from the right.
    "🦙", "👩\u200d👩\u200d👧 qwen", "שלום", "مرحبا", "\u202eqwen", "e\u0301" * 50, "ﬁ", "²³", "१२३", "İstanbul",
    "١", "ß", "ＱＷＥＮ",
    # What a parser takes for a number, an address, or nothing.
    "1e400", "0x1f", "1.2.3.4.5.6", "http://x.test/a?b=c", "a@b.test", "c++", "C#", ".", "-1",
]  # fmt: skip


@pytest.mark.parametrize("q", HOSTILE)
def test_nothing_that_can_be_typed_is_an_error(q):
    gallery_of(named("qwen3", "llama"))
    assert set(found(q)) <= {"qwen3", "llama"}
    assert set(found(q, exactly="1")) <= {"qwen3", "llama"}


@pytest.mark.parametrize("q", ["%", "_", '"', "--- ...", "🦙", "\u200b"])
def test_what_has_no_letter_and_no_figure_finds_nothing(q):
    gallery_of(named("qwen3"))
    assert found(q) == []


@pytest.mark.parametrize("q", ["模型", "千问模型", "问模", "ことば"])
def test_scripts_without_spaces_are_found_in_the_middle(q):
    gallery_of([{"name": "qwen3", "about": "千问模型很好。ことばのモデル"}, {"name": "x", "about": "问千型模"}])
    assert found(q)[:1] == ["qwen3"]


@pytest.mark.usefixtures("ranking")
def test_the_order_of_signs_matters_in_them():
    gallery_of([{"name": "qwen3", "about": "千问模型"}])
    assert found("型模") == []


def test_the_index_follows_every_change_of_a_row():
    gallery_of(named("phi", "gemma"))
    Entry.objects.filter(name="phi").update(search="phi tiny")
    assert engine().having(word("tiny")) == [Entry.objects.get(name="phi").pk]
    Entry.objects.filter(name="phi").update(name="orca")
    assert engine().having_in_name(word("phi")) == []
    Entry.objects.filter(name="gemma").delete()
    assert engine().having(word("gemma")) == []


def test_what_was_rolled_back_was_never_indexed():
    gallery_of(named("phi"))
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        Entry.objects.update(name="orca", search="orca")
        raise ZeroDivisionError
    assert engine().having(word("orca")) == []
    assert len(engine().having(word("phi"))) == 1


def test_an_index_of_rows_written_at_once_and_again_has_each_once():
    made = gallery_of(named("phi"))
    again = [Entry(gallery=made, name=name, search=name) for name in ("phi", "gemma")]
    Entry.objects.bulk_create(again, update_conflicts=True, unique_fields=["gallery", "name"], update_fields=["search"])
    assert len(engine().having(word("phi"))) == 1
    assert set(engine().scores(parse("gemma"))) == set(engine().having(word("gemma")))


def test_it_is_known_which_words_are_nowhere():
    gallery_of(named("phi-4"))
    assert engine().known(parse("phi zebra p").groups) == [True, False, True]


@pytest.mark.usefixtures("ranking")
def test_a_gallery_that_is_not_shown_is_not_searched():
    gallery_of(named("phi"), name="one", enabled=False)
    gallery_of(named("phi-4"), name="two")
    assert found("phi") == ["phi-4"]


def test_several_galleries_stand_in_their_order():
    gallery_of(named("b", "a"), name="second", position=2)
    gallery_of(named("d", "c"), name="first", position=1)
    assert found() == ["d", "c", "b", "a"]
    assert found(sort="name") == ["a", "b", "c", "d"]


TAGS, BACKENDS, LICENCES = ["llm", "GGUF", "chat", "tts"], ["llama-cpp", "vllm", ""], ["mit", "gemma", ""]


def catalogue(count: int = 300) -> list[dict]:
    """Entries of all kinds, the same in every run; in two galleries."""
    picked = random.Random(1)
    rows = [
        {
            "name": f"{picked.choice(['qwen', 'phi'])}-{number}",
            "tags": picked.sample(TAGS, picked.randint(0, 3)) + ([f"rare-{number}"] if number % 50 == 0 else []),
            "usecases": picked.sample(["chat", "vision", "tts"], picked.randint(0, 2)),
            "backend": picked.choice(BACKENDS),
            "license": picked.choice(LICENCES),
            "size": picked.choice([None, 1, 2, 3]),
        }
        for number in range(count)
    ]
    gallery_of((dict(row) for row in rows[: count // 3]), name="one")
    gallery_of((dict(row) for row in rows[count // 3 :]), name="two", position=1)
    for row in rows[: count // 3]:
        row["gallery"] = "one"
    for row in rows[count // 3 :]:
        row["gallery"] = "two"
    return rows


def value_of(row: dict, field: str) -> list[str]:
    if field == "tag":
        return [tag.lower() for tag in row["tags"]]
    if field == "usecase":
        return row["usecases"]
    return [row[field] or "-"]


WISHES: list[dict] = [
    {},
    {"usecase": "chat"},
    {"tags": ("llm",)},
    {"tags": ("llm", "gguf")},
    {"tags": ("rare-50",)},
    {"license": "-", "backend": "vllm"},
    {"gallery": "two", "usecase": "tts", "tags": ("chat",)},
    {"backend": "no such"},
]


@pytest.mark.parametrize("wish", WISHES)
@pytest.mark.parametrize("kept", [False, True], ids=["made from the rows", "as a refresh left it"])
def test_facets_count_what_counting_one_by_one_counts(wish, kept):
    rows = catalogue()
    if kept:
        for made in Gallery.objects.all():
            index.write(made)
        assert SearchPart.objects.count() == 2
    asked = ask(**wish)
    chosen = {field: wish[field] for field in wish if field != "tags"}

    def left(row: dict, without: str) -> bool:
        others = (value in value_of(row, field) for field, value in chosen.items() if field != without)
        return all(others) and set(wish.get("tags", ())) <= set(value_of(row, "tag"))

    assert asked.total == sum(left(row, "") for row in rows)
    labels = {"tag": "Tag", "backend": "Backend", "license": "Licence", "usecase": "Use case", "gallery": "Gallery"}
    shown = {facet.field: facet.choices for facet in facets(asked)}
    for field in labels:
        counted = Counter(value for row in rows if left(row, field) for value in set(value_of(row, field)))
        told = {choice.label: choice.count for choice in shown.get(field, ()) if choice.count}
        assert told == {("Not said" if value == "-" else value): count for value, count in counted.items()}


@pytest.mark.usefixtures("ranking")
@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("q", ["", "qwen"])
def test_the_pages_together_are_the_whole_each_entry_once(sort, q):
    catalogue(100)
    pages = [found(q, sort=sort, page=number) for number in range(1, 7)]
    whole = [name for page in pages for name in page]
    assert sorted(whole) == sorted(Entry.objects.filter(name__startswith=q).values_list("name", flat=True))
    assert all(len(page) in (PAGE_SIZE, 0, len(whole) % PAGE_SIZE) for page in pages)


def test_sizes_that_are_not_said_come_last_both_ways():
    catalogue(60)
    sizes = dict(Entry.objects.values_list("name", "size"))
    up = [sizes[name] for page in (1, 2, 3) for name in found(sort="smallest", page=page)]
    down = [sizes[name] for page in (1, 2, 3) for name in found(sort="largest", page=page)]
    said = sorted(size for size in sizes.values() if size)
    nothing = [None] * (60 - len(said))
    assert (up, down) == (said + nothing, said[::-1] + nothing)


def test_installed_is_of_its_gallery_or_of_any():
    gallery_of(named("phi", "gemma"), name="one")
    gallery_of(named("phi"), name="two", position=1)
    here = Installed({("two", "phi"): ("my-phi",), (ANY, "gemma"): ("gemma",)})
    asked = ask(here=here)
    assert asked.here == 0b110
    choices = {choice.label: choice.count for choice in facets(asked)[0].choices}
    assert choices == {"Yes": 2, "No": 1}


@pytest.mark.usefixtures("ranking")
def test_what_was_searched_before_is_not_asked_again(django_assert_num_queries):
    gallery_of(named("phi", "gemma"))
    ask("phi")
    with django_assert_num_queries(1):  # the galleries
        ask("phi", page=2)


def test_a_gallery_that_was_never_read_does_not_have_the_others_read_again(django_assert_num_queries):
    gallery_of(named("phi"))
    Gallery.objects.create(name="new", url="https://new.test/", position=1)
    ask()
    with django_assert_num_queries(2):  # the galleries, and whether the new one has entries
        ask()
