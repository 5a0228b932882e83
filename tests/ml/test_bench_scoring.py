"""The bench of reliability scoring, on the toy pictures and on generated surfaces; nothing is faked."""

import dataclasses
import json

import numpy as np
import pytest

from ml import synthetic
from ml.__main__ import main
from ml.bench import scoring
from ml.spec import PredictSpec

SHORT = {"steps": 3, "batch": 2, "crop": 64}


def test_the_published_loop_and_a_prediction_score_alike(toy, toy_checkpoints, tmp_path):
    spec = PredictSpec(("square", "disc"), toy_checkpoints(3), toy(30), batch=8, stable="masks", threads=1)

    rival = np.array(scoring.published(spec, tmp_path))
    exact, rounded = (
        np.array(scoring.ours(dataclasses.replace(spec, precision=one), tmp_path)) for one in ("fp32", "bf16")
    )

    assert len(set(rival.round(6))) == 30, "scores that are all the same would agree with anything"
    np.testing.assert_allclose(exact, rival, atol=1e-4)
    assert scoring.spearman(exact, rival) > 0.999
    assert np.abs(rounded - rival).max() > 1e-4, "bf16 was asked for"
    assert scoring.spearman(rounded, rival) > 0.9
    assert len(list((tmp_path / "published").glob("*.png"))) == 30


def test_ties_share_their_mean_rank():
    one, other = np.array([1.0, 2, 2, 3]), np.array([1.0, 2, 3, 4])

    assert scoring.spearman(one, one) == pytest.approx(1)
    assert scoring.spearman(one, -one) == pytest.approx(-1)
    assert scoring.spearman(one, other) == pytest.approx(4.5 / (4.5 * 5) ** 0.5)


@pytest.mark.timeout(240)
def test_bench_scoring_leaves_figures_a_table_and_a_picture_and_keeps_its_models(tmp_path):
    synthetic.generate(tmp_path / "surfaces", images=20, size=200, seed=0)
    told = [
        "bench", "scoring", str(tmp_path / "surfaces"), "--recipes", "ppl", "--labels", "4", "--threads", "1",
        "--train", json.dumps(SHORT), "--work", str(tmp_path / "work"), "--out", str(tmp_path), "--images",
    ]  # fmt: skip
    assert main([*told, "2"]) == 0
    trained = (tmp_path / "work" / "ppl" / "result.json").stat().st_mtime_ns
    assert main([*told, "16"]) == 0

    (row,) = json.loads((tmp_path / "scoring.json").read_text())["rows"]
    assert list(row["arms"]) == [scoring.RIVAL, *scoring.OURS]
    assert row["arms"][scoring.RIVAL]["ratio"] == 1
    assert row["arms"]["fp32"]["spearman"] > 0.999
    assert row["arms"]["foreground, auto"]["processor_ratio"] > 1, "half of what was measured on two quiet cores"
    assert "| ppl | half_unet, 1 ch. | 1 | bf16 |" in (tmp_path / "scoring.md").read_text()
    assert (tmp_path / "scoring.svg").read_text().count("<rect") == 1 + len(row["arms"])
    assert (tmp_path / "work" / "ppl" / "result.json").stat().st_mtime_ns == trained


def test_a_folder_with_too_few_masks_is_refused_in_a_sentence(tmp_path, capsys):
    synthetic.generate(tmp_path / "few", images=7, size=32, seed=0)

    assert main(["bench", "scoring", str(tmp_path / "few"), "--labels", "4", "--images", "4", "--out", str(tmp_path)])

    assert "expected 4 images with masks to train on and 4 to score, got 7" in capsys.readouterr().err
