"""Every arrangement of images and masks that can be read.

root = open_source(Path("line-3.zip"), scratch, refused)
for name, image, mask in detect(root).pairs(): ...
"""

from pathlib import Path

from annotation.formats import canonical, neu_seg
from annotation.formats.archive import open_source
from annotation.formats.canonical import read_classes, read_splits
from annotation.formats.layout import BadSource, Layout, is_hidden, pictures
from annotation.masks import ClassInfo

__all__ = ["BadSource", "ClassInfo", "Layout", "detect", "open_source", "read_classes", "read_splits"]

FORMATS = {"canonical": canonical.recognise, "NEU-Seg": neu_seg.recognise}


def detect(root: Path) -> Layout:
    """The arrangement of a folder; of its only sub-folder where that is the known one (archives are often packed so).

    Raises:
        BadSource: There is no picture in it.
    """
    for folder in (root, *_only_folder(root)):
        for recognise in FORMATS.values():
            if layout := recognise(folder):
                return layout
    if not pictures(root):
        raise BadSource(
            f"{root.name} holds no pictures. Expected images, or images/ with masks/, or NEU-Seg as published."
        )
    return Layout(name="plain images", root=root, folders=((".", None),))


def _only_folder(root: Path) -> list[Path]:
    entries = [path for path in root.iterdir() if not is_hidden(path.relative_to(root))]
    return entries if len(entries) == 1 and entries[0].is_dir() else []
