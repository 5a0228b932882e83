"""The verbs that do what DIR/spec.json says and leave DIR/result.json: train, distil, predict, evaluate.

`evaluate` also scores masks that somebody else made.
"""

import argparse
import os
import signal
from pathlib import Path
from typing import Any

from ml import spec as specs
from ml.protocols import PROTOCOLS


def add_verbs(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Each takes a folder; `run` is what it does with its options."""
    for verb, run in _VERBS.items():
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


def _score_options(evaluate: argparse.ArgumentParser) -> None:
    evaluate.add_argument("--truth", type=Path, help="instead of DIR: a folder of index masks (PNG)")
    evaluate.add_argument("--pred", type=Path, help="a folder of predicted masks of the same names")
    evaluate.add_argument("--classes", type=int, help="how many, background included")
    evaluate.add_argument("--protocol", default="all", choices=("all", *PROTOCOLS), help="of a seed system")
    evaluate.add_argument("--scenes", type=Path, help="what `scenes` wrote; without it every image is a scene")


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


_VERBS = {"train": _train, "distil": _distil, "predict": _predict, "evaluate": _evaluate}
