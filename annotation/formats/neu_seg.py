"""NEU-Seg as published: `images/{training,test}/*.jpg` and index masks in `annotations/{training,test}/*.png`.

Its division into training and test is not taken over: 810 of its 840 test images are rotations of training images. It
stays readable in the names; a split file brings it back where a comparison needs it.
"""

from pathlib import Path

from annotation.formats.layout import Layout
from annotation.masks import named

FOLDERS = (("images/test", "annotations/test"), ("images/training", "annotations/training"))

NOTICE = (
    "The published division of NEU-Seg is not used: 810 of its 840 test images are rotations of training images, so "
    "scores on it measure memory. Images are divided by scene instead. To compare with papers, give a split file."
)


def recognise(root: Path) -> Layout | None:
    """NEU-Seg at `root`, if it is there."""
    if not all((root / folder).is_dir() for pair in FOLDERS for folder in pair):
        return None
    classes = named(("inclusion", "patches", "scratches"))
    return Layout(name="NEU-Seg", root=root, folders=FOLDERS, classes=classes, notice=NOTICE)
