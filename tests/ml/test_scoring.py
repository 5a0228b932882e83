"""The five seeds' protocols against their authors' own formulas, and the command that prints them side by side."""

import json

import cv2
import numpy as np
import pytest
from PIL import Image

from ml import scoring
from ml.__main__ import main
from ml.protocols import PROTOCOLS

K = 4


def _blobs(rng):
    noise = [cv2.GaussianBlur(rng.standard_normal((40, 48)), (0, 0), 4) for _ in range(K)]
    return np.argmax(np.stack(noise) + np.array([0.05, 0, 0, 0])[:, None, None], axis=0).astype(np.uint8)


def _pairs(seed, images=6):
    """Predictions are right on some pixels and another picture elsewhere; the last two truths are empty."""
    rng = np.random.default_rng(seed)
    truths = [_blobs(rng) for _ in range(images)]
    truths[-1][:], truths[-2][:] = 0, 0
    founds = [np.where(rng.random(truth.shape) < 0.7, truth, _blobs(rng)).astype(np.uint8) for truth in truths]
    founds[-1][:] = 0
    return truths, founds


def _tally(truths, founds, classes=K):
    return scoring.stacked([scoring.tally(*pair, classes) for pair in zip(truths, founds, strict=True)])


def _fast_hist(truth, found):
    """PPL tools/utils.py and FastSegFormer utils/utils_metrics.py@e004293, lines 31-33."""
    kept = truth < K
    return np.bincount(K * truth[kept].astype(int) + found[kept], minlength=K**2).reshape(K, K)


@pytest.mark.parametrize("seed", range(4))
def test_ppl_is_the_whole_set_with_background_and_without_what_nobody_shows(seed):
    truths, founds = _pairs(seed)
    for mask in (*truths, *founds):
        mask[mask == 2] = 0
    hist = sum(map(_fast_hist, truths, founds))
    with np.errstate(invalid="ignore"):
        expected = np.nanmean(np.diag(hist) / (hist.sum(1) + hist.sum(0) - np.diag(hist)))

    assert PROTOCOLS["ppl"].figures(_tally(truths, founds))["mIoU"] == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(4))
def test_fastsegformer_counts_an_absent_class_as_zero(seed):
    truths, founds = _pairs(seed)
    for mask in (*truths, *founds):
        mask[mask == 2] = 0
    hist = sum(map(_fast_hist, truths, founds))
    iou = np.diag(hist) / np.maximum(hist.sum(1) + hist.sum(0) - np.diag(hist), 1)
    recall = np.diag(hist) / np.maximum(hist.sum(1), 1)

    figures = PROTOCOLS["fastsegformer"].figures(_tally(truths, founds))

    assert figures == pytest.approx({"mIoU": np.nanmean(iou), "mPA": np.nanmean(recall)})


@pytest.mark.parametrize("seed", range(4))
def test_mff_metal_leaves_background_out(seed):
    """MFF-Metal metric.py@5b5a5f2, lines 4-16, and the mean of train.py's eval."""
    truths, founds = _pairs(seed)
    sums = np.zeros((2, 3))
    for truth, found in zip(truths, founds, strict=True):
        for of in range(3):
            a, b = found == of + 1, truth == of + 1
            sums[:, of] += np.logical_and(a, b).sum(), np.logical_or(a, b).sum()

    figures = PROTOCOLS["mff-metal"].figures(_tally(truths, founds))

    assert figures["mIoU defects"] == pytest.approx((sums[0] / sums[1]).mean())


