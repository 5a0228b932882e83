import dataclasses

import numpy as np
import pytest
import torch

from ml.checks import refuse_held_out
from ml.device import Team
from ml.networks import build
from ml.optimisation import OPTIMISERS
from ml.progress import DivergedError
from ml.spec import ConsistencySpec, NetworkSpec, Sample, SpecError, TrainSpec
from ml.steps import STEPS
from ml.train import _shuffled_for_ever, train


def _train(spec, folder, said=None):
    folder.mkdir(exist_ok=True)
    return train(spec, folder, say=(said if said is not None else []).append, team=Team())


def _weights(folder, name="checkpoint-3.pt"):
    return torch.load(folder / name, weights_only=True)["weights"]


@pytest.mark.parametrize(
    ("step", "optimiser"), [*((step, "adamw") for step in STEPS), *(("supervised", one) for one in OPTIMISERS)]
)
def test_every_step_trains_with_every_optimiser(tiny_training, tmp_path, step, optimiser):
    result = _train(dataclasses.replace(tiny_training, step=step, optimiser=optimiser), tmp_path / "run")

    assert result.checkpoint == result.checkpoints[-1]
    assert (result.steps, result.image_passes) == (3, 24)
    assert np.isfinite(result.loss)


@pytest.mark.parametrize("step", STEPS)
def test_the_same_seed_gives_the_same_weights_and_another_seed_others(tiny_training, tmp_path, step):
    spec = dataclasses.replace(tiny_training, step=step)

    for name, seed in (("first", 1), ("again", 1), ("other", 2)):
        torch.rand(3)  # the global generator must not matter
        _train(dataclasses.replace(spec, seed=seed), tmp_path / name)

    first, again, other = (_weights(tmp_path / name) for name in ("first", "again", "other"))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)


def test_checkpoints_are_left_at_thirds_and_the_last_is_the_result(tiny_training, tmp_path):
    result = _train(dataclasses.replace(tiny_training, steps=7), tmp_path / "run")

    updates = [
        int(value)
        for name in result.checkpoints
        for key, value in _weights(tmp_path / "run", name).items()
        if key == "down.0.1.num_batches_tracked"
    ]
    assert updates == [3, 5, 7]


def test_a_training_of_one_step_leaves_one_checkpoint(tiny_training, tmp_path):
    result = _train(dataclasses.replace(tiny_training, steps=1), tmp_path / "run")

    assert result.checkpoints == (result.checkpoint,)


def test_a_training_can_start_from_a_checkpoint_with_the_normalisation_it_is_used_to(toy, tiny_training, tmp_path):
    _train(tiny_training, tmp_path / "first")
    darker = dataclasses.replace(tiny_training, labelled=toy(9)[-1:], pseudo=(), steps=1, learning_rate=1e-9)

    _train(dataclasses.replace(darker, start_from="../first/checkpoint-3.pt"), tmp_path / "second")
    _train(darker, tmp_path / "fresh")

    first, second, fresh = (_weights(tmp_path / name) for name in ("first", "second", "fresh"))
    learnt = [name for name in first if name.endswith("weight")]
    assert all(torch.allclose(first[name], second[name], atol=1e-6) for name in learnt)
    assert not all(torch.allclose(first[name], fresh[name], atol=1e-6) for name in learnt)
    means = [torch.load(tmp_path / name / "checkpoint-3.pt")["facts"]["mean"] for name in ("first", "second", "fresh")]
    assert means[0] == means[1] != means[2]


def test_a_checkpoint_of_another_network_is_no_start(tiny_training, tmp_path):
    _train(tiny_training, tmp_path / "first")
    wider = dataclasses.replace(
        tiny_training, network=NetworkSpec(width=4), start_from=str(tmp_path / "first" / "checkpoint-3.pt")
    )

    with pytest.raises(SpecError, match=r"start_from: expected a checkpoint of .*width=4.*, got one of .*width=2"):
        _train(wider, tmp_path / "second")


def test_progress_ends_at_the_last_step_with_the_whole_curve(tiny_training, tmp_path):
    said = []

    result = _train(dataclasses.replace(tiny_training, steps=9, batch=2), tmp_path / "run", said)

    last = said[-1]
    assert (last.step, last.steps, last.epoch, last.epochs) == (9, 9, 5, 5)
    assert last.eta_seconds == 0
    assert last.curve == result.curve


def test_the_loss_falls_on_toy_data(toy, tiny_training, tmp_path):
    spec = dataclasses.replace(
        tiny_training, labelled=toy(8), pseudo=(), steps=60, learning_rate=0.01, optimiser="adamw"
    )

    result = _train(spec, tmp_path / "run")

    assert result.loss < 0.7 * result.curve[0][1]


