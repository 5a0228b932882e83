"""Thumbnails, overlays and large views as the browser asks for them, drawn from rows' files and kept by the browser.

Addresses that name what they show (`?v=`, the start of `overlays.key`) are kept for a year and never asked for again.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass

from django.contrib.auth.decorators import permission_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.utils.cache import get_conditional_response, patch_cache_control
from django.utils.http import quote_etag
from numpy import uint8
from numpy.typing import NDArray
from PIL import Image as Picture

from catalog import browsing, files
from catalog.models import DefectClass, Image
from console import overlays
from rounds.models import StageFile

MASKS = "masks.zip"  # the shard of a predicting stage
SEE_TRUTH = "catalog.view_referencemask"  # leads and up: whoever labels must not be able to look answers up
AGE = 3600  # seconds a browser keeps a picture whose address does not name it
YEAR = 365 * 86400
NAMED = 16  # digits of a key in an address


@dataclass(frozen=True)
class Drawn:
    """A mask: what names it, and how to read it."""

    identity: str
    read: Callable[[], NDArray[uint8]]


def image_thumbnail(request: HttpRequest, pk: int) -> HttpResponse:
    """The view of an image, small."""
    image = get_object_or_404(Image, pk=pk)
    return _answer(request, overlays.key(image.view_sha256), lambda: _thumbnail(image))


def image_view(request: HttpRequest, pk: int) -> HttpResponse:
    """The view of an image, large."""
    image = get_object_or_404(Image, pk=pk)
    return _answer(request, overlays.key(image.view_sha256), lambda: overlays.large(files.absolute(image.view)))


def image_overlay(
    request: HttpRequest, pk: int, prediction: int | None = None, label: int | None = None
) -> HttpResponse:
    """The view of an image, small, with the mask of a prediction or of a label over it; alone without either."""
    image = get_object_or_404(Image, pk=pk)
    mask = _mask(image, prediction, label)
    return _drawn_over(request, image, mask) if mask else image_thumbnail(request, pk)


@permission_required(SEE_TRUTH, raise_exception=True)
def truth_overlay(request: HttpRequest, pk: int) -> HttpResponse:
    """The view of an image, small, with the given truth over it."""
    image = get_object_or_404(Image, pk=pk)
    return _drawn_over(request, image, _truth(image))


def image_mask(request: HttpRequest, pk: int, prediction: int | None = None, label: int | None = None) -> HttpResponse:
    """The mask of a prediction or of a label, large, to lie over the view."""
    image = get_object_or_404(Image, pk=pk)
    mask = _mask(image, prediction, label)
    assert mask is not None  # noqa: S101 - the addresses name one of them
    return _layer(request, image, mask)


@permission_required(SEE_TRUTH, raise_exception=True)
def truth_mask(request: HttpRequest, pk: int) -> HttpResponse:
    """The given truth, large, to lie over the view."""
    image = get_object_or_404(Image, pk=pk)
    return _layer(request, image, _truth(image))


def shard_identity(sha256: str, member: str) -> str:
    """What names the mask of a prediction."""
    return sha256 + member


def _mask(image: Image, prediction: int | None, label: int | None) -> Drawn | None:
    if prediction is not None:
        found = get_object_or_404(image.predictions, pk=prediction)
        shard = get_object_or_404(StageFile, stage=found.stage_id, name=MASKS)
        path, member = files.absolute(shard.path), found.member
        return Drawn(shard_identity(shard.sha256, member), lambda: overlays.mask_in_shard(path, member))
    if label is not None:
        answer = get_object_or_404(image.labels, pk=label, withdrawn=False)
        return Drawn(answer.sha256, lambda: overlays.mask_in_file(files.absolute(answer.path)))
    return None


def _truth(image: Image) -> Drawn:
    truth = browsing.truth_of([image.pk]).get(image.pk)
    if truth is None:
        raise Http404
    path = files.absolute(truth.path)
    return Drawn(truth.sha256, lambda: overlays.mask_in_file(path))


def _drawn_over(request: HttpRequest, image: Image, mask: Drawn) -> HttpResponse:
    colours = _colours(image)
    key = overlays.key(image.view_sha256, mask.identity, colours)
    return _answer(request, key, lambda: overlays.overlay(_thumbnail(image), mask.read(), colours))


def _layer(request: HttpRequest, image: Image, mask: Drawn) -> HttpResponse:
    colours = _colours(image)
    key = overlays.key(image.view_sha256, mask.identity, colours)
    return _answer(request, key, lambda: overlays.layer(mask.read(), colours))


def _colours(image: Image) -> dict[int, str]:
    return dict(DefectClass.objects.filter(project=image.project_id).values_list("index", "colour"))


def _thumbnail(image: Image) -> Picture.Image:
    """Drawn once and kept as a file: views of many megapixels take longer to open than a page of them may."""
    key = overlays.key(image.view_sha256)
    path = f"thumbnails/{key[:2]}/{key}.webp"
    try:
        content = files.absolute(path).read_bytes()
    except FileNotFoundError:
        content = overlays.webp(overlays.thumbnail(files.absolute(image.view)))
        files.write_once(path, content)
    return Picture.open(io.BytesIO(content)).convert("RGB")


def _answer(request: HttpRequest, key: str, draw: Callable[[], Picture.Image]) -> HttpResponse:
    """304 where the browser has the picture already, otherwise the picture."""
    etag = quote_etag(key)
    response = get_conditional_response(request, etag=etag)
    if response is None:
        response = HttpResponse(overlays.webp(draw()), "image/webp", headers={"ETag": etag})
    if request.GET.get("v") == key[:NAMED]:
        patch_cache_control(response, private=True, max_age=YEAR, immutable=True)
    else:
        patch_cache_control(response, private=True, max_age=AGE)
    return response
