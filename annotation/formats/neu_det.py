"""NEU-DET as published: `IMAGES/*.jpg` and boxes in `ANNOTATIONS/*.xml`, weak labels."""

from pathlib import Path

from annotation.formats.boxes import read_boxes
from annotation.formats.dataset import Dataset

# The order of the masks that the published training code makes of the boxes.
CLASSES = ("crazing", "patches", "inclusion", "pitted_surface", "rolled-in_scale", "scratches")


def recognise(root: Path) -> Dataset | None:
    """NEU-DET at `root`, if it is there."""
    return read_boxes(root, "IMAGES", "ANNOTATIONS", format_name="NEU-DET", names=CLASSES)
