import io
import subprocess
import tarfile
import threading

import pytest

from config import archive
from config.archive import BadArchive

VIEW = "data/views/1/ab/abcd.png"


@pytest.fixture
def packed(tmp_path):
    """A good archive with one view in it."""
    (tmp_path / "view.png").write_bytes(b"a surface")
    with archive.writing(tmp_path / "packed.tar", {"made": "today"}) as writer:
        writer.text("secrets.env", "BURNISH_SECRET_KEY=secret\n")
        writer.file(VIEW, tmp_path / "view.png")
    return tmp_path / "packed.tar"


def repack(packed, *added: tuple[tarfile.TarInfo, bytes], sums: str = "", without: str = ""):
    """The archive with other members and other checksums, as somebody with bad intentions would."""
    forged = packed.with_name("forged.tar")
    with tarfile.open(packed) as old, tarfile.open(forged, "w") as new:
        for member in old:
            data = old.extractfile(member).read()
            if member.name == archive.SUMS:
                data += sums.encode()
                member.size = len(data)
            if member.name != without:
                new.addfile(member, io.BytesIO(data))
        for member, data in added:
            member.size = len(data)
            new.addfile(member, io.BytesIO(data))
    return forged


def link(name: str, kind: bytes, target: str) -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member, b""


def test_what_was_packed_comes_out_again(packed, tmp_path):
    with archive.reading(packed) as found:
        for name in (VIEW, "secrets.env"):
            found.unpack(name, tmp_path / "state")

        assert found.about == {"format": 1, "made": "today"}
    assert (tmp_path / "state" / VIEW).read_bytes() == b"a surface"
    assert (tmp_path / "state" / "secrets.env").read_text() == "BURNISH_SECRET_KEY=secret\n"


def test_nobody_else_reads_it_or_the_secrets_in_it(packed, tmp_path):
    with archive.reading(packed) as found:
        found.unpack("secrets.env", tmp_path / "state")

    assert packed.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "state" / "secrets.env").stat().st_mode & 0o777 == 0o600


def test_it_can_be_opened_and_checked_without_burnish(packed, tmp_path):
    (tmp_path / "by-hand").mkdir()
    subprocess.run(["tar", "xf", packed], cwd=tmp_path / "by-hand", check=True)

    checked = subprocess.run(
        ["sha256sum", "--check", archive.SUMS], cwd=tmp_path / "by-hand", capture_output=True, text=True, check=True
    )

    assert checked.stdout.count(": OK") == 3


@pytest.mark.parametrize(
    "name",
    ["../outside", "data/../../outside", "/etc/cron.d/outside", "data//view", "data", "stack.lock", "postgres/x"],
)
def test_a_path_that_leads_elsewhere_is_refused(packed, name):
    forged = repack(packed, (tarfile.TarInfo(name), b"mine"), sums=f"{'0' * 64}  {name}\n")

    with pytest.raises(BadArchive, match="no path of a backup"), archive.reading(forged):
        pass


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE])
def test_anything_but_a_file_is_refused(packed, kind):
    forged = repack(packed, link("data/views/link", kind, "/etc"))

    with pytest.raises(BadArchive, match="is a link, a device or a folder"), archive.reading(forged):
        pass


def test_a_name_that_comes_twice_is_refused(packed):
    with pytest.raises(BadArchive, match="comes twice"), archive.reading(repack(packed, (tarfile.TarInfo(VIEW), b""))):
        pass


@pytest.mark.parametrize("how", [{"sums": f"{'0' * 64}  data/more\n"}, {"without": VIEW}])
def test_files_and_checksums_must_name_each_other(packed, how):
    with pytest.raises(BadArchive, match="does not hold just the files"), archive.reading(repack(packed, **how)):
        pass


def test_a_changed_byte_is_found(packed, tmp_path):
    packed.write_bytes(packed.read_bytes().replace(b"a surface", b"a scratch"))

    with archive.reading(packed) as found, pytest.raises(BadArchive, match="is damaged"):
        found.unpack(VIEW, tmp_path / "state")


@pytest.mark.parametrize("left", [0, 700, 2000, 3000])
def test_a_file_that_was_cut_off_is_refused(packed, left):
    packed.write_bytes(packed.read_bytes()[:left])

    with pytest.raises(BadArchive), archive.reading(packed):
        pass


def test_something_else_is_no_backup(tmp_path):
    (tmp_path / "notes.txt").write_text("burnish" * 1000)

    with pytest.raises(BadArchive, match="no backup"), archive.reading(tmp_path / "notes.txt"):
        pass


def test_the_format_of_a_later_burnish_is_refused(packed):
    packed.write_bytes(packed.read_bytes().replace(b'"format": 1', b'"format": 2'))

    with pytest.raises(BadArchive, match="does not say format 1"), archive.reading(packed):
        pass


def test_a_file_may_grow_while_it_is_packed(tmp_path):
    growing, over = tmp_path / "log.txt", threading.Event()
    growing.write_bytes(b"x" * 10_000_000)
    writer_of_it = threading.Thread(target=append, args=(growing, over))
    writer_of_it.start()

    with archive.writing(tmp_path / "packed.tar", {}) as writer:
        size = writer.file("data/log.txt", growing)
        over.set()
        writer_of_it.join()

    assert size < growing.stat().st_size
    with archive.reading(tmp_path / "packed.tar") as found:
        assert found.unpack("data/log.txt", tmp_path / "state") == size


def append(path, over) -> None:
    with path.open("ab", buffering=0) as file:
        while not over.is_set():
            file.write(b"y" * 1000)
        file.write(b"y")
