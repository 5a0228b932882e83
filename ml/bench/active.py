"""How many labels each way of asking needs, on a pool with duplicates and on one image a scene, same test images.

Simulated campaigns, as many seeds at a time as there are processes, the two pools in turn: whatever is cut off tells of
both. What is finished is not computed again.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ml import chart, simulation_report
from ml import learning_curves as curves
from ml import spec as specs
from ml.acquisition import DEFAULT
from ml.bench import campaigns
from ml.simulation import PLAN, Plan
from ml.simulation_report import REACHED, Arm, around, recipe_and_strategy, trained_with

RANDOM = "random"
DUPLICATES, UNIQUE = "with duplicates", "one image a scene"
# By pool: what is compared beside random and the default, unless named, and the share of random's labels with which the
# default is to do. Of single images a random choice over scenes is a random choice.
OTHERS = {DUPLICATES: ("random_scenes", "entropy"), UNIQUE: ("entropy",)}
GOALS = {DUPLICATES: 0.60, UNIQUE: 0.85}


def measure(
    folder: Path, work: Path, *, recipe: str, budgets: Sequence[str], seeds: Sequence[str], processes: int,
    others: Sequence[str] | None = None, told: Sequence[str],
) -> Iterator[dict[str, Any]]:  # fmt: skip
    """By pool the report of its campaigns, and the labels they need, JSON-ready: whenever there is more.

    budgets: labels, or shares of the training images of either pool, as 1/8.  others: strategies beside random and the
    default; None = those of the pool in OTHERS.  told: further words to `simulate`.
    """
    found: dict[str, Any] = {}
    for count in [*range(processes, len(seeds), processes), len(seeds)]:
        words = [
            str(folder), "--recipes", recipe, "--budgets", *budgets, "--seeds", *seeds[:count],
            "--processes", str(processes), *told,
        ]  # fmt: skip
        for pool, usual in OTHERS.items():
            strategies = dict.fromkeys((RANDOM, *(usual if others is None else others), DEFAULT))
            ours = [*words, "--acquisitions", *strategies, "--title", f"Labels needed: {pool}"]
            if pool == UNIQUE:
                ours += _one_a_scene(work)
            report = campaigns.report(work, pool.replace(" ", "-"), ours)
            found[pool] = {"report": report, "goal": GOALS[pool], "needed": _needed(report)}
            yield dict(found)


def table(figures: dict[str, Any]) -> str:
    """The figures as a page in Markdown."""
    lines = ["# Labels needed, by way of asking", "", *_how(figures), ""]
    for pool, one in figures.items():
        lines += [*_of_pool(pool, one), ""]
    return "\n".join([*lines, "![Learning curves](active.svg)", ""])


def picture(figures: dict[str, Any]) -> str:
    """The learning curves of either pool as SVG, below each other, with what is to be reached."""
    pictures = {}
    for pool, one in figures.items():
        told = one["report"]
        arms = [
            Arm(_strategy(arm), tuple(arm["seeds"]), tuple(arm["budgets"]), np.array(arm["miou"]), arm["image_passes"])
            for arm in told["arms"]
        ]
        low, high = one["needed"][RANDOM]["labels"]
        goal = one["goal"] * high if low == high else None
        pictures[f"{pool}: {_verdict(one)}"] = simulation_report.picture(arms, told["full_miou"], goal=goal)
    return chart.below_each_other(pictures)


def _one_a_scene(work: Path) -> list[str]:
    """Words to `simulate`: the split of the pool with duplicates, the first image of each of its training scenes."""
    plan = specs.read(Plan, work / DUPLICATES.replace(" ", "-"), PLAN)
    trained = set(plan.train)
    firsts = [min(held) for scene in plan.scenes if (held := trained & set(scene))]
    splits = {"train": firsts, "val": sorted({*plan.held_out} - {*plan.test}), "test": plan.test}
    paths = {"--splits": work / "one-image-a-scene.json", "--scenes": work / "scenes.json"}
    for path, told in zip(paths.values(), (splits, plan.scenes), strict=True):
        path.write_text(json.dumps(told))
    return [word for name, path in paths.items() for word in (name, str(path))]


def _needed(report: Mapping[str, Any]) -> dict[str, Any]:
    """By strategy, labels to 95 % of full and their share of random's: between what they lie, and 95 % intervals.

    An upper end of null: none is known. Intervals, by a bootstrap over seeds that draws all arms alike, from two on.
    """
    full = np.array(report["full"])
    seeds = len(full)
    draws = [np.arange(seeds), *curves.seeds_drawn(seeds, np.random.default_rng(0))]
    labels = {
        _strategy(arm): [_labels(arm["budgets"], np.array(arm["miou"])[drawn], full[drawn]) for drawn in draws]
        for arm in report["arms"]
    }
    needs = {}
    for name, own in labels.items():
        ratios = [curves.ratio(one, other) for one, other in zip(own, labels[RANDOM], strict=True)]
        needs[name] = {
            "labels": _finite(own[0]),
            "labels_interval": _finite(curves.interval(own[1:])) if seeds > 1 else None,
            "ratio": _finite(ratios[0]),
            "ratio_interval": _finite(curves.interval(ratios[1:])) if seeds > 1 else None,
        }
    return needs


def _labels(budgets: Sequence[int], heights: curves.Floats, full: curves.Floats) -> curves.Between:
    return curves.needed(budgets, heights.mean(axis=0).tolist(), REACHED * float(full.mean()))


def _finite(one: curves.Between) -> list[float | None]:
    return [end if np.isfinite(end) else None for end in one]


def _how(figures: dict[str, Any]) -> Iterator[str]:
    told = figures[DUPLICATES]["report"]
    passes = sum(one["report"]["image_passes"] for one in figures.values())
    recipe, _ = recipe_and_strategy(told["arms"][0]["name"])
    yield f"`python -m ml bench active`, commit {', '.join(told['commit'])}, recipe {recipe};"
    yield f"{told['data']}; {told['hardware']}; {passes:,} image passes."
    yield f"Training settings: {trained_with(told)}; each training takes the same passes, whatever its labels."
    yield "Last weights; test decided nothing. The first batch is alike for all, at random over scenes, which favours"
    yield "`random`."
    yield ""
    yield "Labels to 95 % of what all labels of the pool give: on the mean curve, made to grow by pooling neighbours"
    yield "that fall, straight between two budgets, never beyond the last; in brackets 95 % intervals by a bootstrap"
    yield "over seeds, paired. Below numbers of labels: test mIoU with background, percent, mean over seeds; areas with"
    yield "half of their 95 % interval (Student's t)."


def _of_pool(pool: str, one: dict[str, Any]) -> Iterator[str]:
    told, needs = one["report"], one["needed"]
    yield f"## {pool[0].upper()}{pool[1:]}"
    yield ""
    yield f"{told['images']['train']:,} training images of {told['scenes']['train']:,} scenes, {told['images']['test']}"
    yield f"test images of {told['scenes']['test']}. Seeds {', '.join(map(str, told['seeds']))}. All labels,"
    yield f"supervised: {around(told['full_miou'], told['full_half_width'])}."
    yield f"Goal: `{DEFAULT}` with at most {100 * one['goal']:.0f} % of the labels of `{RANDOM}`: {_verdict(one)}."
    yield ""
    budgets = told["arms"][0]["budgets"]
    yield f"| | labels to 95 % of full | of random's | area under the curve | {' | '.join(map(str, budgets))} |"
    yield f"|---|---|---|---|{'---|' * len(budgets)}"
    for arm in told["arms"]:
        own = needs[_strategy(arm)]
        share = "" if _strategy(arm) == RANDOM else _between(own["ratio"], own["ratio_interval"], percent=True)
        means = (f"{100 * mean:.1f}" for mean in arm["mean"])
        yield (
            f"| {_strategy(arm)} | {_between(own['labels'], own['labels_interval'])} | {share} | "
            f"{around(arm['area'], arm['area_half_width'])} | {' | '.join(means)} |"
        )
    yield ""
    yield f"Differences in area, points; p by an exact sign-flip test over paired seeds, not below {_fewest(told):.2g}"
    yield "here, corrected for all pairs of the pool (Holm)."
    yield ""
    yield "| | difference | p corrected |"
    yield "|---|---|---|"
    for pair in told["pairs"]:
        names = " - ".join(recipe_and_strategy(pair[which])[1] for which in ("first", "second"))
        yield f"| {names} | {100 * pair['difference']:+.1f} | {pair['p_holm']:.3f} |"


def _verdict(one: dict[str, Any]) -> str:
    """Whether the default does with as few labels as it should, with the share of random's that it needs."""
    own, goal = one["needed"][DEFAULT], one["goal"]
    low, high = own["ratio"]
    said = _between(own["ratio"], own["ratio_interval"], percent=True)
    if low > goal:
        return f"missed, {said}"
    if high is None or high > goal:
        return f"open, {said}"
    _, end = own["ratio_interval"] or (None, None)
    return f"met, {said}" if end and end <= goal else f"met by the mean, not by the whole interval, {said}"


def _between(one: Sequence[float | None], interval: Sequence[float | None] | None, *, percent: bool = False) -> str:
    """Between what a number lies, with its interval in brackets."""
    return _ends(one, percent=percent) + (f" [{_ends(interval, percent=percent)}]" if interval else "")


def _ends(one: Sequence[float | None], *, percent: bool) -> str:
    low, high = (None if end is None else f"{100 * end:.0f} %" if percent else f"{end:.0f}" for end in one)
    if high is None:
        return f"> {low}" if one[0] else "not known"
    if not one[0]:
        return f"at most {high}"
    return high if low == high else f"{low} to {high}"


def _fewest(told: Mapping[str, Any]) -> float:
    return float(2 / 2 ** len(told["seeds"]))


def _strategy(arm: Mapping[str, Any]) -> str:
    return recipe_and_strategy(arm["name"])[1]
