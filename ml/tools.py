"""The verbs for folders of images and masks, and for networks: nothing of them is a stage of a round."""

import argparse
import json
from fractions import Fraction
from pathlib import Path

from ml import meetings
from ml import spec as specs


def add_verbs(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Each with its own options; `run` is what it does with them."""
    for verb, (told, add_options, run) in _VERBS.items():
        one = verbs.add_parser(verb, help=told)
        add_options(one)
        one.set_defaults(run=run)


def _synthetic_options(synthetic: argparse.ArgumentParser) -> None:
    synthetic.add_argument("folder", type=Path, metavar="DIR")
    synthetic.add_argument("--images", type=int, default=360)
    synthetic.add_argument("--size", type=int, default=128, help="pixels")
    synthetic.add_argument("--seed", type=int, default=0)


def _scenes_options(scenes: argparse.ArgumentParser) -> None:
    scenes.add_argument("folder", type=Path, metavar="FOLDER")
    scenes.add_argument("--out", type=Path, required=True, help="JSON: a list of paths, relative to FOLDER, per scene")
    scenes.add_argument(
        "--overlap", type=float, default=meetings.WHOLE,
        help="of the smaller image; 0.75 as before a split, 0.3 also finds pieces of it",
    )  # fmt: skip


def _split_options(split: argparse.ArgumentParser) -> None:
    split.add_argument("folder", type=Path, metavar="FOLDER")
    split.add_argument("--out", type=Path, help="splits.json to write; with --folds one per fold, numbered")
    split.add_argument("--check", type=Path, metavar="SPLITS", help="only say what these splits leak")
    split.add_argument(
        "--scenes", type=Path, help="what `scenes` wrote; without it they are found, with --overlap 0.75"
    )
    split.add_argument(
        "--shares", type=float, nargs=3, default=(0.7, 0.15, 0.15), help="train, val, test, of the images"
    )
    split.add_argument("--ratios", type=Fraction, nargs="*", default=(), help="of labelled scenes in train: 1/16 1/8")
    split.add_argument("--folds", type=int, default=0, help="instead of shares: k folds, each test once")
    split.add_argument("--seed", type=int, default=0)


def _statistics_options(statistics: argparse.ArgumentParser) -> None:
    statistics.add_argument("folder", type=Path, metavar="FOLDER")


def _networks_options(networks: argparse.ArgumentParser) -> None:
    networks.add_argument("--json", action="store_true", help="as JSON")
    networks.add_argument("--channels", type=int, default=3, choices=(1, 3), help="of the picture")
    networks.add_argument("--classes", type=int, default=4, help="background included")
    networks.add_argument("--size", type=int, default=224, help="of the picture, pixels")


def _adopt_options(adopt: argparse.ArgumentParser) -> None:
    adopt.add_argument("file", type=Path, metavar="FILE")
    adopt.add_argument("--network", required=True, help="as `networks` lists it")
    adopt.add_argument("--width", type=int, help="of mff_metal; default: the network's own")
    adopt.add_argument("--encoder", help="of the smp_ networks; default: resnet18")
    adopt.add_argument(
        "--classes", nargs="+", required=True, metavar="CLASS", help="defects, in the order of its outputs"
    )
    adopt.add_argument("--out", type=Path, required=True, metavar="CHECKPOINT")
    adopt.add_argument("--mean", type=float, nargs=3, help="of RGB in [0, 1]; default: as published")
    adopt.add_argument("--std", type=float, nargs=3)


def _synthetic(options: argparse.Namespace) -> None:
    from ml.synthetic import generate

    generate(options.folder, images=options.images, size=options.size, seed=options.seed)


def _scenes(options: argparse.Namespace) -> None:
    from ml.dividing import find_scenes
    from ml.folder import look_into

    found = find_scenes(look_into(options.folder), options.overlap)
    options.out.write_text(json.dumps(found, indent=1))
    print(f"{sum(map(len, found))} images, {len(found)} scenes: {options.out}")


def _split(options: argparse.Namespace) -> None:
    from ml import dividing
    from ml.folder import canonical, read_splits
    from ml.scoring import read_scenes

    folder = canonical(options.folder)
    known = read_scenes(options.scenes) if options.scenes else dividing.find_scenes(folder)
    if options.check:
        print(dividing.leaks_in_words(folder, known, read_splits(options.check, folder.names)))
    elif options.out:
        made = dividing.divided(
            folder, known, shares=options.shares, ratios=options.ratios, folds=options.folds, seed=options.seed
        )
        for number, one in enumerate(made):
            out = options.out.with_stem(f"{options.out.stem}-fold{number}") if options.folds else options.out
            out.write_text(json.dumps(one, indent=1))
            print(f"{out}: {dividing.sizes_in_words(one, known)}")
    else:
        raise specs.SpecError("split: expected --out FILE to write, or --check SPLITS to judge")


def _statistics(options: argparse.Namespace) -> None:
    from ml.folder import canonical, read_splits
    from ml.statistics import report

    folder, given = canonical(options.folder), options.folder / "splits.json"
    print(report(folder, read_splits(given, folder.names) if given.is_file() else {}))


def _networks(options: argparse.Namespace) -> None:
    from ml.networks.costs import listing

    listed = listing(channels=options.channels, classes=options.classes, size=options.size)
    if options.json:
        print(json.dumps(listed, indent=1))
        return
    for one in listed["networks"]:
        size = "any size" if one["exports_any_size"] else "the size it was exported at"
        print(f"{one['name']:20} {one['parameters']:>12,} parameters {one['gmacs']:>9.3f} GMAC   exports to {size}")


def _adopt(options: argparse.Namespace) -> None:
    from ml import checkpoint, published

    network = specs.NetworkSpec(options.network, published.CHANNELS, options.width, options.encoder)
    given = {name: tuple(value) for name in ("mean", "std") if (value := getattr(options, name))}
    model, facts = published.adopt(options.file, network, tuple(options.classes), **given)
    checkpoint.save(model, facts, options.out)
    print(f"{options.out}: {facts.network.name} for background and {', '.join(facts.classes)}")


_VERBS = {
    "synthetic": ("write a generated data set of metal surfaces", _synthetic_options, _synthetic),
    "scenes": ("find the images that show the same piece of surface", _scenes_options, _scenes),
    "split": ("divide a canonical folder by scene, or say what its splits leak", _split_options, _split),
    "statistics": ("what a canonical folder holds, and what to mind", _statistics_options, _statistics),
    "networks": ("list the networks with their parameters and multiplications", _networks_options, _networks),
    "adopt": ("make a checkpoint of weights that a network's authors saved", _adopt_options, _adopt),
}
