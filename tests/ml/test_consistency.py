import dataclasses

import pytest
import torch
from torch.testing import assert_close

from ml import steps
from ml.consistency import Guide
from ml.device import Team
from ml.losses import cross_entropy
from ml.networks import Segmenter, build
from ml.spec import ConsistencySpec, NetworkSpec, TrainSpec
from ml.steps import Batch, supervised, weak_to_strong

CPU = torch.device("cpu")


class Says(torch.nn.Module):
    """A teacher whose logits are what it is shown: a picture of three channels for three classes."""

    def forward(self, pictures):
        return pictures


def _guide(teacher, steps=100, **consistency):
    spec = TrainSpec(classes=("a", "b"), labelled=(), steps=steps, consistency=ConsistencySpec(**consistency))
    return Guide(teacher, spec, device=CPU, team=Team())


def _logits(*probabilities):
    """(1, 3, 1, P): a pixel for each triple."""
    return torch.tensor(probabilities).log().T[None, :, None, :]


def _original_thresholds(batches, memory):
    """FreeMatch's equations 6 to 8 in loops, means by the class a pixel is called and short at first."""
    mean, of_class, seen, seen_class = 1 / 3, [1 / 3] * 3, 0, [0] * 3
    for logits in batches:
        sure, called = logits.softmax(dim=1).max(dim=1)
        decay = min(memory, (1 + seen) / (10 + seen))
        mean, seen = decay * mean + (1 - decay) * sure.mean(), seen + 1
        for c in range(3):
            if (called == c).any():
                decay = min(memory, (1 + seen_class[c]) / (10 + seen_class[c]))
                of_class[c] = decay * of_class[c] + (1 - decay) * sure[called == c].mean()
                seen_class[c] += 1
    return [mean * one / max(of_class) for one in of_class]


@pytest.mark.parametrize("memory", [0.999, 0.3])
def test_thresholds_are_the_published_ones_with_their_corrections(memory):
    rng = torch.Generator().manual_seed(0)
    guide = _guide(Says(), memory=memory)
    batches = [2 * torch.randn(2, 3, 8, 8, generator=rng) for _ in range(20)]
    batches[3][:, 2] = -9.0  # nothing is called the last class

    for logits in batches:
        guide.answer(logits, torch.zeros(2, 8, 8, dtype=torch.uint8))

    assert_close(guide.thresholds(), torch.tensor(_original_thresholds(batches, memory)))


def test_a_class_of_which_the_teacher_is_less_sure_than_of_others_needs_less():
    guide = _guide(Says(), memory=0.0)
    logits = _logits((0.99, 0.005, 0.005), (0.95, 0.03, 0.02), (0.2, 0.7, 0.1), (0.3, 0.5, 0.2))

    masks, _ = guide.answer(logits, torch.zeros(1, 1, 4, dtype=torch.uint8))

    # Mean certainty .785; of background .97, of class 1 .6: it needs .486, where background needs .785.
    assert_close(guide.thresholds()[:2], torch.tensor([0.785, 0.785 * 0.6 / 0.97]))
    assert masks.tolist() == [[[0, 0, 1, 1]]]


def test_nothing_is_said_of_pixels_that_show_nothing_and_none_is_learnt_from_them():
    logits = _logits((0.99, 0.005, 0.005), (0.1, 0.9, 0.0001))
    outside = torch.tensor([[[0, 255]]], dtype=torch.uint8)
    guide = _guide(Says(), memory=0.0)

    masks, _ = guide.answer(logits, outside)

    assert masks.tolist() == [[[0, 255]]]
    assert guide.thresholds()[1] < 0.5  # as it began


def test_the_teacher_is_asked_in_evaluation_mode_and_its_figures_stay():
    model = _model()
    before = {name: value.clone() for name, value in model.state_dict().items()}

    _guide(model).answer(torch.rand(2, 1, 32, 32), torch.zeros(2, 32, 32, dtype=torch.uint8))

    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert model.training


def test_unlabelled_images_come_to_count_after_the_warm_up():
    guide = _guide(Says(), steps=10, warm_up=0.2, ramp=0.4, weight=2.0)
    weights = []
    for _ in range(10):
        guide.answer(_logits((0.9, 0.05, 0.05)), torch.zeros(1, 1, 1, dtype=torch.uint8))
        weights.append(round(guide.weight(), 6))

    assert weights == [0.0, 0.0, 0.0, 0.5, 1.0, 1.5, 2.0, 2.0, 2.0, 2.0]


def _model():
    torch.manual_seed(0)
    return Segmenter(build(NetworkSpec(width=2), classes=3), mean=(0.5,), std=(0.25,)).train()


def _batch(guide, unlabelled=2, size=32):
    rng = torch.Generator().manual_seed(0)
    pictures = torch.rand(2 + unlabelled, 1, size, size, generator=rng)
    masks = torch.randint(0, 3, (2, size, size), generator=rng).to(torch.uint8)
    nothing = torch.zeros(0, 1, size, size), torch.zeros(0, size, size)
    inside = torch.zeros(unlabelled, size, size, dtype=torch.uint8)
    return Batch(
        pictures[:2], masks, *nothing, pseudo_weight=0.5, unlabelled=(pictures[2:], inside), guide=guide,
        loss=cross_entropy,
    )  # fmt: skip


def _loss(step, model, batch):
    return step(model.eval(), batch, torch.Generator().manual_seed(1))


def test_in_the_warm_up_the_loss_is_that_of_the_labels_alone():
    model = _model()

    warming = _loss(weak_to_strong, model, _batch(_guide(model, warm_up=0.5)))
    later = _loss(weak_to_strong, model, _batch(_guide(model, warm_up=0.0, ramp=0.0)))

    assert_close(warming, _loss(supervised, model, _batch(None)))
    assert later > warming


def test_pixels_of_which_the_teacher_is_unsure_dilute_the_loss_of_the_others(monkeypatch):
    """Sum over the sure pixels, divided by all: with few of them sure, unlabelled images hardly count."""
    monkeypatch.setattr(steps, "strong", lambda images, _: images)
    monkeypatch.setattr(steps, "cut_and_mix", lambda images, told, *_, **__: (images, told))
    model, teacher = _model().eval(), Says()
    teacher.forward = lambda _: 2 * torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(4))
    still = dataclasses.replace(_batch(None), weak=lambda images, masks, _: (images, masks))

    guide = _guide(teacher, warm_up=0.0, ramp=0.0, views=1)
    found = _loss(weak_to_strong, model, dataclasses.replace(still, guide=guide))

    pictures, inside = still.unlabelled
    told, _ = _guide(teacher).answer(pictures, inside)
    each = torch.nn.functional.cross_entropy(model(pictures), told.long(), ignore_index=255, reduction="none")
    assert 0 < (told == 255).sum() < told.numel()
    assert_close(found, _loss(supervised, model, still) + each.sum() / told.numel())


def test_every_view_is_of_its_own(monkeypatch):
    seen = []
    whole = steps.cut_and_mix
    monkeypatch.setattr(steps, "cut_and_mix", lambda *a, **k: seen.append(whole(*a, **k)) or seen[-1])

    weak_to_strong(_model(), _batch(_guide(_model(), views=3)), torch.Generator().manual_seed(0))

    assert len({images.numpy().tobytes() for images, _ in seen}) == 3
