from xml.etree import ElementTree as ET

import pytest
from label_studio_sdk.label_interface import LabelInterface

from annotation.label_config import label_config
from annotation.masks import ClassInfo, named

NASTY = """<b>"R&D" 'pit'"""


def test_every_tool_knows_every_class_in_its_colour():
    root = ET.fromstring(label_config([ClassInfo("scratch", "#112233"), ClassInfo("pit", "#445566")]))

    tools = {control.tag: [label.attrib for label in control] for control in root.iterfind(".//*[@toName]")}
    assert list(tools) == ["BrushLabels", "PolygonLabels", "RectangleLabels", "EllipseLabels"]
    for labels in tools.values():
        assert [(one["value"], one["background"]) for one in labels] == [("scratch", "#112233"), ("pit", "#445566")]


def test_the_image_has_zoom_brightness_and_contrast_and_no_crosshair():
    image = ET.fromstring(label_config(named(["pit"]))).find("Image")

    assert {name for name, value in image.attrib.items() if value == "true"} == {
        "zoom", "zoomControl", "brightnessControl", "contrastControl",
    }  # fmt: skip


def test_the_first_ten_classes_have_number_keys_for_the_brush():
    root = ET.fromstring(label_config(named([f"class {i}" for i in range(12)])))

    keys = [label.get("hotkey") for label in root.find(".//BrushLabels")]
    assert keys == [*"1234567890", None, None]
    assert all(label.get("hotkey") is None for label in root.find(".//PolygonLabels"))


def test_what_xml_reserves_may_stand_in_a_class_name():
    text = label_config(named([NASTY, "größe ≥ 2 µm"]))

    assert [label.get("value") for label in ET.fromstring(text).find(".//BrushLabels")] == [NASTY, "größe ≥ 2 µm"]
    LabelInterface(text).validate()


@pytest.mark.parametrize("names", [[], ["pit", "pit"], [""], [" pit"], ["a\nb"], ["a\x00b"]])
def test_names_that_the_editor_could_not_tell_apart_or_show_are_refused(names):
    with pytest.raises(ValueError, match="expected classes"):
        label_config(named(names))
