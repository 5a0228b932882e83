"""The command line: `python -m ml train|distil|predict|evaluate DIR`, and tools for folders of images and masks.

Exit status 0 means that the work is done (result.json is written); otherwise the last line on stderr says what to do.
After 75 the same command may succeed later: a full disk, a process that was killed.
"""

import argparse
import errno
import json
import os
import signal
import sys
import threading
import traceback
from fractions import Fraction
from pathlib import Path
from typing import Any

from ml import meetings, simulate
from ml import spec as specs
from ml.bench import command
from ml.protocols import PROTOCOLS

_NO_MEMORY = ("out of memory", "can't allocate memory", "Unable to allocate", "bad_alloc")


def main(arguments: list[str] | None = None) -> int:
    """The exit status."""
    options = _parser().parse_args(arguments)
    # Before torch is loaded: threads that spin long while they wait are ten times slower as soon as anything else wants
    # the processor, threads that never spin are slower than one alone (docs/log.md).
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    if getattr(options, "watch_stdin", False):
        threading.Thread(target=_end_with_stdin, daemon=True).start()
    try:
        options.run(options)
    except Exception as error:  # noqa: BLE001 - the top of a process: everything becomes a sentence for its user
        if not isinstance(error, specs.SpecError | ArithmeticError | ChildProcessError):
            traceback.print_exc()
        print(_sentence(error, options), file=sys.stderr, flush=True)
        return os.EX_TEMPFAIL if isinstance(error, OSError) else 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ml", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb, run in VERBS.items():
        one = verbs.add_parser(verb, help=f"{verb} as DIR/spec.json says; leaves DIR/result.json")
        one.add_argument("folder", type=Path, metavar="DIR", nargs="?" if verb == "evaluate" else None)
        one.add_argument("--watch-stdin", action="store_true", help="end the process group when stdin closes")
        one.set_defaults(run=run)
        if verb in {"train", "distil"}:
            one.add_argument("--processes", type=int, default=0, help="that train together; default: one per GPU")
            one.add_argument(
                "--save-every", type=float, default=specs.SAVE_SECONDS, metavar="SECONDS",
                help="the work a kill may cost; 0 = write the state as often as the loss curve has points",
            )  # fmt: skip
        if verb == "evaluate":
            _score_options(one)
    one = verbs.add_parser("synthetic", help="write a generated data set of metal surfaces")
    one.add_argument("folder", type=Path, metavar="DIR")
    one.add_argument("--images", type=int, default=360)
    one.add_argument("--size", type=int, default=128, help="pixels")
    one.add_argument("--seed", type=int, default=0)
    one.set_defaults(run=_synthetic)
    one = verbs.add_parser("scenes", help="find the images that show the same piece of surface")
    one.add_argument("folder", type=Path, metavar="FOLDER")
    one.add_argument("--out", type=Path, required=True, help="JSON: a list of paths, relative to FOLDER, per scene")
    one.add_argument(
        "--overlap", type=float, default=meetings.WHOLE,
        help="of the smaller image; 0.75 as before a split, 0.3 also finds pieces of it",
    )  # fmt: skip
    one.set_defaults(run=_scenes)
    one = verbs.add_parser("split", help="divide a canonical folder by scene, or say what its splits leak")
    one.add_argument("folder", type=Path, metavar="FOLDER")
    _split_options(one)
    one.set_defaults(run=_split)
    one = verbs.add_parser("bench", help="measure this machine; leaves NAME.json and NAME.md")
    command.add_options(one)
    one.set_defaults(run=command.run)
    one = verbs.add_parser("statistics", help="what a canonical folder holds, and what to mind")
    one.add_argument("folder", type=Path, metavar="FOLDER")
    one.set_defaults(run=_statistics)
    one = verbs.add_parser("simulate", help="simulated campaigns on images whose masks are known")
    simulate.add_options(one)
    one.set_defaults(run=simulate.run)
    one = verbs.add_parser("networks", help="list the networks with their parameters and multiplications")
    one.add_argument("--json", action="store_true", help="as JSON")
    one.add_argument("--channels", type=int, default=3, choices=(1, 3), help="of the picture")
    one.add_argument("--classes", type=int, default=4, help="background included")
    one.add_argument("--size", type=int, default=224, help="of the picture, pixels")
    one.set_defaults(run=_networks)
    one = verbs.add_parser("adopt", help="make a checkpoint of weights that a network's authors saved")
    one.add_argument("file", type=Path, metavar="FILE")
    _adopt_options(one)
    one.set_defaults(run=_adopt)
    return parser


def _split_options(split: argparse.ArgumentParser) -> None:
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


def _score_options(evaluate: argparse.ArgumentParser) -> None:
    evaluate.add_argument("--truth", type=Path, help="instead of DIR: a folder of index masks (PNG)")
    evaluate.add_argument("--pred", type=Path, help="a folder of predicted masks of the same names")
    evaluate.add_argument("--classes", type=int, help="how many, background included")
    evaluate.add_argument("--protocol", default="all", choices=("all", *PROTOCOLS), help="of a seed system")
    evaluate.add_argument("--scenes", type=Path, help="what `scenes` wrote; without it every image is a scene")


