"""The page and the picture of `python -m ml bench student`, from its figures."""

import json
import math
from collections.abc import Iterator
from typing import Any

from ml import chart
from ml.simulation_report import around

# Without background, full labels, official split of NEU-Seg, on which MFF-Metal's authors publish .8771. That split
# leaks: of one that does not they say nothing.
GOALS = {0.877: "goal 87.7 %", 0.885: "better 88.5 %"}
TAUGHT = "taught"  # role of the student that had a teacher


def table(figures: dict[str, Any]) -> str:
    """The figures as a page in Markdown."""
    return "\n".join([
        "# A small network, taught", "", *_how(figures), "", *_rows(figures), "", *_pairs(figures), "",
        "![Quality over cost](student.svg)", "",
    ])  # fmt: skip


def picture(figures: dict[str, Any]) -> str:
    """Mean IoU without background over multiplications as SVG, with 95 % intervals over scenes."""
    rows = figures["rows"]
    found = figures["look_up"]
    levels = {**GOALS, found["miou_foreground"]: "looked up"} if found["shared"] else {}
    places = [math.log10(row["gmacs"]) for row in rows]
    ends = [end for row in rows for end in row["interval"] or [row["miou_foreground"]]]
    margin = 0.1  # of a power of ten
    plane = chart.Plane(min(places) - margin, max(places) + margin, min(*ends, *levels), max(*ends, *levels))
    ticks = {math.log10(one): f"{one:g}" for power in range(-3, 4) for one in (10**power, 2 * 10**power, 5 * 10**power)}
    shown = {place: said for place, said in ticks.items() if plane.left <= place <= plane.right}
    parts = [*plane.levels(levels), *plane.scales(shown, "GMAC")]
    for number, (place, row) in enumerate(zip(places, rows, strict=True)):
        colour = chart.colour(number)
        # Taught and alone are one network: side by side.
        across = plane.x(place) + 6 * (row["role"] == TAUGHT)
        if row["interval"]:
            parts.append(plane.bar(across, row["interval"], colour))
        parts.append(f'<circle cx="{across:.1f}" cy="{plane.y(row["miou_foreground"]):.1f}" r="4" fill="{colour}"/>')
    return chart.picture([*parts, *chart.legend([row["name"] for row in rows])])


def _how(figures: dict[str, Any]) -> Iterator[str]:
    rows, on, images, scenes = (figures[name] for name in ("rows", "machine", "images", "scenes"))
    commits, devices = (sorted({one for row in rows for one in row[name]}) for name in ("commit", "device"))
    seeds = sorted({seed for row in rows for seed in row["seeds"]})
    own = f"; by network {json.dumps(figures['own'])}" if figures["own"] else ""
    yield f"`python -m ml bench student`, commit {', '.join(commits)}, seeds {', '.join(map(str, seeds))};"
    yield f"{on['processor']}, {on['device']}, {on['threads']} threads, {', '.join(devices)}, torch {on['torch']}."
    yield f"{figures['data']}, {figures['split']}: {images['train']:,} training images of {scenes['train']:,} scenes,"
    yield f"with all labels, {images['test']} test images of {scenes['test']}. From scratch, last weights, test decided"
    yield f"nothing. Training settings: {json.dumps(figures['settings'])}{own}."
    yield "The taught student has the passes of the others; those of its teacher, and its answers, come on top."
    yield ""
    yield "Percent, means over seeds. ±: half of the 95 % interval over seeds (Student's t); in brackets 95 % over the"
    yield "scenes of test (bootstrap). GMAC: of one picture of the size of a crop. Seconds: of one training."
    yield ""
    yield from _leak_in_words(figures)
    yield from figures["diverged"]


def _leak_in_words(figures: dict[str, Any]) -> Iterator[str]:
    found, test = figures["look_up"], figures["images"]["test"]
    if not found["shared"]:
        yield f"None of {test} test images shows a scene that a training image shows: nothing can be looked up."
        return
    yield f"**The split leaks**: {found['shared']} of {test} test images show a scene that a training image shows."
    yield f"Copying the masks from there, without learning, gives {100 * found['miou']:.1f}, without background"
    yield f"{100 * found['miou_foreground']:.1f}: read every figure beside that."
    taught = [_foreground(row) for row in figures["rows"] if row["role"] == TAUGHT]
    yield "Goal on NEU-Seg's official split, without background: 87.7, better 88.5 (MFF-Metal's authors: 87.71)."
    yield f"Here: {taught[0] if taught else 'not known yet'}."


def _rows(figures: dict[str, Any]) -> Iterator[str]:
    classes = ("background", *figures["classes"])
    yield f"| | parameters | GMAC | image passes | seconds | mIoU | without background | {' | '.join(classes)} |"
    yield f"|---|---|---|---|---|---|---|{'---|' * len(classes)}"
    for row in figures["rows"]:
        of_classes = " | ".join("" if one is None else f"{100 * one:.1f}" for one in row["iou"])
        cost = f"{row['parameters']:,} | {row['gmacs']:.2f} | {row['image_passes']:,} | {row['seconds']:,.0f}"
        whole = around(row["miou"], row["miou_half_width"])
        yield f"| {row['name']} | {cost} | {whole} | {_foreground(row)} | {of_classes} |"
    if figures["look_up"]["shared"]:
        found = figures["look_up"]
        yield (
            f"| looked up | | | | | {100 * found['miou']:.1f} | {100 * found['miou_foreground']:.1f} | "
            f"{'| ' * len(classes)}"
        )


def _pairs(figures: dict[str, Any]) -> Iterator[str]:
    if not figures["differences"]:
        return
    yield "What the taught student is ahead, without background, in points, paired by seed; p by an exact sign-flip"
    yield "test over seeds, not corrected."
    yield ""
    yield "| ahead of | seeds | difference | p |"
    yield "|---|---|---|---|"
    for pair in figures["differences"]:
        about = "" if pair["half_width"] is None else f" ± {100 * pair['half_width']:.1f}"
        ends = (
            "" if pair["interval"] is None else " [{:+.1f}, {:+.1f}]".format(*(100 * one for one in pair["interval"]))
        )
        p = f"{pair['p']:.3f}" if len(pair["seeds"]) > 1 else ""
        yield f"| {pair['second']} | {len(pair['seeds'])} | {100 * pair['difference']:+.1f}{about}{ends} | {p} |"


def _foreground(row: dict[str, Any]) -> str:
    ends = "" if row["interval"] is None else " [{:.1f}, {:.1f}]".format(*(100 * one for one in row["interval"]))
    return around(row["miou_foreground"], row["miou_foreground_half_width"]) + ends
