import dataclasses
import io
import re
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from ml import data
from ml.spec import Sample, SpecError


def _write(path, pixels):
    Image.fromarray(pixels).save(path)
    return str(path)


def _load(samples, folder, *, channels=1, classes=3):
    return data.load(tuple(samples), folder, channels=channels, classes=classes, masks=True)


def test_samples_are_decoded_in_order_with_the_asked_channels(toy, tmp_path):
    samples = toy(3)

    grey, colour = _load(samples, tmp_path), _load(samples, tmp_path, channels=3)

    assert grey.ids == ("s0", "s1", "s2")
    assert [image.shape for image in grey.images + colour.images] == [(1, 40, 40)] * 3 + [(3, 40, 40)] * 3
    np.testing.assert_array_equal(grey.images[1][0], np.asarray(Image.open(samples[1].image)))
    np.testing.assert_array_equal(grey.masks[1], np.asarray(Image.open(samples[1].mask)))


def test_a_relative_path_starts_at_the_folder_of_the_spec(tmp_path):
    _write(tmp_path / "a.png", np.full((4, 4), 7, np.uint8))

    loaded = data.load((Sample("a", "a.png"),), tmp_path, channels=1, classes=3, masks=False)

    assert loaded.images[0].unique().tolist() == [7]
    assert loaded.masks == ()


def test_a_mask_may_lie_inside_a_shard(toy, tmp_path):
    (sample,) = toy(1)
    file = io.BytesIO()
    Image.fromarray(np.full((40, 40), 2, np.uint8)).convert("P").save(file, "PNG")
    with zipfile.ZipFile(tmp_path / "masks.zip", "w") as shard:
        shard.writestr("s0.png", file.getvalue())

    loaded = _load([dataclasses.replace(sample, mask=str(tmp_path / "masks.zip" / "s0.png"))], tmp_path)

    assert loaded.masks[0].unique().tolist() == [2]


def _another(sample, folder, **pixels):
    """The sample with an image or a mask of other pixels."""
    return dataclasses.replace(
        sample, **{what: _write(folder / f"other-{what}.png", values) for what, values in pixels.items()}
    )


def _half_a_file(sample, folder):
    (folder / "half.png").write_bytes((folder / "s0.png").read_bytes()[:200])
    return dataclasses.replace(sample, image="half.png")


def _empty_shard(sample, folder):
    zipfile.ZipFile(folder / "masks.zip", "w").close()
    return dataclasses.replace(sample, mask="masks.zip/x.png")


_ZEROS = np.zeros((40, 40), np.uint8)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda s, _: dataclasses.replace(s, mask=None), "sample s0: expected a mask, got none"),
        (lambda s, _: dataclasses.replace(s, image="nowhere.png"), "nowhere.png: no such file"),
        (_empty_shard, "x.png: no such file"),
        (_half_a_file, "half.png: cannot be read"),
        (lambda s, f: _another(s, f, mask=_ZEROS[:, :30]), "expected 40 x 40 pixels as its image has, got 30 x 40"),
        (lambda s, f: _another(s, f, mask=_ZEROS + 7), r"expected values 0\.\.2 and 255 \(ignore\), got \[7\]"),
        (lambda s, f: _another(s, f, mask=np.stack([_ZEROS] * 3, 2)), "expected class indices .*, got mode RGB"),
        (lambda s, f: _another(s, f, image=_ZEROS.astype(np.uint16)), "8-bit grey or RGB, got mode I;16"),
    ],
)
def test_a_sample_that_cannot_be_used_says_why(toy, tmp_path, spoil, message):
    (sample,) = toy(1)

    with pytest.raises(SpecError, match=message) as caught:
        _load([spoil(sample, tmp_path)], tmp_path)

    assert re.search(r"; \w+", str(caught.value)), "the message says what to do"


def test_an_id_that_comes_twice_is_refused(toy, tmp_path):
    with pytest.raises(SpecError, match="expected every id once, got 's0' twice"):
        _load(toy(1) * 2, tmp_path)


def _of_sizes(*sizes):
    rng = np.random.default_rng(0)
    images = [torch.from_numpy(rng.integers(0, 256, (1, *size)).astype(np.uint8)) for size in sizes]
    return data.Loaded(tuple(map(str, range(len(sizes)))), tuple(images), tuple(image[0] // 100 for image in images))


def test_random_crops_cut_the_same_window_from_image_and_mask():
    loaded = _of_sizes((50, 60), (70, 40))

    images, masks, _ = data.random_crops(loaded, [0, 1, 0], 32, np.random.default_rng(0))

    assert images.shape == (3, 1, 32, 32)
    assert torch.equal(images[:, 0] // 100, masks)
    assert not torch.equal(images[0], images[2])


def test_what_an_image_lacks_to_a_crop_is_ignored():
    loaded = _of_sizes((20, 60))

    images, masks, _ = data.random_crops(loaded, [0], 32, np.random.default_rng(0))

    assert images.shape == (1, 1, 32, 32)
    assert masks[0, 20:].unique().tolist() == [255]
    assert 255 not in masks[0, :20]


def test_batches_hold_one_size_each_and_every_sample_once(toy, tmp_path, monkeypatch):
    monkeypatch.setattr(data, "_CHUNK", 4)
    samples = list(toy(7))
    for n in (1, 5):
        small = np.full((16, 24), 200 + n, np.uint8)
        samples[n] = Sample(
            f"s{n}", _write(tmp_path / f"small{n}.png", small), _write(tmp_path / f"m{n}.png", small * 0)
        )

    batches = list(data.in_batches(tuple(samples), tmp_path, channels=1, classes=3, masks=True, batch=2))

    assert sorted(position for batch in batches for position in batch.positions) == list(range(7))
    for batch in batches:
        assert len(batch.positions) == len(batch.images) == len(batch.masks) <= 2
        for position, image in zip(batch.positions, batch.images, strict=True):
            np.testing.assert_array_equal(image[0], np.asarray(Image.open(samples[position].image)))


def test_mean_and_std_are_over_all_pixels_of_all_images():
    loaded = _of_sizes((20, 30), (10, 10))
    pixels = torch.cat([image.flatten() for image in loaded.images]).double() / 255

    mean, std = data.mean_and_std(loaded)

    assert mean == pytest.approx([float(pixels.mean())])
    assert std == pytest.approx([float(pixels.std(correction=0))])


def test_images_of_one_flat_colour_can_still_be_normalised():
    flat = data.Loaded(("a",), (torch.full((1, 8, 8), 90, dtype=torch.uint8),), ())

    _, std = data.mean_and_std(flat)

    assert std[0] > 0


@pytest.mark.parametrize("change", ["cut short", "changed inside"])
def test_a_damaged_shard_is_named_with_what_to_do(toy, tmp_path, change):
    """It once ended in a trace: zipfile has errors of its own."""
    (sample,) = toy(1)
    shard = tmp_path / "masks.zip"
    with zipfile.ZipFile(shard, "w") as file:
        file.write(sample.mask, "s0.png")
    content = bytearray(shard.read_bytes())
    content[60] ^= 1
    shard.write_bytes(content if change == "changed inside" else content[:80])

    with pytest.raises(SpecError, match=r"masks.zip/s0.png: cannot be read .* replace the file"):
        data.load((dataclasses.replace(sample, mask=f"{shard}/s0.png"),), tmp_path, channels=1, classes=3, masks=True)
