"""A gallery of our own, called own: its index and its files come from a real server, as fast as a test wants."""

import hashlib
import json
from typing import Any

import yaml

from tests.fakes.console import Console
from tests.fakes.http_server import Page, Server

_PREPARED = """
from django.contrib.auth.models import User
from gallery.models import Gallery
from gallery.services import refresh
User.objects.create_superuser({name!r}, password={password!r})
refresh.refresh_now(Gallery.objects.get(name="own").pk)
"""


class OwnGallery:
    """`entries` by name, as the index has them; `bodies` are the contents of the files by filename."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.entries: dict[str, dict[str, Any]] = {}
        self.bodies: dict[str, bytes] = {}

    def has(self, name: str, files: dict[str, bytes], pause: float = 0.0, **data: Any) -> None:
        """An entry whose first file is the model. `pause` is seconds after each 64 KiB of an answer."""
        settings = {"backend": "llama-cpp", "parameters": {"model": next(iter(files))}}
        listed = []
        for filename, body in files.items():
            uri = self.server.gives(path_of(filename), body, etag=f'"{sha256(body)[:16]}"', pause=pause)
            listed.append({"filename": filename, "sha256": sha256(body), "uri": uri})
        self.bodies |= files
        said = {"name": name, "description": f"{name}, of our own.", "license": "mit", "files": listed, **data}
        self.entries[name] = {**said, "overrides": {**settings, **data.get("overrides", {})}}
        self.publish()

    def publish(self) -> None:
        index = yaml.safe_dump(list(self.entries.values()), sort_keys=False).encode()
        self.server.gives("/index.yaml", index, etag=f'"{sha256(index)[:16]}"', content_type="text/yaml")

    def page(self, filename: str) -> Page:
        return self.server.pages[path_of(filename)]

    def sent(self, filename: str) -> int:
        """Bytes of the file that the server has sent so far."""
        return self.server.sent[path_of(filename)]

    def hurry(self, *filenames: str) -> None:
        """From now on these come at three megabytes a second for each connection, also what is on its way.

        Not faster: what waits in the buffers of a connection that another one takes a part from is sent twice.
        """
        for filename in filenames:
            self.page(filename).pause = 0.02

    def environment(self) -> dict[str, str]:
        """What a console needs to come here; the icons, which are none of ours, stay away."""
        return {
            "LOCALAI_GALLERIES": json.dumps([{"name": "own", "url": self.server.url("/index.yaml")}]),
            "LOCALAI_ADMIN_ALLOW_HTTP": "true",
            "LOCALAI_ADMIN_TRUSTED_HOSTS": self.server.host,
            "LOCALAI_ADMIN_GALLERY_ICONS": "false",
        }

    def prepare(self, console: Console, name: str, password: str) -> None:
        """The first administrator, and the index read."""
        script = _PREPARED.format(name=name, password=password)
        console.manage("shell", "-v", "0", "-c", script)


def path_of(filename: str) -> str:
    return f"/files/{filename}"


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()
