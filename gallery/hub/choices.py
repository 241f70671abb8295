"""What of a repository makes a model: quantisations with all of their parts, companions, and sets of weights."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from gallery.hub.listing import RepoFile

GGUF, SET, SINGLE = "gguf", "set", "single"

_PART_OF = re.compile(r"(?P<stem>.+)-(?P<part>\d{5})-of-(?P<parts>\d{5})\.gguf", re.IGNORECASE)
_QUANTISATION = re.compile(
    r"(?<![A-Za-z0-9])((?:UD-)?(?:I?Q\d(?:_[0-9A-Z]+)*|TQ\d_\d|BF16|FP?16|FP?32|MXFP4(?:_MOE)?|NVFP4))(?![A-Za-z0-9])",
    re.IGNORECASE,
)
#: Single files that a backend loads as they are.
_SINGLES = (".bin", ".ggml", ".onnx", ".ckpt", ".pth", ".pt")
#: What belongs to a set of weights: how it is put together, and its tokenizer.
_SET_TEXTS = (".json", ".txt", ".model", ".jinja", ".tiktoken", ".py")
_WHOLE = "model_index.json"


@dataclass(frozen=True)
class Choice:
    """Files that make one model together, the one that is loaded first. `key` names the choice within its repository.

    `missing` is how many parts of a split file are not in the repository.
    """

    key: str
    kind: str
    label: str
    files: tuple[RepoFile, ...]
    missing: int = 0

    @property
    def size(self) -> int | None:
        """Bytes; None when the repository does not say it of each file."""
        sizes = [file.size for file in self.files]
        return None if None in sizes else sum(size for size in sizes if size is not None)

    @property
    def first(self) -> RepoFile:
        return self.files[0]


@dataclass(frozen=True)
class Choices:
    """`companions` are mmproj files, which let a model of the repository see or hear."""

    models: tuple[Choice, ...]
    companions: tuple[RepoFile, ...]


def choices_in(files: Iterable[RepoFile]) -> Choices:
    known = list(files)
    ggufs = [file for file in known if file.name.lower().endswith(".gguf")]
    companions = [file for file in ggufs if "mmproj" in file.name.lower()]
    weights = [file for file in ggufs if file not in companions and "imatrix" not in file.name.lower()]
    singles = [file for file in known if _is_single(file)]
    sets = _sets(known)
    held = {file.path for choice in sets for file in choice.files}
    found = [
        *sorted(_quantisations(weights), key=lambda choice: (choice.size or 0, choice.key)),
        *sets,
        *(Choice(file.path, SINGLE, file.name, (file,)) for file in singles if file.path not in held),
    ]
    return Choices(tuple(found), tuple(companions))


def suggested(models: Iterable[Choice], fits: Callable[[int], bool | None]) -> Choice | None:
    """The one to take when nothing speaks against it; None when there is nothing to choose.

    The largest GGUF that fits, where `fits` knows; else one of four bits, which is what most people take.
    """
    whole = [choice for choice in models if not choice.missing and choice.size]
    ggufs = [choice for choice in whole if choice.kind == GGUF]
    fitting = [choice for choice in ggufs if fits(choice.size or 0)]
    if fitting:
        return max(fitting, key=lambda choice: choice.size or 0)
    if ggufs:
        if any(fits(choice.size or 0) is False for choice in ggufs):
            return min(ggufs, key=lambda choice: choice.size or 0)
        return next((choice for choice in ggufs if "Q4_K_M" in choice.label.upper()), ggufs[0])
    return next(iter(whole), None)


def quantisation_of(name: str) -> str:
    """The word for the precision in a file's name, such as Q4_K_M; empty without one."""
    found = _QUANTISATION.findall(name.rpartition(".")[0] or name)
    return found[-1].upper() if found else ""


def parts_beside(name: str) -> list[str]:
    """The names of all parts of a split file, of which `name` is one; only itself when it is not split."""
    match = _PART_OF.fullmatch(name)
    if not match or int(match["parts"]) > 1000:
        return [name]
    return [f"{match['stem']}-{part:05}-of-{match['parts']}.gguf" for part in range(1, int(match["parts"]) + 1)]


def _quantisations(files: Iterable[RepoFile]) -> Iterable[Choice]:
    split: dict[tuple[str, int], list[RepoFile]] = defaultdict(list)
    for file in files:
        if match := _PART_OF.fullmatch(file.path):
            split[match["stem"], int(match["parts"])].append(file)
        else:
            yield Choice(file.path, GGUF, quantisation_of(file.name) or file.name, (file,))
    for (stem, parts), found in split.items():
        label = quantisation_of(f"{stem.rpartition('/')[2]}.gguf") or quantisation_of(stem + ".gguf")
        yield Choice(
            found[0].path, GGUF, label or stem.rpartition("/")[2], tuple(found), missing=max(parts - len(found), 0)
        )


def _is_single(file: RepoFile) -> bool:
    name = file.name.lower()
    return name.endswith(_SINGLES) and name not in {"training_args.bin", "optimizer.pt", "scheduler.pt"}


def _sets(files: list[RepoFile]) -> list[Choice]:
    """Sets of safetensors: the whole repository when it is put together of several models, else folder by folder."""
    weights = [file for file in files if file.name.lower().endswith(".safetensors")]
    if any(file.path == _WHOLE for file in files):
        parts = [file for file in files if "/" in file.path and file.name.lower().endswith(".safetensors")]
        return [_set("", parts, files)] if parts else []
    folders: dict[str, list[RepoFile]] = defaultdict(list)
    for file in weights:
        folders[file.path.rpartition("/")[0]].append(file)
    texts = _texts_by_folder(files)
    return [_set(folder, _one_copy(found), texts[folder]) for folder, found in folders.items()]


def _texts_by_folder(files: Iterable[RepoFile]) -> dict[str, list[RepoFile]]:
    texts: dict[str, list[RepoFile]] = defaultdict(list)
    for file in files:
        texts[file.path.rpartition("/")[0]].append(file)
    return texts


def _one_copy(weights: list[RepoFile]) -> list[RepoFile]:
    """Some repositories hold their weights twice: in the library's layout, and consolidated."""
    usual = [file for file in weights if not file.name.lower().startswith("consolidated")]
    return usual or weights


def _set(folder: str, weights: list[RepoFile], beside: Iterable[RepoFile]) -> Choice:
    texts = [file for file in beside if file.name.lower().endswith(_SET_TEXTS) and (file.size or 0) < 100 << 20]
    label = folder or "safetensors"
    return Choice(f"{folder}/", SET, label, (*weights, *texts))
