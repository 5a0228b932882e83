import math

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from ml.losses import (
    LOSSES,
    asymmetric,
    balanced_cross_entropy,
    binary_cross_entropy,
    boundary,
    cross_entropy,
    dice,
    focal,
    signed_distance,
    smoothed_dice,
    weighted_cross_entropy,
)


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
    right = torch.nn.functional.one_hot(target.where(target != 255, 0), 4).movedim(-1, 1) * 40.0 - 20

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


def test_weighted_cross_entropy_is_torchs_with_weights():
    logits, target = _batch()
    weights = torch.tensor([0.1, 2.0, 0.0, 5.0])

    expected = F.cross_entropy(logits, target, weight=weights, ignore_index=255)

    assert_close(weighted_cross_entropy(logits, target, weights=weights), expected)


def test_classes_that_weigh_nothing_leave_nothing_to_learn():
    logits, target = _batch()

    assert weighted_cross_entropy(logits, target, weights=torch.zeros(4)) == 0


@pytest.mark.parametrize(("gamma", "alpha"), [(2.0, 0.5), (0.0, 1.0), (1.0, 0.25), (5.0, 1.0)])
def test_focal_is_the_published_formula(gamma, alpha):
    logits, target = _batch()

    each = []
    for n, y, x in (target != 255).nonzero().tolist():
        p = logits[n, :, y, x].softmax(0)[target[n, y, x]]
        each.append(-alpha * (1 - p) ** gamma * p.log())

    assert_close(focal(logits, target, gamma=gamma, alpha=alpha), torch.stack(each).mean())


def test_as_released_ignored_pixels_dilute_the_focal_loss():
    logits, target = _batch()

    # FastSegFormer, nets/unet_training.py@8f673e0, line 21
    log_p = -torch.nn.CrossEntropyLoss(ignore_index=255, reduction="none")(logits, target)
    released = (-((1 - log_p.exp()) ** 2) * (0.5 * log_p)).mean()

    counted = (target != 255).float().mean()
    assert counted < 0.9
    assert_close(focal(logits, target), released / counted)


def test_binary_cross_entropy_is_that_of_every_class_on_its_own():
    logits, target = _batch()

    counted = target != 255
    losses = [F.binary_cross_entropy(logits[:, k].sigmoid()[counted], (target == k)[counted].float()) for k in range(4)]

    assert_close(binary_cross_entropy(logits, target), torch.stack(losses).mean())


def test_smoothed_dice_is_mff_metals_over_its_three_classes():
    logits, target = _batch(ignored=0)
    batch, _, height, width = logits.shape

    # MFF-Metal, train.py@a6de3d8, line 98: the sum over its classes, in pixels an image
    p, y = logits.softmax(1), F.one_hot(target, 4).movedim(-1, 1)
    released = sum(
        (1 - (2 * (p[:, k] * y[:, k]).sum() + 1) / (p[:, k].sum() + y[:, k].sum() + 1)) * height * width / batch
        for k in (1, 2, 3)
    )

    assert_close(3 * smoothed_dice(logits, target) * height * width / batch, released)


@pytest.mark.parametrize("ignored", [0, 0.3])
def test_smoothed_dice_is_fast_segformers_but_for_what_it_holds_against_ignored_pixels(ignored):
    logits, target = _batch(ignored=ignored)

    # FastSegFormer, nets/unet_training.py@8f673e0, line 41: one-hot masks with a fifth channel for what is ignored
    p = logits.softmax(1).movedim(1, -1).reshape(-1, 4)
    y = F.one_hot(target.where(target != 255, 4), 5).reshape(-1, 5)[:, :-1]
    hits = (p * y).sum(0)
    false, missed = p.sum(0) - hits, y.sum(0) - hits
    released = 1 - ((2 * hits + 1e-5) / (2 * hits + missed + false + 1e-5)).mean()

    ours = smoothed_dice(logits, target, smooth=1e-5, background=True)
    if ignored:
        assert released > ours + 0.02
    else:
        assert_close(ours, released)


