"""Which models are on this host, as far as the gallery cares: LocalAI's rule that `<name>.yaml` is in the folder."""

import os
from pathlib import Path

from localai_admin.lib.paths import UnsafePath, file_name_for_model


def installed_names(folder: Path) -> frozenset[str]:
    """The names of the configuration files directly in the models folder; none when the folder is not there."""
    try:
        with os.scandir(folder) as found:
            return frozenset(
                item.name.removesuffix(".yaml")
                for item in found
                if item.name.endswith(".yaml") and not item.name.startswith(".")
            )
    except OSError:
        return frozenset()


def is_installed(folder: Path, name: str) -> bool:
    try:
        return (folder / f"{file_name_for_model(name)}.yaml").is_file()
    except UnsafePath:
        return False
