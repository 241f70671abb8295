"""Models from a registry: installed, recorded and deleted like any other."""

import hashlib
from collections.abc import Iterator

import pytest
import yaml

from gallery.models import Entry, Gallery, Job
from gallery.services import installs, queue, running
from gallery.states import State
from models import inventory
from tests.fakes import registry
from tests.fakes.registry import Registry, packed

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.registry]

WEIGHTS = bytes(range(256)) * 2000


@pytest.fixture(autouse=True)
def empty_queue() -> None:
    queue.HUEY.flush()


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with registry.running(tmp_path_factory.mktemp("registry")) as running:
        yield running


def installed(uri: str, filename: str, **config: object) -> Job:
    gallery = Gallery.objects.get_or_create(name="localai", url="https://x.test/index.yaml")[0]
    data = {"name": "phi", "overrides": config, "files": [{"filename": filename, "uri": uri}]}
    entry = Entry.objects.create(gallery=gallery, name="phi", data=data)
    job = installs.request_install(entry, "", None)
    running.run(job.pk, installs.run_install)
    job.refresh_from_db()
    return job


def seen_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def recorded(folder):
    return yaml.safe_load((folder / "._gallery_phi.yaml").read_text())["files"]


def test_an_artifact_is_installed_file_by_file(hub, models_path):
    hub.push_artifact("o/artifact", {"a.gguf": WEIGHTS, "mmproj.gguf": b"p"})
    job = installed(f"oci://{hub.host}/o/artifact", "phi/a.gguf", parameters={"model": "phi/a.gguf"})
    assert (job.state, job.error) == (State.DONE, "")
    assert seen_in(models_path) == ["._gallery_phi.yaml", "phi.yaml", "phi/a.gguf", "phi/mmproj.gguf"]
    assert (models_path / "phi/a.gguf").read_bytes() == WEIGHTS
    assert [file["filename"] for file in recorded(models_path)] == ["phi/a.gguf", "phi/mmproj.gguf"]
    assert recorded(models_path)[0]["sha256"] == hashlib.sha256(WEIGHTS).hexdigest()
    assert job.bytes_total == len(WEIGHTS) + 1


def test_an_image_is_unpacked_layer_over_layer_and_deleted_whole(hub, models_path):
    hub.push_image(
        "o/image",
        [packed({"m/a.gguf": b"old", "m/b": b"1", "gone": b"1"}), packed({"m/a.gguf": WEIGHTS, ".wh.gone": b""})],
    )
    job = installed(f"oci://{hub.host}/o/image", "phi", parameters={"model": "phi/m/a.gguf"})
    assert (job.state, job.error) == (State.DONE, "")
    assert seen_in(models_path) == ["._gallery_phi.yaml", "phi.yaml", "phi/m/a.gguf", "phi/m/b"]
    assert (models_path / "phi/m/a.gguf").read_bytes() == WEIGHTS
    assert [file["filename"] for file in recorded(models_path)] == ["phi/m/a.gguf", "phi/m/b"]
    names = {name for name, _ in inventory.deletion_preview("phi").files}
    assert names >= {"phi/m/a.gguf", "phi/m/b"}


def test_a_hostile_image_leaves_nothing_behind(hub, models_path):
    hub.push_image("o/hostile", [packed({"fine": b"x", "../../out": b"x"})])
    job = installed(f"oci://{hub.host}/o/hostile", "phi", backend="llama-cpp")
    assert (job.state, job.cause) == (State.FAILED, "bad_archive")
    assert "../../out" in job.error
    assert [name for name in seen_in(models_path) if not name.startswith(".ingest/")] == []
    assert not (models_path.parent / "out").exists()


def test_a_name_that_is_in_no_registry_fails_with_the_address(hub, models_path):
    job = installed(f"oci://{hub.host}/o/nothing", "phi")
    assert (job.state, job.cause) == (State.FAILED, "not_found")
    assert f"{hub.host}/v2/o/nothing" in job.error
    assert seen_in(models_path) == []