def _nearest(points, y, x):
    return min(math.hypot(y - v, x - u) for v, u in points)


def _distances(mask, *, truncated=False):
    """MFF-Metal's build_boundary.py@a6de3d8 for one class: whole numbers as released, as the array it fills holds them."""
    inside, outside = mask.nonzero().tolist(), (~mask).nonzero().tolist()
    result = torch.zeros(mask.shape)
    for y, x in outside:
        result[y, x] = _nearest(inside, y, x)
    for y, x in inside:
        result[y, x] = -(_nearest(outside, y, x) - 1)
    return result.trunc() if truncated else result


@pytest.mark.parametrize("share", [0.02, 0.2, 0.5, 0.95])
@pytest.mark.parametrize("size", [(1, 9), (9, 1), (12, 7), (16, 16)])
def test_the_signed_distance_is_exact(size, share):
    rng = torch.Generator().manual_seed(int(100 * share) + size[0])
    mask = torch.rand(size, generator=rng) < share
    mask.view(-1)[:2] = torch.tensor([True, False])

    assert_close(signed_distance(mask, ~mask), _distances(mask))


def test_a_defect_nobody_shows_is_nowhere_near():
    nothing = torch.zeros(4, 5, dtype=torch.bool)

    assert not signed_distance(nothing, ~nothing).any()
    assert not signed_distance(~nothing, nothing).any()


def test_ignored_pixels_are_neither_inside_nor_outside():
    inside = torch.tensor([[True, False, False, False]])
    outside = torch.tensor([[False, False, True, True]])

    assert signed_distance(inside, outside).tolist() == [[-1.0, 0.0, 2.0, 3.0]]


def _blobs(size=16):
    logits, _ = _batch()
    logits = torch.randn(2, 4, size, size, generator=torch.Generator().manual_seed(0)).requires_grad_()
    target = torch.zeros(2, size, size, dtype=torch.int64)
    target[0, 2:7, 3:12], target[0, 10:14, 1:4], target[1, 5:13, 5:10] = 1, 2, 3
    return logits, target


@pytest.mark.parametrize("truncated", [False, True])
def test_boundary_is_mff_metals_in_means_and_diagonals_on_exact_distances(truncated):
    logits, target = _blobs()

    p = logits.softmax(1)
    released = sum(
        (p[n, k] * _distances(target[n] == k, truncated=truncated)).sum() / 2
        for n in (0, 1) for k in (1, 2, 3) if (target[n] == k).any()
    )  # fmt: skip

    ours = boundary(logits, target) * 16 * 16 * math.hypot(16, 16)
    if truncated:
        assert released < ours - 1  # whole numbers: too near
    else:
        assert_close(ours, released)


def test_boundary_prefers_a_prediction_that_is_nearer():
    _, target = _blobs()
    near, far = (torch.zeros(2, 4, 16, 16) for _ in range(2))
    near[0, 1, 8, 5], far[0, 1, 15, 15] = 10, 10  # a wrong pixel, one and eight pixels from the defect

    assert boundary(near, target) < boundary(far, target)


@pytest.mark.parametrize("alpha", [1.0, 10.0, 200.0])
def test_asymmetric_is_mcff_ls_whose_third_term_is_nothing_behind_a_softmax(alpha):
    rng = torch.Generator().manual_seed(0)
    logits, target = torch.randn(2, 2, 6, 5, generator=rng), torch.randint(0, 2, (2, 6, 5), generator=rng)

    # MCFF-L Net, Metrics.py@861c3e5, line 152; its channel 0 is the crack, ours is the background
    said, truth = logits.softmax(1), F.one_hot(target, 2).movedim(-1, 1).float()
    third = F.mse_loss(said[:, 0] + said[:, 1], torch.ones(2, 6, 5))
    released = F.mse_loss(alpha * truth[:, 1], alpha * said[:, 1]) + F.mse_loss(truth[:, 0], said[:, 0]) + third

    assert third < 1e-12
    assert_close(asymmetric(logits, target, alpha=alpha), released)
