"""Models that lie on this server already: weights without a configuration, and configurations outside of the folder."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from django.conf import settings

from gallery.catalog.errors import ImportRefused
from gallery.catalog.written import MAX_BYTES
from gallery.hub import configuration
from gallery.hub.choices import parts_beside
from gallery.hub.configuration import Place, Wanted
from gallery.services import importing
from localai_admin.lib.paths import is_open, is_plain
from models import gguf, inventory
from models.listing import claimed_files, loose_files

_CONFIGURATIONS = (".yaml", ".yml", ".json")
_WEIGHTS = (".gguf", ".ggml", ".bin", ".safetensors", ".onnx", ".pt", ".pth", ".ckpt")
#: Loose files that are offered.
_OFFERED = 50


@dataclass(frozen=True)
class Loose:
    """A file in the models folder that no configuration names. `size` is bytes."""

    path: Path
    size: int

    @property
    def name(self) -> str:
        return self.path.name


def roots() -> list[Path]:
    """The folders that files may come from."""
    return [Path(settings.MODELS_PATH), *settings.FILE_ROOTS]


def loose() -> list[Loose]:
    """Weights directly in the models folder that have no configuration; of a split file the first part."""
    folder = Path(settings.MODELS_PATH)
    claimed = claimed_files(inventory.config_folder().all())
    found = []
    for name in loose_files(folder):
        if name in claimed or not name.lower().endswith(_WEIGHTS) or parts_beside(name)[0] != name:
            continue
        try:
            found.append(Loose(folder / name, (folder / name).stat().st_size))
        except OSError:
            continue
    return found[:_OFFERED]


def request_for(text: str, name: str, usecase: str, context_size: int | None) -> importing.Request:
    """The request that makes a model of a file. Raises CatalogError, which says what was wrong with the path."""
    path = allowed(text)
    if path.name.lower().endswith(_CONFIGURATIONS):
        return importing.of_text(_read(path), name)
    if not path.name.lower().endswith(_WEIGHTS):
        raise ImportRefused(
            f"{path.name} is neither a configuration nor weights that a backend loads.",
            f"Use a file that ends in {', '.join((*_CONFIGURATIONS, *_WEIGHTS))}.",
        )
    chosen = importing.named(name, configuration.model_name(Path(parts_beside(path.name)[0]).stem))
    wanted = Wanted(chosen, usecase, context_size, chats=_chats(path))
    backend = configuration.backend_of("", path.name, usecase)
    return {"name": chosen, "described": {"name": chosen, **configuration.configured(_place(path), backend, wanted)}}


def allowed(text: str) -> Path:
    """The file at a path or a file:// address, with every link followed. Raises ImportRefused."""
    text = text.strip().removeprefix("file://")
    if not text.startswith("/") or not is_plain(text):
        raise ImportRefused("This is no path of this server.", "Write it from the root, such as /srv/models/x.gguf.")
    try:
        path = Path(text).resolve()
    except (OSError, RuntimeError):
        raise _outside(text) from None
    # Asked first: whether a file is there is nobody's business outside of the allowed folders.
    if not is_open(path, roots(), settings.DATA.resolve()):
        raise _outside(text)
    if path.is_dir():
        raise ImportRefused(f"{text[:200]} is a folder, and one file is needed.", "Name the file in it.")
    if not path.is_file():
        raise ImportRefused(f"There is no file at {text[:200]}.", "Check the spelling.")
    return path


def _outside(text: str) -> ImportRefused:
    return ImportRefused(
        f"{text[:200]} is in none of the folders that files may come from.",
        "An administrator can name the folder in LOCALAI_ADMIN_FILE_ROOTS; the console's own data stays closed.",
    )


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ImportRefused(f"{path.name} cannot be read: {error.strerror}.", "Check its permissions.") from None


def _chats(path: Path) -> bool:
    """Whether the file brings a template for conversations. Raises ImportRefused for a .gguf that is none."""
    if not path.name.lower().endswith(".gguf"):
        return False
    try:
        header = gguf.read_file(path)
    except gguf.GgufError as error:
        raise ImportRefused(f"{path.name} is no GGUF file: {error}", "Use another file.") from None
    except OSError as error:
        raise ImportRefused(f"{path.name} cannot be read: {error.strerror}.", "Check its permissions.") from None
    return header.has_chat_template is True


def _place(path: Path) -> Place:
    """In the models folder the file is used where it lies; from elsewhere it is copied, with the other parts of it."""
    folder = Path(settings.MODELS_PATH).resolve()
    parts = parts_beside(path.name)
    missing = [part for part in parts if not path.with_name(part).is_file()]
    if missing:
        raise ImportRefused(
            f"{missing[0]} is missing beside {path.name}, which is split.", "Put all of its parts there."
        )
    first = path.with_name(parts[0])
    if path.is_relative_to(folder):
        return Place(str(first.relative_to(folder)))
    files = [
        {
            "filename": part,
            "uri": f"file://{quote(str(path.with_name(part)))}",
            "size": path.with_name(part).stat().st_size,
        }
        for part in parts
    ]
    return Place(parts[0], files=files)
