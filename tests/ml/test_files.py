import os
from pathlib import Path

import pytest

from ml import files


@pytest.fixture
def synced(monkeypatch) -> list[str]:
    """Names of what was brought to the disk, in order."""
    names: list[str] = []
    really = os.fsync

    def fsync(descriptor: int) -> None:
        names.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        really(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    return names


def test_a_file_gets_its_name_once_its_contents_are_on_the_disk_and_then_the_name_goes_there(tmp_path, synced):
    with files.written_whole(tmp_path / "a.pt") as path:
        path.write_bytes(b"weights")
        assert not (tmp_path / "a.pt").exists()

    assert (tmp_path / "a.pt").read_bytes() == b"weights"
    assert synced == [".a.pt.tmp", tmp_path.name]


def test_a_write_that_fails_leaves_the_earlier_file_and_nothing_else(tmp_path):
    (tmp_path / "a.pt").write_bytes(b"earlier")

    with pytest.raises(OSError, match="No space left"), files.written_whole(tmp_path / "a.pt") as path:
        path.symlink_to("/dev/full")
        path.write_bytes(b"later")

    assert [one.name for one in tmp_path.iterdir()] == ["a.pt"]
    assert (tmp_path / "a.pt").read_bytes() == b"earlier"
