"""Which models are on this host, as far as the gallery cares: LocalAI's rule that `<name>.yaml` is in the folder."""

import os
from pathlib import Path

from localai_admin.lib.paths import UnsafePath, file_name_for_model, is_plain


def installed_names(folder: Path) -> frozenset[str]:
    """The names of entries whose `<name>.yaml` is in the models folder; none when the folder is not there.

    A slash in a name is two underscores in that of its file, so that a file stands for both spellings.
    """
    try:
        with os.scandir(folder) as found:
            stems = {item.name.removesuffix(".yaml") for item in found if _is_config(item.name)}
    except OSError:
        return frozenset()
    return frozenset(stems | {stem.replace("__", "/") for stem in stems})


def _is_config(name: str) -> bool:
    return name.endswith(".yaml") and not name.startswith(".") and is_plain(name)


def is_installed(folder: Path, name: str) -> bool:
    try:
        return (folder / f"{file_name_for_model(name)}.yaml").is_file()
    except UnsafePath:
        return False
