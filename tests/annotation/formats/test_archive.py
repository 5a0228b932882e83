"""Zip files: what goes in, and every way in which one can be meant ill."""

import stat
import struct
import zipfile
from types import SimpleNamespace

import pytest

from annotation.formats import BadSource, archive, detect, open_source


@pytest.fixture
def pack(tmp_path):
    """Makes a zip of {name or ZipInfo: bytes}."""

    def make(members, compression=zipfile.ZIP_DEFLATED):
        path = tmp_path / "source.zip"
        with zipfile.ZipFile(path, "w", compression) as file:
            for name, data in members.items():
                file.writestr(name, data)
        return path

    return make


def _open(path, tmp_path):
    refused = []
    root = open_source(path, tmp_path / "scratch", refused)
    return {file.relative_to(root).as_posix(): file.read_bytes() for file in root.rglob("*") if file.is_file()}, refused


def test_a_folder_is_returned_as_it_is(tmp_path):
    assert open_source(tmp_path, tmp_path / "scratch") == tmp_path
    assert not (tmp_path / "scratch").exists()


def test_a_zip_is_unpacked_with_its_folders(tmp_path, pack):
    files, refused = _open(pack({"images/a.png": b"a", "masks/größe/a.png": b"b"}), tmp_path)

    assert files == {"images/a.png": b"a", "masks/größe/a.png": b"b"}
    assert refused == []


def test_what_macos_adds_is_passed_over(tmp_path, pack):
    files, refused = _open(pack({"a.png": b"a", "__MACOSX/._a.png": b"x", ".DS_Store": b"x"}), tmp_path)

    assert (list(files), refused) == (["a.png"], [])


@pytest.mark.parametrize(
    "name", ["../evil.png", "a/../../evil.png", "/etc/evil.png", "C:/evil.png", "..\\evil.png", "a\\b.png"]
)
def test_a_path_that_leads_out_is_refused_and_the_rest_goes_in(tmp_path, pack, name):
    files, refused = _open(pack({name: b"evil", "good.png": b"good"}), tmp_path)

    assert files == {"good.png": b"good"}
    assert [(one, "out of the folder" in reason) for one, reason in refused] == [(name, True)]
    assert not list(tmp_path.rglob("evil*"))


