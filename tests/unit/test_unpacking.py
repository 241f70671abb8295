"""Archives become files of one folder, or are refused by name; nothing is written anywhere else."""

import gzip
import io
import tarfile
from pathlib import Path

import pytest

from gallery.downloads import unpacking
from gallery.downloads.errors import BadArchive, NoSpace
from gallery.downloads.specs import FileSpec
from gallery.downloads.unpacking import Unpacked, unpack
from tests.fakes.registry import packed

BIG = bytes(range(256)) * 20_000


def laid_over(folder: Path, *archives: bytes, reserve: int = 0) -> list[Unpacked]:
    into = folder / "into"
    into.mkdir()
    files = []
    for number, data in enumerate(archives):
        (folder / f"layer-{number}").write_bytes(data)
        files.append(FileSpec(f"layer-{number}", "", "oci://x", unpack="model"))
    found = unpack(files, lambda file: folder / file.filename, into, reserve=reserve, tick=lambda _: None)
    assert {path.name for path in folder.iterdir()} == {"into", *(file.filename for file in files)}
    return found


def contents(found: list[Unpacked]) -> dict[str, bytes]:
    return {item.spec.filename: item.path.read_bytes() for item in found}


def member(kind: bytes, link: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo("x")
    made.type, made.linkname = kind, link
    return made


@pytest.mark.parametrize("compressed", [True, False])
def test_the_files_of_an_archive_go_below_the_folder(tmp_path: Path, compressed: bool) -> None:
    files = {"./": member(tarfile.DIRTYPE), "a/": member(tarfile.DIRTYPE), "a/b.gguf": BIG, "./c": b"", "d": b"x" * 512}
    found = laid_over(tmp_path, packed(files, compressed=compressed))
    assert contents(found) == {"model/a/b.gguf": BIG, "model/c": b"", "model/d": b"x" * 512}
    assert [item.spec.size for item in found] == [len(BIG), 0, 512]
    assert len(found[0].spec.sha256) == 64
    assert not found[0].spec.unpack


def test_what_is_no_archive_any_more_stays(tmp_path: Path) -> None:
    plain = FileSpec("f", "", "https://example.org/f")
    assert unpack([plain], lambda _: tmp_path, tmp_path, reserve=0, tick=lambda _: None) == []


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_long_names_and_other_letters_are_kept(tmp_path: Path, form: int) -> None:
    name = "/".join(["größe" * 20] * 3) + "/a.gguf"
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w", format=form) as tar:
        made = tarfile.TarInfo(name)
        made.size = 3
        tar.addfile(made, io.BytesIO(b"abc"))
    assert contents(laid_over(tmp_path, whole.getvalue())) == {f"model/{name}": b"abc"}


def test_two_gzip_streams_are_one_archive(tmp_path: Path) -> None:
    plain = packed({"a": BIG}, compressed=False)
    halves = gzip.compress(plain[:70_000]) + gzip.compress(plain[70_000:])
    assert contents(laid_over(tmp_path, halves)) == {"model/a": BIG}


# --- Layers -----------------------------------------------------------------------------------------------------------


def test_later_layers_win_and_take_away(tmp_path: Path) -> None:
    below = packed({"kept": b"1", "changed": b"1", "gone": b"1", "d/x": b"1", "e/x": b"1", "e/y/z": b"1", "f": b"1"})
    above = packed(
        {
            "changed": b"2",
            ".wh.gone": b"",
            ".wh.d": b"",
            "e/new": b"2",
            "e/.wh..wh..opq": b"",
            # A file becomes a folder.
            "f/x": b"2",
        }
    )
    assert contents(laid_over(tmp_path, below, above)) == {
        "model/kept": b"1", "model/changed": b"2", "model/e/new": b"2", "model/f/x": b"2",
    }  # fmt: skip
    # What was taken away holds no disk either.
    assert len(list((tmp_path / "into" / "0").iterdir())) == 4


def test_a_link_inside_is_a_second_name(tmp_path: Path) -> None:
    files = {
        "blobs/1": b"weights",
        "sub/model.gguf": member(tarfile.SYMTYPE, "../blobs/1"),
        "again": member(tarfile.SYMTYPE, "sub/model.gguf"),
    }
    found = laid_over(tmp_path, packed(files))
    assert set(contents(found).values()) == {b"weights"}
    assert not any(item.path.is_symlink() for item in found)
    assert len(found) == 3


# --- What is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind", "link", "why"),
    [
        ("/etc/passwd", tarfile.REGTYPE, "", "not relative"),
        ("a/../../b", tarfile.REGTYPE, "", r"\.\."),
        ("..", tarfile.REGTYPE, "", r"\.\."),
        ("a\\b", tarfile.REGTYPE, "", "not relative"),
        ("a\nb", tarfile.REGTYPE, "", "control character"),
        ("x" * 256, tarfile.REGTYPE, "", "longer than 255 bytes"),
        ("a", tarfile.SYMTYPE, "/etc/passwd", "leaves its folder"),
        ("a/b", tarfile.SYMTYPE, "../../c", "leaves its folder"),
        ("a", tarfile.SYMTYPE, "..", "leaves its folder"),
        ("a", tarfile.SYMTYPE, "nothing", "no file of the archive"),
        ("a", tarfile.SYMTYPE, "a", "no file of the archive"),
        ("a", tarfile.LNKTYPE, "fine", "a hard link"),
        ("a", tarfile.CHRTYPE, "", "a device"),
        ("a", tarfile.BLKTYPE, "", "a device"),
        ("a", tarfile.FIFOTYPE, "", "a pipe"),
        ("a", tarfile.GNUTYPE_SPARSE, "", "holes"),
        ("a", b"Z", "", "unknown kind"),
        ("FINE", tarfile.REGTYPE, "", "cannot be told apart"),
        (".wh...", tarfile.REGTYPE, "", r"\.\."),
    ],
)
def test_hostile_members_are_refused_by_name(tmp_path: Path, name: str, kind: bytes, link: str, why: str) -> None:
    files = {"fine": b"x", name: member(kind, link)}
    with pytest.raises(BadArchive, match=why) as caught:
        laid_over(tmp_path, packed(files))
    assert caught.value.action