@pytest.mark.parametrize("seed", range(4))
def test_mcff_l_grows_the_label_for_precision_and_not_for_recall(seed):
    """MCFF-L Metrics.py@bd5f0de, lines 28-86, for a batch of one."""
    truths, founds = _pairs(seed)
    expected = []
    for truth, found in zip(truths, founds, strict=True):
        y_true, y_pred = (truth > 0).astype(np.uint8), (found > 0).astype(np.uint8)
        grown = cv2.dilate(y_true, np.ones((5, 5), np.uint8))
        precision = (y_pred * grown).sum() / (y_pred.sum() + 1e-8)
        recall = (y_true * y_pred).sum() / (y_true.sum() + 1e-8)
        union = (
            (grown * y_pred).sum() + (y_true.sum() - (y_true * y_pred).sum()) + (y_pred.sum() - (grown * y_pred).sum())
        )
        iou = (grown * y_pred).sum() / (union + 1e-8)
        expected.append((2 * precision * recall / (precision + recall + 1e-8), iou))
    f1, iou = np.mean(expected, axis=0)

    figures = PROTOCOLS["mcff-l"].figures(_tally(truths, founds))

    assert figures == pytest.approx({"F1": f1, "IoU": iou}, abs=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_neu_det_flattens_the_channels_of_an_image(seed):
    truths, founds = _pairs(seed)
    dice, iou = [], []
    for truth, found in zip(truths, founds, strict=True):
        t, p = (np.stack([mask == of for of in range(1, K)]).ravel() for mask in (truth, found))
        dice.append(2 * (t & p).sum() / (t.sum() + p.sum()) if t.any() else float(not p.any()))
        iou.append((t & p).sum() / (t | p).sum() if t.any() else np.nan)

    figures = PROTOCOLS["neu-det"].figures(_tally(truths, founds))

    assert figures == pytest.approx({"Dice": np.mean(dice), "IoU": np.nanmean(iou)})


def test_the_same_run_scores_differently_under_every_protocol():
    tally = _tally(*_pairs(0))

    figures = [value for one in PROTOCOLS.values() for value in one.figures(tally).values()]

    assert np.ptp(figures) > 0.1


def test_pixels_to_ignore_count_under_no_protocol():
    truths, founds = _pairs(0)
    ignored = [truth.copy() for truth in truths]
    for truth in ignored:
        truth[:, 30:] = 255
    others = [np.where(truth == 255, 3, found).astype(np.uint8) for truth, found in zip(ignored, founds, strict=True)]

    figures, same = _tally(ignored, founds), _tally(ignored, others)

    for name in ("confusion", "boundaries", "tolerant"):
        np.testing.assert_array_equal(getattr(figures, name), getattr(same, name))
    assert figures.confusion.sum() == 6 * 40 * 30


@pytest.fixture
def folders(tmp_path):
    truths, founds = _pairs(0)
    for kind, masks in (("truth", truths), ("pred", founds)):
        (tmp_path / kind / "lot 1").mkdir(parents=True)
        for number, mask in enumerate(masks):
            Image.fromarray(mask).save(tmp_path / kind / "lot 1" / f"{number}.png")
    return tmp_path


def _evaluate(folders, *more):
    return main(
        ["evaluate", "--truth", str(folders / "truth"), "--pred", str(folders / "pred"), "--classes", "4", *more]
    )


def test_evaluate_prints_every_protocol_side_by_side(folders, capsys):
    scenes = [["images/lot 1/0.jpg", "images/lot 1/1.jpg"], ["images/lot 1/2.jpg"]]
    (folders / "scenes.json").write_text(json.dumps(scenes))

    assert _evaluate(folders, "--scenes", str(folders / "scenes.json")) == 0

    printed = capsys.readouterr().out
    assert "6 images, 5 scenes" in printed
    tally = _tally(*_pairs(0))
    for name, protocol in PROTOCOLS.items():
        (line,) = [line for line in printed.splitlines() if line.startswith(f"{name} ")]
        assert protocol.source in line
        for figure, value in protocol.figures(tally).items():
            assert f"{figure} {100 * value:.2f}" in line


def test_evaluate_prints_one_protocol_where_it_is_named(folders, capsys):
    assert _evaluate(folders, "--protocol", "mcff-l") == 0

    printed = capsys.readouterr().out
    assert "mcff-l" in printed
    assert "fastsegformer" not in printed


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda pred: (pred / "2.png").unlink(), "1 are missing, the first is lot 1/2.png; predict them too"),
        (lambda pred: Image.new("L", (3, 3)).save(pred / "2.png"), "2.png: expected truth and prediction of one shape"),
        (lambda pred: Image.new("L", (48, 40), 4).save(pred / "2.png"), "expected predictions in 0..3, got 4"),
        (lambda pred: Image.new("RGB", (48, 40)).save(pred / "2.png"), "expected class indices"),
        (lambda pred: (pred / "2.png").write_text("no picture"), "cannot be read"),
    ],
)
def test_evaluate_says_which_file_is_wrong(folders, capsys, spoil, sentence):
    spoil(folders / "pred" / "lot 1")

    assert _evaluate(folders) == 1

    (line,) = capsys.readouterr().err.splitlines()
    assert sentence in line


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["evaluate"], "expected DIR, or --truth"),
        (["evaluate", "--truth", "."], "--truth, --pred and --classes together"),
        (["evaluate", "--truth", "nowhere", "--pred", ".", "--classes", "3"], "expected index masks (PNG), found none"),
    ],
)
def test_evaluate_says_what_it_needs(arguments, sentence, capsys):
    assert main(arguments) == 1
    assert sentence in capsys.readouterr().err
