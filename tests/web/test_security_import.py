"""What somebody brings along reads no file, calls no neighbour and writes nowhere it should not: the known attacks."""

import json
import time
from pathlib import Path

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from gallery.catalog.errors import CatalogError
from gallery.catalog.sources import fetch_index
from gallery.downloads.errors import DownloadError
from gallery.downloads.transport import Document
from gallery.models import Gallery, Job, Plan
from gallery.services import applying, installs, plans, running
from gallery.services.transport import downloader
from tests.fakes import http_server

pytestmark = pytest.mark.django_db(transaction=True)

NEIGHBOURS = [
    "http://169.254.169.254/latest/meta-data/",
    "https://127.0.0.1/x.yaml",
    "https://localhost/x.yaml",
    "https://2130706433/x.yaml",
    "https://0x7f.1/x.yaml",
    "https://[::1]/x.yaml",
    "https://[::ffff:127.0.0.1]/x.yaml",
    "https://100.100.100.200/x.yaml",
    "https://metadata.google.internal/x.yaml",
    "https://0.0.0.0/x.yaml",
    "https://10.0.0.1/x.yaml",
    "https://user@127.0.0.1/x.yaml",
    "https://example.org@127.0.0.1/x.yaml",
    "https://127.0.0.1\\@example.org/x.yaml",
    "https://127。0。0。1/x.yaml",
]
FILES = [
    "file:///etc/passwd",
    "file://localhost/etc/passwd",
    "FILE:///etc/passwd",
    "file:///proc/self/environ",
    "file://{models}/../secret.yaml",
    "file://{models}/link.yaml",
    "file:///%65tc/passwd",
    "ocifile:///etc/passwd",
    "/etc/passwd",
]
OTHERS = [
    *("gopher://x.example/", "ftp://x.example/x", "javascript:alert(1)", "data:text/yaml,name: x", "dict://x:1/"),
    *("oci://10.0.0.1/a/b:c", "ollama://10.0.0.1/a/b:c", "github:../..", "hf://x", "jar:file:///etc/passwd"),
]


@pytest.fixture
def secret(models_path: Path) -> Path:
    path = models_path.parent / "secret.yaml"
    path.write_text("name: SECRET-NAME\nSECRET-LINE\n- : [\n")
    (models_path / "link.yaml").symlink_to(path)
    return path


@pytest.mark.parametrize("address", [*NEIGHBOURS, *FILES, *OTHERS])
def test_no_address_reads_a_file_or_calls_a_neighbour(
    as_installer: Client, models_path: Path, secret: Path, address: str
) -> None:
    address = address.format(models=models_path)
    answer = as_installer.post("/import/", {"address": address})
    text = answer.content.decode()
    assert answer.status_code == 422
    assert not any(word in text for word in ("SECRET", "root:", "PATH="))
    assert 'role="alert"' in text
    assert not Plan.objects.exists()


@pytest.mark.parametrize(
    "address", [*FILES, "{models}/link.yaml", "{models}/../secret.yaml", "/dev/zero", "/proc/self/mem"]
)
def test_no_path_of_the_server_reads_a_file_outside(
    as_installer: Client, models_path: Path, secret: Path, address: str
) -> None:
    answer = as_installer.post("/import/path/", {"path": address.format(models=models_path), "usecase": "chat"})
    assert answer.status_code == 422
    assert not any(word in answer.content.decode() for word in ("SECRET", "root:"))


@pytest.mark.parametrize("address", [*NEIGHBOURS[:4], *FILES[:2], *OTHERS[:4]])
def test_no_item_of_a_list_and_no_file_of_an_entry_does_either(models_path: Path, secret: Path, address: str) -> None:
    (outcome,) = applying.apply_items([{"url": address}], None, 2)
    assert outcome.is_refused
    described = {
        "name": "m",
        "overrides": {"parameters": {"model": "x.bin"}},
        "files": [{"filename": "x.bin", "uri": address}],
    }
    job = installs.request_apply(described, "", None)
    running.run(job.pk, installs.run_install)
    job.refresh_from_db()
    assert not (models_path / "x.bin").exists()
    assert "root:" not in job.error


BAD_CONFIGURATIONS = [
    "name: m\nbackend: ../models/evil\nparameters:\n  model: x.gguf\n",
    "name: m\nbackend: /bin/sh\nparameters:\n  model: x.gguf\n",
    "name: m\nparameters:\n  model: ../../etc/passwd\n",
    "name: m\nparameters:\n  model: /etc/passwd\n",
    "name: m\nmmproj: ../x\nparameters:\n  model: x.gguf\n",
    "name: ../m\nparameters:\n  model: x.gguf\n",
    "name: .m\nparameters:\n  model: x.gguf\n",
    "name: m\nfiles:\n  - {filename: ../x, uri: https://x.example/x}\n",
    "name: m\nfiles:\n  - {filename: .ingest/x, uri: https://x.example/x}\n",
    "name: m\nfiles:\n  - {filename: ._gallery_y.yaml, uri: https://x.example/x}\n",
    "name: m\nfiles:\n  - {filename: .previous/m/1/x, uri: https://x.example/x}\n",
    "name: m\nprompt_templates:\n  - {name: ../x, content: y}\nfiles: []\n",
    "name: m\ndownload_files:\n  - {filename: ../x, uri: https://x.example/x}\nparameters:\n  model: x.gguf\n",
]


