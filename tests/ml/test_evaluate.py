import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image

from ml import metrics
from ml.device import choose
from ml.evaluate import evaluate
from ml.inference import load_models, probabilities
from ml.spec import EvaluateSpec, SpecError


@pytest.fixture
def spec(toy, toy_checkpoints):
    classes = ("square", "disc")
    return EvaluateSpec(classes=classes, checkpoints=toy_checkpoints(2), samples=toy(5), batch=2, threads=1)


def test_every_checkpoint_gets_figures_from_the_counts_of_all_images(spec, tmp_path):
    result = evaluate(spec, tmp_path, say=lambda _: None)

    assert [one.checkpoint for one in result.figures] == ["0.pt", "1.pt"]
    assert result.images == 5
    with np.load(tmp_path / result.per_image) as counts:
        assert counts["ids"].tolist() == [sample.id for sample in spec.samples]
        for which, one in enumerate(result.figures):
            assert counts[str(which)].shape == (5, 3, 3)
            np.testing.assert_array_equal(counts[str(which)].sum(axis=0), one.confusion)
            assert one.miou == pytest.approx(metrics.mean_iou(np.array(one.confusion), background=True))
    assert result.figures[0].confusion != result.figures[1].confusion


def test_counts_are_those_of_the_model_on_each_image(spec, tmp_path):
    evaluate(spec, tmp_path, say=lambda _: None)

    compute = choose(1)
    models, _ = load_models(spec, tmp_path, compute)
    image, truth = (np.array(Image.open(path)) for path in (spec.samples[3].image, spec.samples[3].mask))
    found = probabilities(models[1], torch.from_numpy(image)[None, None], flip=False, compute=compute)
    expected = metrics.confusion(truth, found.argmax(1)[0].numpy().astype(np.uint8), 3)
    with np.load(tmp_path / "confusions.npz") as counts:
        # bf16 rounds another way in a batch of another size: a few pixels on a class boundary.
        assert np.abs(counts["1"][3] - expected).sum() <= 0.02 * expected.sum()


def test_pixels_to_ignore_are_not_counted(spec, tmp_path):
    truth = np.zeros((40, 40), np.uint8)
    truth[:, 10:] = 255
    Image.fromarray(truth).save(tmp_path / "truth.png")
    sample = dataclasses.replace(spec.samples[0], mask="truth.png")

    result = evaluate(dataclasses.replace(spec, samples=(sample,)), tmp_path, say=lambda _: None)

    assert np.sum(result.figures[0].confusion) == 400


def test_truth_of_nothing_but_ignored_pixels_gives_no_figures(spec, tmp_path):
    Image.fromarray(np.full((40, 40), 255, np.uint8)).save(tmp_path / "truth.png")
    sample = dataclasses.replace(spec.samples[0], mask="truth.png")

    with pytest.raises(SpecError, match="expected pixels that count, got masks of 255"):
        evaluate(dataclasses.replace(spec, samples=(sample,)), tmp_path, say=lambda _: None)

    assert not (tmp_path / "confusions.npz").exists()


def test_a_sample_without_truth_is_refused(spec, tmp_path):
    sample = dataclasses.replace(spec.samples[0], mask=None)

    with pytest.raises(SpecError, match="expected a mask, got none"):
        evaluate(dataclasses.replace(spec, samples=(sample,)), tmp_path, say=lambda _: None)
