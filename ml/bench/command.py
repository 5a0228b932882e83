"""`python -m ml bench NAME`: what each bench takes, and where its figures go."""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ml.acquisition import ACQUISITION
from ml.recipes import RECIPES

HEARD = ("train", "passes", "splits", "scenes")  # by `simulate`, of benches that are made of its campaigns


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
    recipes.add_argument("--seeds", nargs="+", default=("0", "1", "2"))
    recipes.add_argument("--processes", type=int, default=1, help="as of simulate")
    _hear(recipes)
    recipes.set_defaults(measure=_recipes)
    scoring = benches.add_parser("scoring", help="ppl's reliability scoring against the published loop")
    _scoring_options(scoring)
    active = benches.add_parser("active", help="labels needed, by way of asking; may be resumed")
    _active_options(active)
    student = benches.add_parser("student", help="our small network, taught, beside others; may be resumed")
    _student_options(student)
    for one in (training, smoke, recipes, scoring, active, student):
        one.add_argument("--out", type=Path, default=Path("docs/results"), metavar="FOLDER", help="where to leave them")


def _scoring_options(scoring: argparse.ArgumentParser) -> None:
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


def _active_options(active: argparse.ArgumentParser) -> None:
    active.add_argument("folder", type=Path, metavar="FOLDER", help="canonical, with masks")
    active.add_argument("--work", type=Path, required=True, help="folder of what is computed; the next call goes on")
    active.add_argument("--recipe", default="supervised", choices=RECIPES, metavar="RECIPE")
    active.add_argument("--budgets", nargs="+", default=["1/32", "1/16", "1/8", "1/4", "1/2"], help="as of simulate")
    active.add_argument("--seeds", nargs="+", default=[str(seed) for seed in range(10)])
    active.add_argument(
        "--others", nargs="*", choices=ACQUISITION, metavar="STRATEGY", help="beside random and the default"
    )
    active.add_argument("--processes", type=int, default=1, help="as of simulate; as many seeds at a time")
    _hear(active)
    active.set_defaults(measure=_active)


def _hear(parser: argparse.ArgumentParser) -> None:
    for name in HEARD:
        parser.add_argument(f"--{name}", help="as of simulate")


def _heard(options: argparse.Namespace) -> list[str]:
    return [word for name in HEARD if (value := getattr(options, name)) for word in (f"--{name}", value)]


def _student_options(student: argparse.ArgumentParser) -> None:
    student.add_argument("folder", type=Path, metavar="FOLDER", help="canonical, with masks")
    student.add_argument("--work", type=Path, required=True, help="folder of what is computed; the next call goes on")
    student.add_argument("--networks", nargs="*", metavar="NETWORK", help="rivals; default: those of the papers")
    student.add_argument("--teacher", metavar="NETWORK", help="default: PPL's")
    student.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    student.add_argument("--steps", type=int, help="of every training; default: the recipe's")
    student.add_argument("--train", type=json.loads, default={}, metavar="JSON", help="settings over the recipe's")
    student.add_argument("--own", type=json.loads, default={}, metavar="JSON", help="further ones, by network")
    student.add_argument("--splits", type=Path, help="splits.json; default: the folder's own, otherwise made by scene")
    student.add_argument("--scenes", type=Path, help="what `scenes` wrote; without it they are found")
    student.set_defaults(measure=_student)


def run(options: argparse.Namespace) -> None:
    """Measure, and leave NAME.json, NAME.md and maybe NAME.svg, anew whenever there is more to tell."""
    options.out.mkdir(parents=True, exist_ok=True)
    page = options.out / f"{options.name}.md"
    for figures, table, *pictures in options.measure(options):
        _figures_file(options).write_text(json.dumps(figures, indent=1) + "\n")
        page.write_text(table)
        for picture in pictures:
            page.with_suffix(".svg").write_text(picture)
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


def _scoring(options: argparse.Namespace) -> Iterator[tuple[dict[str, Any], str, str]]:
    from ml.bench import scoring
    from ml.progress import print_line

    for figures in scoring.measure(
        options.folder, options.work, recipes=options.recipes, settings=options.train, labels=options.labels,
        images=options.images, threads=options.threads, say=print_line,
    ):  # fmt: skip
        yield figures, scoring.table(figures), scoring.picture(figures)


def _recipes(options: argparse.Namespace) -> Iterator[tuple[dict[str, Any], str, str]]:
    from ml.bench import recipes

    told = ["--seeds", *options.seeds, "--processes", str(options.processes), *_heard(options)]
    for figures in recipes.measure(options.folder, options.work, options.ratios, recipes=options.recipes, told=told):
        yield figures, recipes.table(figures), recipes.picture(figures)


def _active(options: argparse.Namespace) -> Iterator[tuple[dict[str, Any], str, str]]:
    from ml.bench import active

    for figures in active.measure(
        options.folder, options.work, recipe=options.recipe, budgets=options.budgets, seeds=options.seeds,
        processes=options.processes, others=options.others, told=_heard(options),
    ):  # fmt: skip
        yield figures, active.table(figures), active.picture(figures)


def _student(options: argparse.Namespace) -> Iterator[tuple[dict[str, Any], str, str]]:
    from ml.bench import student, student_page
    from ml.progress import print_line

    settings = options.train | ({"steps": options.steps} if options.steps else {})
    networks = student.RIVALS if options.networks is None else options.networks
    for figures in student.measure(
        options.folder, options.work, networks=networks, teacher=options.teacher or student.TEACHER,
        seeds=options.seeds, settings=settings, own=options.own, splits=options.splits, scenes=options.scenes,
        say=print_line,
    ):  # fmt: skip
        yield figures, student_page.table(figures), student_page.picture(figures)
