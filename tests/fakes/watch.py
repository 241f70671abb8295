"""Whether anybody could ever have seen half a model."""

import threading
from contextlib import suppress
from pathlib import Path

import yaml


class Watch(threading.Thread):
    """Looks at the folder all the time: while a configuration is there, so are all its files, whole."""

    def __init__(self, models: Path, sizes: dict[str, dict[str, int]]) -> None:
        super().__init__(daemon=True)
        self.models, self.sizes = models, sizes
        self.faults: list[str] = []
        self.looks = 0
        self._read: dict[str, int] = {}
        self.over = threading.Event()
        self.start()

    def run(self) -> None:
        while not self.over.wait(0.001):
            self.looks += 1
            for name, sizes in list(self.sizes.items()):
                with suppress(FileNotFoundError):
                    self._look(name, sizes)

    def _look(self, name: str, sizes: dict[str, int]) -> None:
        path = self.models / f"{name}.yaml"
        before = path.stat()
        found = {file: size_of(self.models / file) for file in sizes}
        if path.stat().st_ino == before.st_ino and found != sizes:
            self.faults.append(f"{name}.yaml is visible with {found} instead of {sizes}")
        if self._read.get(name) != before.st_ino:
            # Each version is read once: parsing all of them all the time would keep the test from its moment.
            content = path.read_bytes()
            self._read[name] = before.st_ino
            if (yaml.load(content, yaml.CSafeLoader) or {}).get("name") != name:
                self.faults.append(f"{name}.yaml is not valid: {content[:200]!r}")

    def end(self) -> None:
        self.over.set()
        self.join(5)
        assert self.looks
        assert not self.faults, self.faults[:3]


def size_of(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None
