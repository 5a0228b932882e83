"""`python -m ml bench NAME`: what each bench takes, and where its figures go."""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ml.recipes import RECIPES

HEARD = ("train", "splits", "scenes", "processes")


def add_options(parser: argparse.ArgumentParser) -> None:
    """A verb for each bench."""
    benches = parser.add_subparsers(dest="name", required=True)
    training = benches.add_parser("training", help="the loop against bare forward + backward")
    training.add_argument("--networks", nargs="*", default=(), metavar="NETWORK", help="only these; default: all")
    training.add_argument("--steps", type=int, default=15, help="that are counted, a network")
    training.add_argument("--size", type=int, default=200, help="pixels")
    training.add_argument("--batch", type=int, default=8)
    training.add_argument("--channels", type=int, default=1, choices=(1, 3))
    training.add_argument("--threads", type=int, default=0, help="0 = all cores")
    training.set_defaults(measure=_training)
    smoke = benches.add_parser("smoke", help="every recipe from end to end on generated surfaces, in minutes")
    smoke.add_argument("--recipes", nargs="+", default=list(RECIPES), choices=RECIPES, metavar="RECIPE")
    smoke.set_defaults(measure=_smoke)
    recipes = benches.add_parser("recipes", help="recipes against each other, by share of labels; may be resumed")
    recipes.add_argument("folder", type=Path, metavar="FOLDER", help="canonical, with masks")
    recipes.add_argument("--work", type=Path, required=True, help="folder of what is computed; the next call goes on")
    recipes.add_argument("--ratios", nargs="+", default=["1/8"], help="of the training images that have a label")
    recipes.add_argument(
        "--recipes", nargs="+", default=["supervised", "ppl", "w2s_ema"], choices=RECIPES, metavar="RECIPE"
    )
    # What else `simulate` takes, and hears as it stands.
    recipes.add_argument("--seeds", nargs="+", default=("0", "1", "2"))
    for name in HEARD:
        recipes.add_argument(f"--{name}", help="as of simulate")
    recipes.set_defaults(measure=_recipes)
    scoring = benches.add_parser("scoring", help="ppl's reliability scoring against the published loop")
    scoring.add_argument("folder", type=Path, nargs="?", metavar="FOLDER", help="canonical; default: generated")
    scoring.add_argument("--work", type=Path, help="folder of the models, for the next call; default: none")
    scoring.add_argument(
        "--recipes", nargs="+", default=["ppl", "ppl_as_released"], choices=RECIPES, metavar="RECIPE",
        help="whose training leaves the models",
    )  # fmt: skip
    scoring.add_argument(
        "--train", type=json.loads, default={"steps": 200, "batch": 4, "precision": "auto"}, metavar="JSON",
        help="over its settings",
    )  # fmt: skip
    scoring.add_argument("--labels", type=int, default=200, help="images to train on")
    scoring.add_argument("--images", type=int, default=256, help="others, to score")
    scoring.add_argument("--threads", type=int, nargs="+", default=[0], help="0 = all cores")
    scoring.set_defaults(measure=_scoring)
    for one in (training, smoke, recipes, scoring):
        one.add_argument("--out", type=Path, default=Path("docs/results"), metavar="FOLDER", help="where to leave them")


def run(options: argparse.Namespace) -> None:
    """Measure, and leave NAME.json and NAME.md, anew whenever there is more to tell."""
    options.out.mkdir(parents=True, exist_ok=True)
    page = options.out / f"{options.name}.md"
    for figures, table in options.measure(options):
        _figures_file(options).write_text(json.dumps(figures, indent=1) + "\n")
        page.write_text(table)
    print(page.read_text())


def _figures_file(options: argparse.Namespace) -> Path:
    return Path(options.out, f"{options.name}.json")


def _training(options: argparse.Namespace) -> Iterator[tuple[dict[str, Any], str]]:
    from ml.bench import training
    from ml.progress import print_line

    written = _figures_file(options)
    for figures in training.measure(
        options.networks, steps=options.steps, size=options.size, batch=options.batch, channels=options.channels,
        threads=options.threads, before=json.loads(written.read_text()) if written.exists() else {}, say=print_line,
    ):  # fmt: skip
        yield figures, training.table(figures)


def _smoke(options: argparse.Namespace) -> Iterator[tuple[dict[str, Any], str]]:
    from ml.bench import smoke

    figures = smoke.measure(options.recipes)
    yield figures, smoke.table(figures)


def _scoring(options: argparse.Namespace) -> Iterator[tuple[dict[str, Any], str]]:
    from ml.bench import scoring
    from ml.progress import print_line

    for figures in scoring.measure(
        options.folder, options.work, recipes=options.recipes, settings=options.train, labels=options.labels,
        images=options.images, threads=options.threads, say=print_line,
    ):  # fmt: skip
        (options.out / "scoring.svg").write_text(scoring.picture(figures))
        yield figures, scoring.table(figures)


def _recipes(options: argparse.Namespace) -> Iterator[tuple[dict[str, Any], str]]:
    from ml.bench import recipes

    told = ["--seeds", *options.seeds]
    for name in HEARD:
        told += [f"--{name}", value] if (value := getattr(options, name)) else []
    for figures in recipes.measure(options.folder, options.work, options.ratios, recipes=options.recipes, told=told):
        yield figures, recipes.table(figures)
