"""Thumbnails and overlays as the browser asks for them: drawn from rows' files on each request, kept by the browser."""

import hashlib
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.utils.cache import get_conditional_response, patch_cache_control
from django.utils.http import quote_etag
from numpy import uint8
from numpy.typing import NDArray
from PIL import Image as Picture

from catalog.files import absolute
from catalog.models import DefectClass, Image
from console import overlays
from rounds.models import StageFile

MASKS = "masks.zip"  # the shard of a predicting stage
AGE = 3600  # seconds a browser keeps a picture: its pixels are fixed, the classes' colours nearly


def image_thumbnail(request: HttpRequest, pk: int) -> HttpResponse:
    """The view of an image, small."""
    image = get_object_or_404(Image, pk=pk)
    return _answer(request, image.view_sha256, lambda: overlays.thumbnail(absolute(image.view)))


def image_overlay(
    request: HttpRequest, pk: int, prediction: int | None = None, label: int | None = None
) -> HttpResponse:
    """The view of an image with the mask of a prediction or of a label over it; the view alone without either."""
    image = get_object_or_404(Image, pk=pk)
    if prediction is not None:
        found = get_object_or_404(image.predictions, pk=prediction)
        shard = get_object_or_404(StageFile, stage=found.stage_id, name=MASKS)
        path, member = absolute(shard.path), found.member
        return _drawn_over(request, image, shard.sha256 + member, lambda: overlays.mask_in_shard(path, member))
    answer = get_object_or_404(image.labels, pk=label, withdrawn=False) if label is not None else None
    if answer is None:
        return image_thumbnail(request, pk)
    return _drawn_over(request, image, answer.sha256, lambda: overlays.mask_in_file(absolute(answer.path)))


def _drawn_over(
    request: HttpRequest, image: Image, mask_identity: str, mask: Callable[[], NDArray[uint8]]
) -> HttpResponse:
    colours = dict(DefectClass.objects.filter(project=image.project_id).values_list("index", "colour"))
    identity = f"{image.view_sha256}/{mask_identity}/{sorted(colours.items())}"
    return _answer(request, identity, lambda: overlays.overlay(absolute(image.view), mask(), colours))


def _answer(request: HttpRequest, identity: str, draw: Callable[[], Picture.Image]) -> HttpResponse:
    """304 where the browser has the picture already, otherwise the picture."""
    etag = quote_etag(hashlib.sha256(identity.encode()).hexdigest())
    response = get_conditional_response(request, etag=etag)
    if response is None:
        response = HttpResponse(overlays.webp(draw()), "image/webp", headers={"ETag": etag})
    patch_cache_control(response, private=True, max_age=AGE)
    return response
