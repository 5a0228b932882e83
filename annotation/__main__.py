"""The command line: `python -m annotation convert SRC DST` and `python -m annotation formats`.

Exit status 0 means that DST is there and whole; otherwise the last line on stderr says what to do.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from annotation.formats import FORMATS, READERS, WRITERS, BadSource, drawn, open_source, read_as, write_whole, writer
from annotation.masks import named


def main(arguments: list[str] | None = None) -> int:
    """The exit status."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except (BadSource, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m annotation", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    one = verbs.add_parser("convert", help="write a folder or zip of images and masks in another format")
    one.add_argument("source", type=Path, metavar="SRC", help="a folder or a zip")
    one.add_argument("target", type=Path, metavar="DST", help="a folder that is not there yet")
    one.add_argument("--from", dest="read", default="detect", choices=("detect", *READERS))
    one.add_argument("--to", dest="write", default="canonical", choices=tuple(WRITERS))
    one.add_argument("--classes", default="", help="their names in the order of the indices, where the source has none")
    one.set_defaults(run=_convert)
    verbs.add_parser("formats", help="list what is read and written").set_defaults(run=_formats)
    return parser


def _convert(options: argparse.Namespace) -> None:
    """Notes go to stderr: what was recognised, refused and lost."""
    refused: list[tuple[str, str]] = []
    options.target.parent.mkdir(parents=True, exist_ok=True)
    # Beside the target: a system's own folder for temporary files may be small.
    try:
        with tempfile.TemporaryDirectory(prefix=".unpacked-", dir=options.target.parent) as scratch:
            dataset = read_as(open_source(options.source, Path(scratch), refused), options.read)
            _note(f"read as {dataset.format}: {dataset.saw}; {len(dataset.images)} images")
            classes = dataset.classes or named([name.strip() for name in options.classes.split(",") if name.strip()])
            refused += dataset.strays
            images = drawn(dataset, len(classes), refused)
            losses = write_whole(options.target, writer(options.write), classes, images)
    finally:  # what was refused may be why nothing was left to convert
        for name, reason in refused:
            _note(f"refused {name}: {reason}")
    for sentence in filter(None, (*dataset.notices, dataset.split_notice, *losses)):
        _note(sentence)


def _formats(options: argparse.Namespace) -> None:
    for name, one in FORMATS.items():
        print(f"{name:14}{'read, written' if one.write else 'read':16}{one.looks}")


def _note(sentence: str) -> None:
    print(f"note: {sentence}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