def test_a_symbolic_link_is_refused(tmp_path, pack):
    link = zipfile.ZipInfo("link.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16

    files, refused = _open(pack({link: b"/etc/passwd", "link.png/x.png": b"through it"}), tmp_path)

    assert files == {"link.png/x.png": b"through it"}
    assert [(name, "a link" in reason) for name, reason in refused] == [("link.png", True)]


def test_an_encrypted_member_is_refused(tmp_path, pack):
    path = pack({"secret.png": b"x", "good.png": b"good"})
    data = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # the flags of the first member, in both places
        data[data.index(signature) + offset] |= 1
    path.write_bytes(data)

    files, refused = _open(path, tmp_path)

    assert list(files) == ["good.png"]
    assert [(name, "encrypted" in reason) for name, reason in refused] == [("secret.png", True)]


def test_a_bomb_is_refused_by_its_ratio(tmp_path, pack, monkeypatch):
    monkeypatch.setattr(archive, "RATIO_COUNTS_FROM", 2**20)

    files, refused = _open(pack({"bomb.png": bytes(2**22), "small.bmp": bytes(2**19)}), tmp_path)

    assert list(files) == ["small.bmp"]
    assert [(name, "decompression bomb" in reason) for name, reason in refused] == [("bomb.png", True)]


def test_a_member_too_large_is_refused(tmp_path, pack, monkeypatch):
    monkeypatch.setattr(archive, "MAX_MEMBER_BYTES", 1000)

    files, refused = _open(pack({"large.png": bytes(1001), "good.png": bytes(1000)}), tmp_path)

    assert list(files) == ["good.png"]
    assert refused[0][0] == "large.png"


@pytest.mark.parametrize(("bound", "value"), [("MAX_BYTES", 25), ("MAX_MEMBERS", 2)])
def test_too_much_in_all_is_refused_before_a_byte_is_written(tmp_path, pack, monkeypatch, bound, value):
    monkeypatch.setattr(archive, bound, value)

    with pytest.raises(BadSource, match="Import it in parts"):
        _open(pack({f"{i}.png": b"0123456789" for i in range(3)}), tmp_path)

    assert not list((tmp_path / "scratch").iterdir())


def test_a_full_disk_is_told_before_a_byte_is_written(tmp_path, pack, monkeypatch):
    monkeypatch.setattr(archive.shutil, "disk_usage", lambda _: SimpleNamespace(free=2**30))

    with pytest.raises(BadSource, match="Make room"):
        _open(pack({"a.png": b"a"}), tmp_path)

    assert not list((tmp_path / "scratch").iterdir())


def test_a_member_that_lies_about_its_size_is_refused(tmp_path, pack):
    path = pack({"liar.png": bytes(5000), "good.png": b"good"})
    data = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = data.index(signature) + offset
        data[at : at + 4] = struct.pack("<I", 10)
    path.write_bytes(data)

    files, refused = _open(path, tmp_path)

    assert list(files) == ["good.png"]
    assert [(name, "damaged" in reason) for name, reason in refused] == [("liar.png", True)]


def test_a_damaged_member_is_refused_and_the_rest_goes_in(tmp_path, pack):
    path = pack({"a.png": b"A" * 500, "b.png": b"b"}, zipfile.ZIP_STORED)
    path.write_bytes(path.read_bytes().replace(b"AAAA", b"AAAB", 1))

    files, refused = _open(path, tmp_path)

    assert list(files) == ["b.png"]
    assert [(name, "damaged" in reason) for name, reason in refused] == [("a.png", True)]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_comes_twice_is_refused(tmp_path):
    path = tmp_path / "source.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a.png", b"first")
        file.writestr("a.png", b"second")
        file.writestr("./a.png", b"third")

    files, refused = _open(path, tmp_path)

    assert files == {"a.png": b"first"}
    assert [name for name, _ in refused] == ["a.png", "./a.png"]


def test_a_file_in_the_place_of_a_folder_is_refused(tmp_path, pack):
    files, refused = _open(pack({"a": b"file", "a/b.png": b"in it", "c/d.png": b"in it", "c": b"file"}), tmp_path)

    assert files == {"a": b"file", "c/d.png": b"in it"}
    assert [name for name, _ in refused] == ["a/b.png", "c"]


@pytest.mark.parametrize("name", ["x" * 256 + ".png", "line\nbreak.png", "bell\x07.png", "\u202egnp.png"])
def test_a_name_that_no_file_should_have_is_refused(tmp_path, pack, name):
    files, refused = _open(pack({name: b"x", "good.png": b"good"}), tmp_path)

    assert list(files) == ["good.png"]
    assert [one for one, _ in refused] == [name]


def test_unpacking_goes_on_where_it_stopped(tmp_path, pack):
    path = pack({"a.png": b"aaa", "b.png": b"bbb"})
    _open(path, tmp_path)
    before = (tmp_path / "scratch/a.png").stat().st_mtime_ns
    (tmp_path / "scratch/b.png").write_bytes(b"b")  # as if it were not all there

    files, _ = _open(path, tmp_path)

    assert files == {"a.png": b"aaa", "b.png": b"bbb"}
    assert (tmp_path / "scratch/a.png").stat().st_mtime_ns == before


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04 and no more"])
def test_what_is_no_zip_is_refused(tmp_path, content):
    (tmp_path / "source.zip").write_bytes(content)

    with pytest.raises(BadSource, match="is not a zip file"):
        open_source(tmp_path / "source.zip", tmp_path / "scratch")


def test_a_missing_source_is_refused(tmp_path):
    with pytest.raises(BadSource, match="does not exist"):
        open_source(tmp_path / "none.zip", tmp_path / "scratch")


def test_a_zip_within_a_zip_stays_packed(tmp_path, pack):
    files, _ = _open(pack({"inner.zip": b"PK", "a.png": b"a"}), tmp_path)

    assert [one.name for one in detect(tmp_path / "scratch").images] == ["a.png"]
    assert set(files) == {"inner.zip", "a.png"}
