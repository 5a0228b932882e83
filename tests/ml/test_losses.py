import pytest
import torch
from torch.testing import assert_close

from ml.losses import LOSSES, balanced_cross_entropy, cross_entropy, dice


def _batch(seed=0, *, ignored=0.2):
    rng = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 4, 9, 7, generator=rng).requires_grad_()
    target = torch.randint(0, 4, (2, 9, 7), generator=rng)
    target[torch.rand(target.shape, generator=rng) < ignored] = 255
    return logits, target


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_is_finite_with_a_zero_gradient_when_all_is_ignored(name):
    logits, target = _batch(ignored=2.0)

    loss = LOSSES[name](logits, target)
    loss.backward()

    assert torch.isfinite(loss)
    assert_close(logits.grad, torch.zeros_like(logits))


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_falls_when_the_truth_is_predicted(name):
    logits, target = _batch()
    right = torch.nn.functional.one_hot(target.where(target != 255, 0), 4).movedim(-1, 1) * 20.0

    assert LOSSES[name](right, target) < 0.02 < LOSSES[name](logits, target)


@pytest.mark.parametrize("name", LOSSES)
def test_ignored_pixels_change_no_loss(name):
    logits, target = _batch()
    other = torch.where((target == 255)[:, None], torch.randn_like(logits) * 9, logits)

    assert_close(LOSSES[name](logits, target), LOSSES[name](other, target))


def test_cross_entropy_is_torchs_mean_over_counted_pixels():
    logits, target = _batch()

    expected = torch.nn.functional.cross_entropy(logits, target, ignore_index=255)

    assert_close(cross_entropy(logits, target), expected)


def test_balanced_cross_entropy_weighs_a_pixel_by_the_root_of_its_class_in_the_batch():
    logits, target = _batch()

    losses, weights = [], []
    for k in range(4):
        chosen = logits.movedim(1, -1)[target == k]
        weights.append(len(chosen) ** -0.5)
        losses.append(torch.nn.functional.cross_entropy(chosen, torch.full((len(chosen),), k), reduction="sum"))
    pixels = [int((target == k).sum()) for k in range(4)]
    expected = sum(w * loss for w, loss in zip(weights, losses, strict=True))

    assert_close(
        balanced_cross_entropy(logits, target), expected / sum(w * n for w, n in zip(weights, pixels, strict=True))
    )


def test_dice_is_two_intersections_over_both_sizes_per_class():
    logits, target = _batch()

    losses = []
    for k in range(4):
        p = logits.softmax(1)[:, k][target != 255]
        t = (target == k)[target != 255].float()
        losses.append(1 - 2 * (p * t).sum() / (p.sum() + t.sum()))

    assert_close(dice(logits, target), torch.stack(losses).mean())


def test_dice_leaves_classes_that_the_batch_does_not_show_to_the_cross_entropy():
    logits, target = _batch()
    target[target == 2] = 255

    losses = []
    for k in (0, 1, 3):
        p = logits.softmax(1)[:, k][target != 255]
        t = (target == k)[target != 255].float()
        losses.append(1 - 2 * (p * t).sum() / (p.sum() + t.sum()))
    assert_close(dice(logits, target), torch.stack(losses).mean())