@pytest.mark.parametrize("stream", ["labelled", "pseudo", "unlabelled"])
@pytest.mark.parametrize("by", ["id", "image"])
def test_a_held_out_image_stops_the_training_before_it_is_read(tiny_training, tmp_path, stream, by):
    spec = dataclasses.replace(tiny_training, step="weak_to_strong", unlabelled=(Sample("u", "u.png"),))
    stranger = getattr(spec, stream)[-1]
    spec = dataclasses.replace(spec, held_out=("other", getattr(stranger, by)))

    with pytest.raises(SpecError, match=f"sample {stranger.id}: expected training images only"):
        _train(spec, tmp_path / "run")

    assert not list((tmp_path / "run").iterdir())


def test_an_id_is_not_trained_on_twice(tiny_training):
    again = Sample(tiny_training.labelled[0].id, "x.png", "y.png")

    with pytest.raises(SpecError, match="expected every id once"):
        refuse_held_out(dataclasses.replace(tiny_training, pseudo=(again,)))


def test_exact_copies_that_share_a_file_may_both_be_trained_on(tiny_training):
    """They stopped a round on NEU-Seg, which holds four pairs of equal files."""
    sample = tiny_training.labelled[0]

    refuse_held_out(dataclasses.replace(tiny_training, pseudo=(Sample("copy", sample.image, sample.mask),)))


@pytest.mark.parametrize(
    "change",
    [
        {"step": "magic"}, {"optimiser": "magic"}, {"labelled": ()}, {"steps": 0}, {"crop": 8},
        {"learning_rate": 0.0}, {"learning_rate": float("nan")}, {"batch": 0}, {"weak": "magic"},
        {"unlabelled": (Sample("u", "u.png"),)}, {"consistency": ConsistencySpec(views=0)},
    ],
)  # fmt: skip
def test_a_training_that_cannot_run_is_refused(tiny_training, tmp_path, change):
    with pytest.raises(SpecError, match=r"expected .*, got"):
        _train(dataclasses.replace(tiny_training, **change), tmp_path / "run")


def test_a_loss_that_is_no_number_stops_the_training_with_advice(tiny_training, tmp_path):
    with pytest.raises(DivergedError, match="lower learning_rate"):
        _train(dataclasses.replace(tiny_training, learning_rate=1e30, steps=20), tmp_path / "run")


def test_the_processor_decides_about_bf16_and_the_result_says_so(tiny_training, tmp_path):
    result = _train(tiny_training, tmp_path / "run")

    has_bf16 = bool({"avx512_bf16", "amx_bf16"} & {name for name, has in torch.cpu.get_capabilities().items() if has})
    if not torch.cuda.is_available():
        assert result.device == ("cpu bf16" if has_bf16 else "cpu fp32")


def test_a_stream_passes_over_everything_before_anything_comes_again():
    stream = _shuffled_for_ever(5, 3, np.random.default_rng(0), [])

    drawn = [index for _ in range(5) for index in next(stream)]

    assert [sorted(drawn[start : start + 5]) for start in (0, 5, 10)] == [[0, 1, 2, 3, 4]] * 3


def test_pseudo_labelled_images_come_on_top_of_the_labelled_ones(tiny_training: TrainSpec):
    """They once took half of the batch: the labels were seen half as often, and pseudo-labels made models worse."""
    assert tiny_training.shares == (4, 4, 0)
    assert dataclasses.replace(tiny_training, pseudo=()).shares == (4, 0, 0)


def test_the_result_says_with_what_weights_the_training_began(tiny_training, tmp_path):
    network = NetworkSpec("smp_fpn")
    encoder = build(network, classes=3).encoder
    torch.save({key: one * 0 + 0.5 for key, one in encoder.state_dict().items()}, tmp_path / "encoder.pt")
    spec = dataclasses.replace(tiny_training, network=network, steps=1, learning_rate=1e-9)

    fresh = _train(spec, tmp_path / "fresh")
    given = _train(dataclasses.replace(spec, encoder_weights="../encoder.pt"), tmp_path / "given")

    assert fresh.began == "from scratch"
    assert given.began.startswith("encoder: weights of ")
    assert _weights(tmp_path / "given", given.checkpoint)["encoder.conv1.weight"].mean() == pytest.approx(0.5)
    with pytest.raises(SpecError, match="start_from or encoder_weights, got both"):
        _train(dataclasses.replace(spec, encoder_weights="imagenet", start_from="x.pt"), tmp_path / "both")
