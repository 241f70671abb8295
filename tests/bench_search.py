"""What finding a model costs at the size of the real index and at 100,000: a part of `make bench`.

Every call asks something else, so that no answer is one that was kept; the two kinds of one word ask for none of which
anything was asked before. The processor's own speed changes within a run, so each call has one of /healthz at its side.

`python -m tests.bench_search` runs it alone, with `--postgres` on a PostgreSQL of its own; 0 is the index as it is, any
other number so many entries.
"""

import gc
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from itertools import islice
from operator import truediv
from pathlib import Path

import yaml

from tests.fakes import postgres
from tests.fakes.real_gallery import index

MANY = 100_000
#: An index may have 64 MB, which is about 40,000 entries as long as the real ones: more of them are several galleries.
IN_ONE = 25_000
CALLS = 60
_WORD = re.compile(r"[^\W\d_]{3,}")

#: What people look for: one word, two, the beginning of one, a slip, and what names are made of.
WORDS = [
    "qwen", "llama", "mistral", "gemma", "instruct", "coder", "vision", "whisper", "deepseek", "phi", "granite",
    "embed", "reasoning", "uncensored", "roleplay", "tts", "voice", "flux", "diffusion", "thinking", "merge", "hermes",
    "nemo", "moe", "small", "multilingual", "japanese", "function", "calling", "math", "gguf", "quantized", "chat",
    "model",
]  # fmt: skip
SLIPS = [
    "mistal", "lamma", "qwne", "gema", "deepsek", "wisper", "instuct", "granit3", "reasonning", "embeding",
    "uncensered", "multilingaul", "diffusoin", "hermse", "falcno",
]  # fmt: skip


def entries_of(data: bytes, count: int) -> list[dict[str, object]]:
    """The index repeated until there are so many, each time with other names, sizes and some other tags."""
    known = yaml.load(data, Loader=yaml.CSafeLoader)
    picked = random.Random(7)
    made = []
    for number in range(count):
        entry = dict(known[number % len(known)])
        if number >= len(known):
            entry["name"] = f"{entry['name']}-v{number // len(known)}"
            entry["tags"] = [*(entry.get("tags") or [])[:-1], picked.choice(WORDS)]
        made.append(entry)
    return made


def new_words() -> list[str]:
    """The most frequent words of the names, in no order."""
    from gallery.models import Entry

    seen = Counter(
        word for name in Entry.objects.values_list("name", flat=True) for word in _WORD.findall(name.lower())
    )
    found = [word for word, _ in seen.most_common(5 * CALLS)]
    random.Random(3).shuffle(found)
    return found


def beginnings(words: Sequence[str]) -> list[str]:
    picked = random.Random(4)
    return list(dict.fromkeys(word[: picked.randint(2, len(word) - 1)] for word in words))


def queries(kind: str, new: Sequence[str]) -> Iterator[dict[str, str]]:
    """Never the same twice in a run. Of `new` words each is asked for once, by one of the two kinds."""
    picked = random.Random(kind)
    own = {"one word": new[::2], "beginning of a word": beginnings(new[1::2])}.get(kind, new)
    for number, text in enumerate(own, 1):
        word, other = picked.sample(WORDS, 2)
        yield {
            "one word": {"q": text},
            "beginning of a word": {"q": text},
            "two words": {"q": f"{word} {other}"},
            "mistyped": {"q": f"{SLIPS[number % len(SLIPS)]} {word if number > len(SLIPS) else ''}"},
            "tag, page 3": {"tag": word, "page": "3", "sort": picked.choice(["", "name", "smallest"])},
            "no word, deep page": {"page": str(number)},
            "words and every facet": {
                "q": f"{word} {number % 9}", "tag": "gguf", "usecase": "chat", "backend": "llama-cpp",
                "installed": "no", "license": "apache-2.0",
            },
        }[kind]  # fmt: skip


#: As a browser asks: for the results alone while somebody types, for the page when a link of it was clicked.
_TYPED, _CLICKED = {"HX-Request": "true"}, {"HX-Request": "true", "HX-Boosted": "true"}
KINDS = {
    "one word": _TYPED, "two words": _TYPED, "beginning of a word": _TYPED, "mistyped": _TYPED,
    "tag, page 3": _CLICKED, "no word, deep page": _CLICKED, "words and every facet": _CLICKED,
}  # fmt: skip


def measured(client: object, kind: str, new: Sequence[str]) -> tuple[float, float, float, float]:
    """Of the whole answer: median and 99th percentile in seconds; of /healthz: the median; and the median ratio."""
    times, bases = [], []
    for query in islice(queries(kind, new), CALLS + 3):
        bases.append(statistics.mean(timed(client, "/healthz") for _ in range(2)))
        began = time.perf_counter()
        answer = client.get("/gallery/", query, headers=KINDS[kind])  # type: ignore[attr-defined]
        times.append(time.perf_counter() - began)
        assert answer.status_code == 200, query
    times, bases = times[3:], bases[3:]
    assert len(times) == CALLS, "there are too few words"
    ratio = statistics.median(map(truediv, times, bases))
    return statistics.median(times), sorted(times)[int(len(times) * 0.99)], statistics.median(bases), ratio


