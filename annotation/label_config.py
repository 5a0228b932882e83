"""The XML that tells Label Studio's editor what can be drawn."""

from collections.abc import Sequence
from xml.etree import ElementTree as ET

from annotation.masks import ClassInfo

IMAGE = "image"  # the tag's name, and the field of a task's data that it shows

# Tag -> (name, attributes). The brush comes first: it gets the number keys, and predictions are its regions.
CONTROLS: dict[str, tuple[str, dict[str, str]]] = {
    "BrushLabels": ("mask", {}),
    "PolygonLabels": ("polygon", {"strokeWidth": "2", "opacity": "0.5"}),
    "RectangleLabels": ("rectangle", {"strokeWidth": "2", "opacity": "0.5", "canRotate": "true"}),
    "EllipseLabels": ("ellipse", {"strokeWidth": "2", "opacity": "0.5", "canRotate": "true"}),
}
HOTKEYS = "1234567890"


def label_config(classes: Sequence[ClassInfo]) -> str:
    """An image with zoom, brightness and contrast, to be marked with brush, polygon, rectangle and ellipse.

    No crosshair: with it the magic wand refuses to work.

    Raises:
        ValueError: There is no class, or a name that the editor could not tell apart or show.
    """
    names = [one.name for one in classes]
    if (
        not names
        or len(set(names)) < len(names)
        or not all(name and name.strip() == name and name.isprintable() for name in names)
    ):
        raise ValueError(f"expected classes with different, printable names, got {names}. Rename them.")
    view = ET.Element("View")
    _add_control(view, "BrushLabels", classes)
    switches = ("zoom", "zoomControl", "brightnessControl", "contrastControl")
    ET.SubElement(view, "Image", {"name": IMAGE, "value": f"${IMAGE}", **dict.fromkeys(switches, "true")})
    # Below the image, side by side: they are wanted now and then, the brush and the whole image always.
    others = ET.SubElement(view, "View", style="display: flex; flex-wrap: wrap; column-gap: 2em")
    for tag in list(CONTROLS)[1:]:
        tool = ET.SubElement(others, "View")
        ET.SubElement(tool, "Header", value=tag.removesuffix("Labels"), size="5")
        _add_control(tool, tag, classes)
    ET.indent(view)
    return ET.tostring(view, encoding="unicode")


def _add_control(parent: ET.Element, tag: str, classes: Sequence[ClassInfo]) -> None:
    name, attributes = CONTROLS[tag]
    control = ET.SubElement(parent, tag, {"name": name, "toName": IMAGE, **attributes})
    for index, one in enumerate(classes):
        label = ET.SubElement(control, "Label", value=one.name, background=one.colour)
        if tag == "BrushLabels" and index < len(HOTKEYS):
            label.set("hotkey", HOTKEYS[index])
