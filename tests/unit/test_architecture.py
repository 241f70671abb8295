"""The lists in the import contracts are whole: what they do not name, they do not hold."""

import tomllib
from collections.abc import Iterable
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parent.parent.parent
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
LAYERS, CORE, _ = SETTINGS["contracts"]
SITE = "localai_admin"
GROUND = f"{SITE}.lib"


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph(*SETTINGS["root_packages"], include_external_packages=True, cache_dir=None)


def ours(modules: Iterable[str]) -> set[str]:
    """Modules with code in them; packages and migrations have none."""
    known = set(modules)
    packages = {module.rpartition(".")[0] for module in known}
    return {m for m in known - packages if m.partition(".")[0] in SETTINGS["root_packages"] and ".migrations" not in m}


def is_below(module: str, listed: Iterable[str]) -> bool:
    return any(module == other or module.startswith(f"{other}.") for other in listed)


def test_every_module_of_the_site_is_in_the_first_layer(graph: grimp.ImportGraph) -> None:
    named = {word.strip() for word in LAYERS["layers"][0].split(":")}
    there = graph.find_children(SITE) - {GROUND}
    assert named == there


def test_every_module_that_is_free_of_framework_queue_and_telemetry_is_kept_so(graph: grimp.ImportGraph) -> None:
    tied = {m for m in graph.modules if m.partition(".")[0] in CORE["forbidden_modules"]}
    waiting = list(tied)
    while waiting:
        fresh = graph.find_modules_that_directly_import(waiting.pop()) - tied
        tied |= fresh
        waiting.extend(fresh)
    site = {m for m in graph.modules if is_below(m, [SITE]) and not is_below(m, [GROUND])}
    free = ours(graph.modules) - tied - site
    assert {module for module in free if not is_below(module, CORE["source_modules"])} == set()