def _adopt_options(adopt: argparse.ArgumentParser) -> None:
    adopt.add_argument("--network", required=True, help="as `networks` lists it")
    adopt.add_argument("--width", type=int, help="of mff_metal; default: the network's own")
    adopt.add_argument("--encoder", help="of the smp_ networks; default: resnet18")
    adopt.add_argument(
        "--classes", nargs="+", required=True, metavar="CLASS", help="defects, in the order of its outputs"
    )
    adopt.add_argument("--out", type=Path, required=True, metavar="CHECKPOINT")
    adopt.add_argument("--mean", type=float, nargs=3, help="of RGB in [0, 1]; default: as published")
    adopt.add_argument("--std", type=float, nargs=3)


def _train(options: argparse.Namespace) -> None:
    """One process per GPU, or as many as asked for; torchrun's own children land here as well and do the work."""
    from ml.device import gpus

    if "WORLD_SIZE" in os.environ:
        from torch.distributed.elastic.multiprocessing.errors import record

        record(_train_here)(options)  # so that torchrun hears why a child failed
    elif (processes := options.processes or gpus()) > 1:
        _train_in_several_processes(options, processes)
    else:
        _train_here(options)


def _distil(options: argparse.Namespace) -> None:
    """A training that has teachers."""
    if specs.read(specs.TrainSpec, options.folder).distil is None:
        raise specs.SpecError("distil: expected `distil` with teachers in spec.json, got none; name a checkpoint")
    _train(options)


def _train_in_several_processes(options: argparse.Namespace, processes: int) -> None:
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    ours = ["--save-every", str(options.save_every), *(["--watch-stdin"] if options.watch_stdin else [])]
    command = ["--standalone", "--nproc-per-node", str(processes), "-m", "ml", "train", str(options.folder), *ours]
    try:
        run.main(command)
    except ChildFailedError as error:
        _, failure = error.get_first_failure()
        told: Any = failure.message  # a dict where the child could still say why, otherwise a string
        why = told["message"] if isinstance(told, dict) else told
        if failure.exitcode == -signal.SIGKILL:
            why += " (out of memory? lower batch, crop or the network's width)"
        may_pass = failure.exitcode < 0 or failure.exitcode == os.EX_TEMPFAIL
        kind = ChildProcessError if may_pass else specs.SpecError
        raise kind(f"one of {processes} processes failed: {why}") from error


def _train_here(options: argparse.Namespace) -> None:
    from ml.device import Team
    from ml.progress import print_line
    from ml.train import train

    spec = specs.read(specs.TrainSpec, options.folder)
    team = Team.from_environment()
    with team.together():
        say = print_line if team.rank == 0 else lambda _: None
        result = train(spec, options.folder, say=say, team=team, save_seconds=options.save_every)
    if team.rank == 0:
        specs.write(result, options.folder, "result.json")
        (options.folder / specs.STATE).unlink(missing_ok=True)  # last, or a kill in between would cost everything


def _predict(options: argparse.Namespace) -> None:
    from ml.predict import predict
    from ml.progress import print_line

    result = predict(specs.read(specs.PredictSpec, options.folder), options.folder, say=print_line)
    specs.write(result, options.folder, "result.json")


def _evaluate(options: argparse.Namespace) -> None:
    if options.truth or options.pred:
        _score(options)
    elif options.folder:
        _evaluate_spec(options)
    else:
        raise specs.SpecError("evaluate: expected DIR, or --truth, --pred and --classes")


def _evaluate_spec(options: argparse.Namespace) -> None:
    from ml.evaluate import evaluate
    from ml.progress import print_line

    result = evaluate(specs.read(specs.EvaluateSpec, options.folder), options.folder, say=print_line)
    specs.write(result, options.folder, "result.json")


def _score(options: argparse.Namespace) -> None:
    from ml import scoring

    if not (options.truth and options.pred and options.classes):
        raise specs.SpecError("evaluate: expected --truth, --pred and --classes together")
    names, tally = scoring.score(options.truth, options.pred, classes=options.classes)
    scenes = scoring.scene_labels(names, scoring.read_scenes(options.scenes) if options.scenes else ())
    classes = ["background", *(f"class {number}" for number in range(1, options.classes))]
    print(scoring.report(tally, scenes, names=classes, protocol=options.protocol))


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


VERBS = {"train": _train, "distil": _distil, "predict": _predict, "evaluate": _evaluate}


def _end_with_stdin() -> None:
    """Ends this process group once whoever holds the other end of stdin is gone: no orphan trains on."""
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os.killpg(os.getpgrp(), signal.SIGTERM)


def _sentence(error: Exception, options: argparse.Namespace) -> str:
    """One line, and what to do."""
    text = " ".join(str(error).split())
    if any(words in text for words in _NO_MEMORY) or isinstance(error, MemoryError):
        return f"ml {options.verb}: out of memory; lower batch, crop or the network's width ({text[:200]})"
    if any(os.strerror(code) in text for code in (errno.ENOSPC, errno.EDQUOT)):
        return f"ml {options.verb}: the disk is full; make room and start it again, it goes on ({text[:200]})"
    if isinstance(error, specs.SpecError | ArithmeticError | ChildProcessError):
        return text
    return f"ml {options.verb} failed with {type(error).__name__}: {text[:500]}; the trace is above"


if __name__ == "__main__":
    sys.exit(main())
