"""Samples decoded once into memory, and batches cut from them."""

import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ml import masks as mask_files
from ml.cache import Keep, opened
from ml.spec import IGNORE, Sample, SpecError

# All that Pillow and zipfile have been seen to raise for a file whose bytes have changed.
_DAMAGED = (OSError, EOFError, RuntimeError, SyntaxError, ValueError, BadZipFile, zlib.error)
_CHUNK = 512  # images decoded at a time


@dataclass(frozen=True)
class Loaded:
    """Decoded samples, in order. Images may differ in size.

    images: (C, H, W) uint8 each.  masks: (H, W) uint8 each, 0..K-1 and 255; empty where masks were not asked for.
    soft: (S, H, W) float16 each, in [0, 1]: what teachers said of them before (ml.teaching); empty where nobody did.
    """

    ids: tuple[str, ...]
    images: tuple[Tensor, ...]
    masks: tuple[Tensor, ...]
    soft: tuple[Tensor, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)


def load(
    samples: tuple[Sample, ...], folder: Path, *, channels: int, classes: int, masks: bool, cache: str | None = None
) -> Loaded:
    """All samples, decoded and checked. Relative paths start at `folder`; `classes` is K, background included.

    cache: folder in which decoded pixels stay; what lies there is mapped into memory, not read.

    Raises:
        SpecError: an id comes twice, a file is missing or unreadable, a mask has another size or foreign values.
    """
    _refuse_twins(samples)
    shards: dict[Path, ZipFile] = {}
    try:
        with opened(folder / cache if cache else None) as keep:
            images = tuple(torch.from_numpy(_read_image(folder / s.image, channels, keep)) for s in samples)
            if not masks:
                return Loaded(tuple(s.id for s in samples), images, ())
            truth = tuple(
                torch.from_numpy(_read_mask(s, folder, shards, keep, classes=classes, size=tuple(image.shape[1:])))
                for s, image in zip(samples, images, strict=True)
            )
    finally:
        for shard in shards.values():
            shard.close()
    return Loaded(tuple(s.id for s in samples), images, truth)


def without_truth(loaded: Loaded) -> Loaded:
    """The samples with masks of zeros: of an image nobody has labelled every pixel counts, what pads it does not."""
    masks = tuple(torch.zeros(image.shape[1:], dtype=torch.uint8) for image in loaded.images)
    return replace(loaded, masks=masks)


def random_crops(
    loaded: Loaded, indices: list[int], size: int, rng: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor | None]:
    """A square window of each image, anywhere in it; smaller images are padded, their padding is ignored by the loss.

    Returns (N, C, size, size) uint8, (N, size, size) uint8, and (N, S, size, size) float32 where there are soft labels.
    """
    crops = [_random_crop([loaded.images[i], *loaded.soft[i : i + 1]], loaded.masks[i], size, rng) for i in indices]
    layers, masks = zip(*crops, strict=True)
    images, *soft = zip(*layers, strict=True)
    # One by one: under autocast to bfloat16 a processor stacks no halves.
    told = torch.stack([one.float() for one in soft[0]]) if soft else None
    return torch.stack(images), torch.stack(masks), told


@dataclass(frozen=True)
class SameSize:
    """Some of the samples, all of one size.

    positions: where they stand among the samples.  images: (N, C, H, W) uint8.  masks: (N, H, W) uint8, or (0,).
    """

    positions: list[int]
    images: Tensor
    masks: Tensor


def in_batches(
    samples: tuple[Sample, ...],
    folder: Path,
    *,
    channels: int,
    classes: int,
    masks: bool,
    batch: int,
    cache: str | None = None,
) -> Iterator[SameSize]:
    """All samples once, at most `batch` at a time, decoded in chunks because a pool can be larger than memory."""
    _refuse_twins(samples)
    for start in range(0, len(samples), _CHUNK):
        some = samples[start : start + _CHUNK]
        loaded = load(some, folder, channels=channels, classes=classes, masks=masks, cache=cache)
        for one in same_sized(loaded, batch):
            yield replace(one, positions=[start + position for position in one.positions])


def same_sized(loaded: Loaded, batch: int) -> Iterator[SameSize]:
    """All of them once, at most `batch` at a time."""
    by_size: dict[torch.Size, list[int]] = {}
    for index, image in enumerate(loaded.images):
        by_size.setdefault(image.shape, []).append(index)
    for indices in by_size.values():
        for some in (indices[i : i + batch] for i in range(0, len(indices), batch)):
            yield SameSize(
                positions=some,
                images=torch.stack([loaded.images[index] for index in some]),
                masks=torch.stack([loaded.masks[index] for index in some]) if loaded.masks else torch.empty(0),
            )


