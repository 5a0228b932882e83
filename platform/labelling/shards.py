"""Masks that models predicted, read from the shards of their stages."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from zipfile import ZipFile

import numpy as np
from PIL import Image

from annotation.masks import Mask
from catalog import files
from rounds.models import Prediction, StageFile


@contextmanager
def predicted_masks() -> Iterator[Callable[[Prediction], Mask]]:
    """A function that reads the index mask of a prediction; each shard is opened once."""
    with ExitStack() as opened:

        @cache
        def shard(stage_id: int) -> ZipFile:
            path = StageFile.objects.get(stage=stage_id, name="masks.zip").path
            return opened.enter_context(ZipFile(files.absolute(path)))

        def mask(prediction: Prediction) -> Mask:
            with shard(prediction.stage_id).open(prediction.member) as member, Image.open(member) as image:
                return np.asarray(image)

        yield mask
