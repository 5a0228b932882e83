import multiprocessing
import time

import numpy as np
import pytest
import torch

from ml import cache, data


@pytest.fixture
def decoded(monkeypatch):
    """Names of the files that were decoded, in order."""
    names = []
    for what in ("_decode_image", "_decode_mask"):
        whole = getattr(data, what)

        def counted(content, path, *rest, whole=whole):
            names.append(path.name)
            return whole(content, path, *rest)

        monkeypatch.setattr(data, what, counted)
    return names


def _load(samples, folder, *, channels=1):
    return data.load(tuple(samples), folder, channels=channels, classes=3, masks=True, cache="kept")


def _same(one, other):
    pairs = zip(one.images + one.masks, other.images + other.masks, strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_what_was_decoded_once_is_mapped_and_the_same(toy, tmp_path, decoded):
    samples = toy(3)
    plain = data.load(samples, tmp_path, channels=1, classes=3, masks=True)
    decoded.clear()

    first, second = _load(samples, tmp_path), _load(samples, tmp_path)

    assert len(decoded) == 6
    assert _same(first, plain)
    assert _same(second, plain)


def test_it_goes_by_content_not_by_name(toy, tmp_path, decoded):
    samples = toy(2)
    _load(samples, tmp_path)
    one, other = (tmp_path / f"s{n}.png" for n in (0, 1))
    kept = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(kept)
    decoded.clear()

    swapped = _load(samples, tmp_path)

    assert decoded == []
    assert _same(swapped, data.load(samples, tmp_path, channels=1, classes=3, masks=True))


def test_the_same_file_read_as_grey_and_as_colour_is_kept_apart(toy, tmp_path):
    samples = toy(1)
    _load(samples, tmp_path)

    colour = _load(samples, tmp_path, channels=3)

    assert colour.images[0].shape == (3, 40, 40)
    assert _load(samples, tmp_path).images[0].shape == (1, 40, 40)


def test_pixels_that_have_changed_on_disk_are_decoded_again(toy, tmp_path, decoded):
    samples = toy(2)
    whole = _load(samples, tmp_path)
    path = tmp_path / "kept" / "pixels"
    content = bytearray(path.read_bytes())
    content[5] ^= 1
    path.write_bytes(content)
    decoded.clear()

    again = _load(samples, tmp_path)

    assert decoded == ["s0.png"]
    assert _same(again, whole)
    assert _same(_load(samples, tmp_path), whole)
    assert decoded == ["s0.png"], "the newer place counts"


@pytest.mark.parametrize("left", [0, 0.3, 0.9])
@pytest.mark.parametrize("name", ["index", "pixels"])
def test_what_a_killed_process_left_half_written_does_no_harm(toy, tmp_path, left, name):
    samples = toy(3)
    whole = _load(samples, tmp_path)
    path = tmp_path / "kept" / name
    path.write_bytes(path.read_bytes()[: int(left * path.stat().st_size)])

    assert _same(_load(samples, tmp_path), whole)
    assert _same(_load(samples, tmp_path), whole)


def test_writing_into_a_picture_changes_nothing_on_disk(toy, tmp_path):
    samples = toy(1)
    _load(samples, tmp_path)

    _load(samples, tmp_path).images[0].zero_()

    assert _load(samples, tmp_path).images[0].any()


def _keep(folder, n):
    with cache.opened(folder) as keep:
        for number in range(5):
            time.sleep(0.005)
            keep(b"%d" % number, "L", lambda number=number: np.full((1, 3, 3), number, np.uint8))


def test_processes_that_come_together_decode_everything_once(tmp_path):
    workers = [multiprocessing.get_context("fork").Process(target=_keep, args=(tmp_path / "kept", n)) for n in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)

    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert (tmp_path / "kept" / "pixels").read_bytes() == b"".join(bytes([n]) * 9 for n in range(5))
