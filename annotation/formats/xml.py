"""XML of strangers, read without entities: a kilobyte of them can stand for gigabytes."""

from pathlib import Path
from xml.etree import ElementTree as ET

from annotation.formats.dataset import BadSource


class _NoDoctype(ET.TreeBuilder):
    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise BadSource("holds a document type, and with it perhaps entities. Export it without.")


def parse(path: Path) -> ET.Element:
    """The root of an XML file.

    Raises:
        BadSource: It is no XML, or declares a document type.
    """
    try:
        return ET.parse(path, ET.XMLParser(target=_NoDoctype())).getroot()  # noqa: S314 - nothing is expanded
    except BadSource as error:
        raise BadSource(f"{path.name} {error}") from error
    except (ET.ParseError, ValueError, LookupError) as error:  # the last two: encodings that are none
        raise BadSource(f"{path.name} is not XML ({error}). Correct it, or leave it out.") from error