@pytest.mark.parametrize("text", BAD_CONFIGURATIONS)
def test_no_text_writes_outside_of_its_place(as_installer: Client, models_path: Path, text: str) -> None:
    """Refused at once, or by the plan or the job: nothing of it is in the folder at the end."""
    before = {path.name for path in models_path.parent.iterdir()}
    answer = as_installer.post("/import/text/", {"text": text})
    assert answer.status_code in {303, 422}
    for plan in Plan.objects.all():
        plans.make_plan(plan.pk)
        plan.refresh_from_db()
        assert plan.state == Plan.FAILED or plan.data["refusals"], "the plan says nothing"
        job = installs.request(plan.request, None)
        running.run(job.pk, installs.run_install)
        job.refresh_from_db()
        assert job.has_failed
    assert [path.name for path in models_path.iterdir() if path.name != ".ingest"] == []
    assert {path.name for path in models_path.parent.iterdir()} == before


BOMBS = {
    "aliases": "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [{','.join([f'*{chr(97 + n)}'] * 9)}]\n" for n in range(8)
    ),
    "a tower of lists": "[" * 100_000,
    "a tower of maps": '{"a":' * 100_000,
    "a number": '{"a": ' + "9" * 100_000 + "}",
    "a million of nothing": "[" + "{}," * 300_000 + "{}]",
    "many documents": "---\n" * 200_000,
    "many keys": "\n".join(f"k{n}: x" for n in range(90_000)),
    "a tag": "!!python/object/apply:os.system ['touch /tmp/x']",
}  # fmt: skip


@pytest.mark.timeout(60)
@pytest.mark.parametrize("page", ["/import/text/", "/import/list/"])
@pytest.mark.parametrize("bomb", BOMBS)
def test_no_bomb_goes_off(as_installer: Client, models_path: Path, bomb: str, page: str) -> None:
    started = time.process_time()
    answer = as_installer.post(page, {"text": BOMBS[bomb]})
    assert answer.status_code == 422
    assert len(answer.content) < 4 << 20
    assert time.process_time() - started < 8
    assert not Job.objects.exists()


def test_a_file_that_is_uploaded_is_limited(as_installer: Client, models_path: Path, settings) -> None:
    for size, expected in ((1 << 20, 422), (3 << 20, 413)):
        answer = as_installer.post("/import/list/", {"file": SimpleUploadedFile("../x.json", b"[" * size)})
        assert answer.status_code == expected
    assert not list(models_path.iterdir())


def test_a_reference_names_a_file_beside_it_and_never_another_host() -> None:
    asked: list[str] = []

    def fetch(uri: str, **_: object) -> Document:
        asked.append(uri)
        return Document(b"10.0.0.1" if len(asked) == 1 else b"[]")

    for body in (b"https://evil.example/x", b"//evil.example/x", b"/etc/passwd", b"../../x", b"a\nb", b"file:x"):
        with pytest.raises(CatalogError):
            fetch_index("https://x.example/a/b.ref", [], fetcher=lambda _uri, body=body, **_: Document(body))
    with pytest.raises(CatalogError):
        fetch_index("https://gallery.ref", [], fetcher=fetch)
    assert all(uri.startswith("https://gallery.ref") for uri in asked)


def test_headers_of_a_gallery_stay_with_its_host(settings, models_path: Path) -> None:
    """Whatever an index, a recipe, a mirror or a redirect names."""
    with http_server.running() as home, http_server.running() as other:
        settings.TRUSTED_HOSTS = [home.host, other.host]
        Gallery.objects.create(name="private", url=home.url("/index.yaml"), headers={"X-Key": "head3r"})
        other.gives("/x", b"x")
        home.gives("/away", redirect=other.url("/x"))
        home.gives("/back", redirect=other.url("/again"))
        other.gives("/again", redirect=home.url("/x"))
        home.gives("/x", b"x")
        with downloader() as transport:
            for address in (
                home.url("/away"),
                other.url("/x"),
                home.url("/back"),
                f"http://{home.host}@{other.host}/x",
            ):
                try:
                    transport.fetch(address)
                    transport.open(address).close()
                    transport.size(address)
                except DownloadError:
                    continue
        assert other.seen
        assert not any("head3r" in json.dumps(seen.headers) for seen in other.seen)
        assert any("head3r" in json.dumps(seen.headers) for seen in home.seen)
