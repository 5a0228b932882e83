import hashlib
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.core.exceptions import SuspiciousFileOperation

from catalog import files


def test_a_file_is_written_with_its_sha256_returned():
    digest = files.write_once("stages/1/attempt-1/ids.txt", b"7\n")

    assert digest == hashlib.sha256(b"7\n").hexdigest()
    assert files.absolute("stages/1/attempt-1/ids.txt").read_bytes() == b"7\n"


def test_the_same_content_may_be_written_again():
    assert files.write_once("labels/1/a.png", b"same") == files.write_once("labels/1/a.png", b"same")


def test_other_content_under_the_same_path_is_refused_and_changes_nothing():
    files.write_once("labels/1/a.png", b"first")

    with pytest.raises(files.OtherContent, match="other content"):
        files.write_once("labels/1/a.png", b"second")

    assert files.absolute("labels/1/a.png").read_bytes() == b"first"


def test_nothing_temporary_is_left_behind(data_dir):
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: files.keep("views", 3, b"x" * 100_000, ".png"), range(40)))

    assert len([path for path in data_dir.rglob("*") if path.is_file()]) == 1


@pytest.mark.parametrize("path", ["../outside", "/etc/passwd", "labels/../../outside", "", "."])
def test_paths_that_leave_the_folder_are_refused(path):
    with pytest.raises(SuspiciousFileOperation):
        files.absolute(path)


def test_a_link_out_of_the_folder_is_refused(data_dir, tmp_path):
    data_dir.mkdir()
    (data_dir / "out").symlink_to(tmp_path)

    with pytest.raises(SuspiciousFileOperation):
        files.absolute("out/secret")


def test_a_file_already_written_is_moved_to_its_place(data_dir):
    data_dir.mkdir()
    made = data_dir / "weights.tmp"
    made.write_bytes(b"weights")

    digest = files.adopt(made, "stages/1/attempt-1/checkpoint.pt")

    assert digest == hashlib.sha256(b"weights").hexdigest()
    assert files.absolute("stages/1/attempt-1/checkpoint.pt").read_bytes() == b"weights"
    assert not made.exists()


def test_adopting_other_content_is_refused(data_dir):
    files.write_once("stages/1/attempt-1/checkpoint.pt", b"one")
    made = data_dir / "weights.tmp"
    made.write_bytes(b"two")

    with pytest.raises(files.OtherContent):
        files.adopt(made, "stages/1/attempt-1/checkpoint.pt")
