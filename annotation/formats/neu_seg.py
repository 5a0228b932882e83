"""NEU-Seg as published: `images/{training,test}/*.jpg` and index masks in `annotations/{training,test}/*.png`.

Its division into training and test is not taken over: 810 of its 840 test images are rotations of training images. It
stays readable in the names; a split file brings it back where a comparison needs it.
"""

from functools import partial
from pathlib import Path

from annotation.formats.dataset import Dataset
from annotation.formats.layout import paired
from annotation.masks import named, read_index_mask

FOLDERS = (("images/test", "annotations/test"), ("images/training", "annotations/training"))

NOTICE = (
    "The published division of NEU-Seg is not used: 810 of its 840 test images are rotations of training images, so "
    "scores on it measure memory. Images are divided by scene instead. To compare with papers, give a split file."
)


def recognise(root: Path) -> Dataset | None:
    """NEU-Seg at `root`, if it is there."""
    if not all((root / folder).is_dir() for pair in FOLDERS for folder in pair):
        return None
    images, strays = paired(root, FOLDERS, lambda path: partial(read_index_mask, path))
    return Dataset(
        format="NEU-Seg",
        root=root,
        saw="images/ and annotations/, each with training/ and test/",
        images=images,
        classes=named(("inclusion", "patches", "scratches")),
        strays=strays,
        split_notice=NOTICE,
    )