def test_nothing_is_put_behind_a_link(tmp_path: Path) -> None:
    layers = packed({"d/x": b"1", "way": member(tarfile.SYMTYPE, "d")}), packed({"way/y": b"2"})
    with pytest.raises(BadArchive, match="behind a link"):
        laid_over(tmp_path, *layers)


def test_an_archive_that_fills_the_disk_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "_MOST_SMALL", 1 << 20)
    with pytest.raises(BadArchive, match="more than"):
        laid_over(tmp_path, packed({"a": bytes(20 << 20)}))


def test_the_reserve_of_the_disk_is_not_used_up(tmp_path: Path) -> None:
    with pytest.raises(NoSpace):
        laid_over(tmp_path, packed({"a": b"x"}), reserve=1 << 60)


def test_too_many_entries_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "MOST_ENTRIES", 10)
    with pytest.raises(BadArchive, match="more than 10 entries"):
        laid_over(tmp_path, packed({f"a{n}": b"" for n in range(6)}), packed({f"b{n}": b"" for n in range(6)}))


@pytest.mark.parametrize("size", [0o77777777777, 70_000])
def test_a_note_beside_a_name_is_not_taken_into_memory(tmp_path: Path, size: int) -> None:
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, size
    with pytest.raises(BadArchive, match="a note beside one"):
        laid_over(tmp_path, header.tobuf() + bytes(1024))


@pytest.mark.parametrize("note", [b"99 path=x\n", b"x path=y\n", b"5\n", b"0 path=x\n", b"13 size=1e99\n"])
def test_a_broken_note_is_refused(tmp_path: Path, note: bytes) -> None:
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, len(note)
    with pytest.raises(BadArchive, match="damaged"):
        laid_over(tmp_path, header.tobuf() + note.ljust(512, b"\0") + tarfile.TarInfo("y").tobuf() + bytes(1024))


def test_damage_is_named(tmp_path: Path) -> None:
    whole = packed({"a": BIG})
    (tmp_path / "1").mkdir()
    with pytest.raises(BadArchive, match="ends in the middle"):
        laid_over(tmp_path / "1", whole[: len(whole) // 2])
    (tmp_path / "2").mkdir()
    with pytest.raises(BadArchive, match="ends in the middle"):
        laid_over(tmp_path / "2", packed({"a": BIG}, compressed=False)[:100_000])
    (tmp_path / "3").mkdir()
    with pytest.raises(BadArchive, match="cannot be unpacked"):
        laid_over(tmp_path / "3", whole[:10] + b"\xff" * 100 + whole[110:])
    (tmp_path / "4").mkdir()
    with pytest.raises(BadArchive, match="no tar archive"):
        laid_over(tmp_path / "4", b"<html>" * 1000)
    (tmp_path / "5").mkdir()
    with pytest.raises(BadArchive, match="zstd"):
        laid_over(tmp_path / "5", b"\x28\xb5\x2f\xfd" + bytes(100))