def mean_and_std(loaded: Loaded) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Per channel, over all pixels of all images, in units of [0, 1]."""
    count = sum(image[0].numel() for image in loaded.images)
    total = sum(image.sum(dim=(1, 2), dtype=torch.float64) for image in loaded.images)
    squares = sum(image.double().square().sum(dim=(1, 2)) for image in loaded.images)
    mean = torch.as_tensor(total) / count
    # A floor of one grey level: images of one flat colour have no spread to divide by.
    std = (torch.as_tensor(squares) / count - mean**2).clamp_min(1.0).sqrt()
    return tuple((mean / 255).tolist()), tuple((std / 255).tolist())


def _refuse_twins(samples: tuple[Sample, ...]) -> None:
    seen: set[str] = set()
    for sample in samples:
        if sample.id in seen:
            raise SpecError(f"samples: expected every id once, got {sample.id!r} twice; remove one of them")
        seen.add(sample.id)


def _read_image(path: Path, channels: int, keep: Keep) -> NDArray[np.uint8]:
    """(C, H, W)."""
    wanted = "L" if channels == 1 else "RGB"
    try:
        content = path.read_bytes()
        return keep(content, wanted, lambda: _decode_image(content, path, wanted))
    except FileNotFoundError:
        raise SpecError(f"image {path}: no such file; check the paths in spec.json") from None
    except SpecError:
        raise
    except _DAMAGED as error:
        raise SpecError(f"image {path}: cannot be read ({error}); replace the file") from error


def _decode_image(content: bytes, path: Path, wanted: str) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(content)) as image:
        mode, pixels = image.mode, np.asarray(image.convert(wanted))
    if mode not in {"L", "RGB"}:
        raise SpecError(f"image {path}: expected 8-bit grey or RGB, got mode {mode}; convert it first")
    return np.array(pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1), order="C")


def _read_mask(
    sample: Sample, folder: Path, shards: dict[Path, ZipFile], keep: Keep, *, classes: int, size: tuple[int, ...]
) -> NDArray[np.uint8]:
    if sample.mask is None:
        raise SpecError(f"sample {sample.id}: expected a mask, got none; give one or leave the sample out")
    path = folder / sample.mask
    try:
        content = _content(path, shards)
        mask = keep(content, "mask", lambda: _decode_mask(content, path))
    except (FileNotFoundError, KeyError):
        raise SpecError(f"mask {path}: no such file; check the paths in spec.json") from None
    except SpecError:
        raise
    except _DAMAGED as error:
        raise SpecError(f"mask {path}: cannot be read ({error}); replace the file") from error
    if mask.shape != size:
        raise SpecError(
            f"mask {sample.mask}: expected {size[1]} x {size[0]} pixels as its image has, "
            f"got {mask.shape[1]} x {mask.shape[0]}; export it again at the size of the image"
        )
    if strangers := [value for value in np.unique(mask).tolist() if value >= classes and value != IGNORE]:
        raise SpecError(
            f"mask {sample.mask}: expected values 0..{classes - 1} and {IGNORE} (ignore), got {strangers}; "
            "export it again, or add the class"
        )
    return mask


def _content(path: Path, shards: dict[Path, ZipFile]) -> bytes:
    if path.parent.suffix != ".zip":
        return path.read_bytes()
    shard = shards.get(path.parent) or shards.setdefault(path.parent, ZipFile(path.parent))
    return shard.read(path.name)


def _decode_mask(content: bytes, path: Path) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(content)) as image:
        return mask_files.indices(image, path)


def _random_crop(
    layers: list[Tensor], mask: Tensor, size: int, rng: np.random.Generator
) -> tuple[list[Tensor], Tensor]:
    height, width = mask.shape
    top = int(rng.integers(max(height - size, 0) + 1))
    left = int(rng.integers(max(width - size, 0) + 1))
    window = (..., slice(top, top + size), slice(left, left + size))
    layers, mask = [layer[window] for layer in layers], mask[window]
    missing = (0, size - mask.shape[1], 0, size - mask.shape[0])
    if any(missing):
        layers, mask = [F.pad(layer, missing) for layer in layers], F.pad(mask, missing, value=IGNORE)
    return layers, mask