def refreshed(galleries: list[object]) -> float:
    from gallery.services import refresh

    began = time.perf_counter()
    for gallery in galleries:
        refresh.refresh_now(gallery.pk)  # type: ignore[attr-defined]
    return time.perf_counter() - began


def child(folder: Path) -> dict[str, object]:
    """All figures of one size, in a process and a database of their own."""
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)
    import psutil
    from django.conf import settings
    from django.contrib.auth.models import User
    from django.test import Client

    from gallery.models import Gallery

    settings.FILE_ROOTS = [folder]
    settings.MODELS_PATH.mkdir(exist_ok=True)
    files = sorted(folder.glob("*.yaml"))
    galleries = [Gallery.objects.create(name=file.stem, url=f"file://{file}") for file in files]
    user = User.objects.create(username="bench", is_superuser=True)
    client = Client()
    client.force_login(user, backend=settings.AUTHENTICATION_BACKENDS[-1])
    cold = refreshed(galleries)
    peak = psutil.Process().memory_info().rss
    # As a web process does when it has loaded everything.
    gc.collect()
    gc.freeze()
    for _ in range(20):
        client.get("/healthz")
    new = new_words()
    client.get("/gallery/nothing")
    before = psutil.Process().memory_info().rss
    first = timed(client, "/gallery/")
    rows = {kind: measured(client, kind, new) for kind in KINDS}
    grown = psutil.Process().memory_info().rss - before
    for file in files:
        file.write_text(file.read_text().replace("license: mit", "license: MIT"))
    changed = refreshed(galleries)
    return {
        "cold": cold, "changed": changed, "unchanged": refreshed(galleries), "first": first,
        "peak": peak, "grown": grown, "rows": rows,
        "entries": sum(Gallery.objects.values_list("entry_count", flat=True)),
    }  # fmt: skip


def timed(client: object, path: str) -> float:
    began = time.perf_counter()
    client.get(path)  # type: ignore[attr-defined]
    return time.perf_counter() - began


def write(file: Path, count: int) -> None:
    """So many entries, in as many galleries as they need; 0 is the index as it is."""
    entries = entries_of(file.read_bytes(), count)
    for start in range(0, count, IN_ONE):
        part = yaml.dump(entries[start : start + IN_ONE], Dumper=Plain, sort_keys=False)
        file.with_name(f"gallery-{start:06}.yaml").write_text(part)
    if count:
        file.unlink()


class Plain(yaml.CSafeDumper):  # type: ignore[misc]
    """Without anchors, of which an index may have only so many."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def figures(folder: Path, count: int | None, on: str = "") -> dict[str, object]:
    """Figures at a size, on an empty database of its own; None is that of the real index."""
    place = folder / str(count)
    place.mkdir()
    write(index(place), count or 0)
    command = [sys.executable, "-m", "tests.bench_search", "child", str(place)]
    env = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", "TMPDIR": str(place)}
    env |= {"DATABASE_URL": on} if on else {}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=env)
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def search(
    folder: Path, sizes: tuple[int | None, ...] = (None, MANY), on_postgres: bool = False
) -> list[tuple[str, str, str, str, str]]:
    """what, value, target, baseline, ratio."""
    found = []
    for count in sizes:
        with postgres.running() if on_postgres else nullcontext("") as address:
            told = figures(folder, count, address)
        many, times = f"{told['entries']:,}", 2 if count else 1
        for kind, (median, high, base, ratio) in told["rows"].items():  # type: ignore[attr-defined]
            value = f"{median * 1000:.1f} ms (p99 {high * 1000:.1f} ms)"
            target = f"< {20 * times} ms (p99 < {60 * times} ms)"
            baseline = f"/healthz {base * 1000:.1f} ms"
            found.append((f"search in {many}: {kind}", value, target, baseline, f"{ratio:.1f} ×"))
        found.append((f"first page of {many} after a refresh", f"{told['first'] * 1000:.0f} ms", "–", "–", "–"))  # type: ignore[operator]
        for kind, target in (("cold", "about a minute" if count else "< 3 s"), ("changed", "–"), ("unchanged", "–")):
            found.append((f"refresh of {many}, {kind}", f"{told[kind]:.2f} s", target, "–", "–"))
        found.append((f"a web process for {many}", f"+{told['grown'] >> 20} MB", "< 30 MB", "–", "–"))  # type: ignore[operator]
        found.append((f"reading {many}, resident", f"{told['peak'] >> 20} MB", "–", "–", "–"))  # type: ignore[operator]
    return found


def main() -> None:
    if sys.argv[1:2] == ["child"]:
        print(json.dumps(child(Path(sys.argv[2]))))
        return
    on_postgres = "--postgres" in sys.argv
    sizes = tuple(int(size) or None for size in sys.argv[1:] if size != "--postgres") or (None, MANY)
    with tempfile.TemporaryDirectory(prefix="localai-admin-bench-") as place:
        for row in search(Path(place), sizes, on_postgres):
            widths = zip(row, (44, 42, 24, 18, 8), strict=True)
            print("  ".join(cell.ljust(width) for cell, width in widths).rstrip(), flush=True)


if __name__ == "__main__":
    main()
