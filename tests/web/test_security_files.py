"""Files and addresses: nothing outside is read, replaced or deleted, and nobody is called who should not be."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from gallery.catalog.errors import SourceError
from gallery.catalog.sources import fetch_index
from gallery.downloads import places
from gallery.downloads.errors import NotFound, UnsafeName
from gallery.downloads.transport import Document
from gallery.models import Job
from gallery.states import Kind
from localai_admin.lib import addresses
from models import inventory, secrets
from models.config_folder import ConfigFolder
from models.deletion import delete_files, plan_deletion

pytestmark = pytest.mark.django_db


# --- Files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target",
    [
        "b.yaml",
        "._gallery_b.yaml",
        ".ingest",
        ".ingest/job/1.part",
        ".",
        "./",
        "..",
        "../x",
        "index.yaml",
        "link-out",
        "link-out/x",
        "sub/../b.yaml",
        "/etc/passwd",
        "./b.yaml",
        "b.yaml/",
        ".git/config",
    ],
)
def test_deleting_a_model_takes_nothing_that_is_not_its_own(tmp_path: Path, target: str) -> None:
    root, outside = tmp_path / "models", tmp_path / "outside"
    (root / ".ingest" / "job").mkdir(parents=True)
    (root / ".git").mkdir()
    outside.mkdir()
    (outside / "x").write_text("mine")
    (tmp_path / "x").write_text("mine")
    for name in (".ingest/job/1.part", ".git/config", "b.gguf", "index.yaml"):
        (root / name).write_text("mine")
    (root / "link-out").symlink_to(outside)
    (root / "b.yaml").write_text("name: b\nparameters: {model: b.gguf}\n")
    (root / "._gallery_b.yaml").write_text("name: b\nfiles: [{filename: b.gguf}]\n")
    (root / "a.yaml").write_text(json.dumps({"name": "a", "parameters": {"model": target}, "mmproj": target}))
    (root / "._gallery_a.yaml").write_text(
        json.dumps({"name": "a", "files": [{"filename": target}, {"filename": "b.yaml"}]})
    )
    before = set(tmp_path.rglob("*")) - {root / "a.yaml", root / "._gallery_a.yaml"}
    folder = ConfigFolder(root, frozenset({"index.yaml"}))
    delete_files(plan_deletion(folder, "a"), root)
    assert before == set(tmp_path.rglob("*")) - {root / "a.yaml"}


def test_a_hard_link_is_deleted_and_not_what_it_is_a_name_of(tmp_path: Path) -> None:
    root = tmp_path / "models"
    root.mkdir()
    (tmp_path / "mine").write_text("mine")
    (root / "a.gguf").hardlink_to(tmp_path / "mine")
    (root / "a.yaml").write_text("name: a\nparameters: {model: a.gguf}\n")
    delete_files(plan_deletion(ConfigFolder(root), "a"), root)
    assert (tmp_path / "mine").read_text() == "mine"


def test_a_configuration_that_is_a_link_out_of_the_folder_is_not_read(
    models_path: Path, as_administrator: Client
) -> None:
    secret = models_path.parent / "secret.yaml"
    secret.write_text("name: stolen\ndescription: a secret of the inside\n")
    (models_path / "stolen.yaml").symlink_to(secret)
    assert inventory.config_folder().get("stolen") is None
    assert "a secret of the inside" not in as_administrator.get("/models/").content.decode()


def test_secrets_of_a_configuration_or_a_request_are_not_shown(as_administrator: Client, models_path: Path) -> None:
    config = {
        "name": "m",
        "hf_token": "pass-word",
        "proxy": {"apiKey": "pass-word", "x": [{"Authorization": "pass-word"}]},
        "options": ["hf_token:pass-word", "api_key=pass-word"],
        "url": "https://me:pass-word@x.example/",
    }
    (models_path / "m.yaml").write_text(json.dumps(config))
    (models_path / "n.yaml").write_text(json.dumps({"name": "n", "proxy": [{"api_key": "pass-word"}]}))
    job = Job.objects.create(
        kind=Kind.INSTALL, subject="m", request={"described": {"url": config["url"], "overrides": config}}
    )
    for url in ("/models/m/", "/models/", "/", job.get_absolute_url()):
        assert "pass-word" not in as_administrator.get(url).content.decode()
    assert secrets.masked({"tokens": 5, "options": ["use_jinja:true", "a:b"]}) == {
        "tokens": 5,
        "options": ["use_jinja:true", "a:b"],
    }


def test_the_key_that_signs_the_sessions_is_for_the_owner_alone(settings) -> None:
    assert stat.S_IMODE((settings.DATA / "secret_key").stat().st_mode) == 0o600
    assert stat.S_IMODE((settings.DATA / "db.sqlite3").stat().st_mode) == 0o600


@pytest.mark.parametrize("name", [".ingest/other/state.tmpl", ".INGEST/x.tmpl", "../x.tmpl", "/x.tmpl", "x\x00.tmpl"])
def test_no_template_of_a_recipe_is_put_where_it_does_not_belong(tmp_path: Path, name: str) -> None:
    with pytest.raises(UnsafeName):
        places.of_text(tmp_path, name)


def test_a_gallery_that_fails_does_not_tell_its_password(settings) -> None:
    def refuse(uri: str, **_: Any) -> Document:
        raise NotFound("It is not there.")

    address = "https://me:pass-word@gallery.example/index.yaml?token=pass-word"
    with pytest.raises(SourceError) as raised:
        fetch_index(address, [address.replace("gallery", "mirror")], fetcher=refuse)
    assert "pass-word" not in str(raised.value)
    assert "mirror.example" in str(raised.value)


# --- Addresses --------------------------------------------------------------------------------------------------------


NOT_PUBLIC = [
    "127.0.0.1",
    "0.0.0.0",
    "10.1.1.1",
    "169.254.169.254",
    "100.64.1.1",
    "192.0.0.192",
    "198.18.0.1",
    "203.0.113.1",
    "240.0.0.1",
    "255.255.255.255",
    "224.0.0.1",
    "168.63.129.16",
    "192.88.99.1",
    "192.31.196.1",
    "0x7f000001",
    "2130706433",
    "127.1",
    "0177.0.0.1",
    "::1",
    "::",
    "::ffff:127.0.0.1",
    "::ffff:a9fe:a9fe",
    "::ffff:0:127.0.0.1",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::7f00:1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::",
    "2001:0:1:2::3",
    "2001:db8::1",
    "fe80::1",
    "fe80::1%eth0",
    "fc00::1",
    "fd00:ec2::254",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
    "100::1",
    "5f00::1",
    "3fff::1",
    "2620:4f:8000::1",
]


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_no_address_that_is_not_public_passes_in_any_clothes(address: str) -> None:
    assert not addresses.is_public(address)
