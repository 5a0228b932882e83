import dataclasses

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from ml.augment import WEAK
from ml.networks import Segmenter, build
from ml.spec import NetworkSpec
from ml.steps import STEPS, Batch, as_wrapped_bytes, cut_and_mix, paste_masks


def _batch(labelled=3, pseudo=2, size=32):
    rng = torch.Generator().manual_seed(0)

    def masks(count):
        return torch.randint(0, 3, (count, size, size), generator=rng).to(torch.uint8)

    def pictures(count):
        return torch.rand(count, 1, size, size, generator=rng)

    return Batch(pictures(labelled), masks(labelled), pictures(pseudo), masks(pseudo), pseudo_weight=0.5)


def _model():
    torch.manual_seed(0)
    return Segmenter(build(NetworkSpec(width=2), classes=3), mean=(0.5,), std=(0.25,)).train()


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("pseudo", [0, 2])
def test_every_step_gives_a_finite_loss_that_reaches_every_weight(name, pseudo):
    model = _model()

    loss = STEPS[name](model, _batch(pseudo=pseudo), torch.Generator().manual_seed(0))
    loss.backward()

    assert torch.isfinite(loss)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert model.training


@pytest.mark.parametrize("name", STEPS)
def test_every_step_draws_from_its_generator_alone(name):
    first = STEPS[name](_model(), _batch(), torch.Generator().manual_seed(3))
    torch.rand(7)  # the global generator must not matter
    second = STEPS[name](_model(), _batch(), torch.Generator().manual_seed(3))

    assert torch.equal(first, second)


@pytest.mark.parametrize("name", sorted(STEPS.keys() - {"label_efficient_cutmix_as_released"}))
def test_pseudo_labels_count_as_much_as_their_weight_says(name):
    without, half, whole = (
        STEPS[name](_model(), dataclasses.replace(_batch(), pseudo_weight=weight), torch.Generator().manual_seed(0))
        for weight in (0.0, 0.5, 1.0)
    )

    assert whole > without
    assert_close(half, (without + whole) / 2)


def test_looking_how_sure_the_model_is_leaves_no_trace_in_batch_normalisation():
    # As released, every step switched the model to evaluation and back in the middle of its batch.
    model, batch = _model(), _batch()

    STEPS["label_efficient_cutmix"](model, batch, torch.Generator().manual_seed(0))

    counters = [value for name, value in model.state_dict().items() if name.endswith("num_batches_tracked")]
    assert {int(counter) for counter in counters} == {1}


def test_ppl_mixes_images_and_changes_no_grey_value():
    """With poses alone as the weak view: changed grey values harmed (docs/log.md, 2026-11-21)."""
    seen, model, batch = [], _model(), dataclasses.replace(_batch(), weak=WEAK["mirror"])
    model.register_forward_pre_hook(lambda _, given: seen.append(given[0]))

    STEPS["label_efficient_cutmix"](model, batch, torch.Generator().manual_seed(0))

    mixed = seen[-1][len(batch.images) :]
    assert torch.isin(mixed, torch.cat([batch.images, batch.pseudo_images])).all()
    assert not any(torch.isin(one, other).all() for one in mixed for other in batch.pseudo_images)


def _original_box_mask(draws, size):
    """tools/funcs.py 16-85 of the published code for one image, as its description has it; draws: (4, boxes)."""
    mask = np.zeros((size, size))
    for share, aspect, row, column in draws.T:
        area = 0.25 + share * (0.5 - 0.25)
        height = np.exp(aspect * np.log(area))
        width = area / height
        height, width = (np.round(side * np.sqrt(1 / draws.shape[1]) * size) for side in (height, width))
        top, left = np.round((size - height) * row), np.round((size - width) * column)
        box = slice(int(top), int(top + height)), slice(int(left), int(left + width))
        mask[box] = 1 - mask[box]
    return mask


@pytest.mark.parametrize("size", [32, 128, 200])
def test_paste_masks_are_the_published_ones_with_a_mask_of_its_own_for_each_image(size):
    masks = paste_masks(20, size, torch.Generator().manual_seed(1))

    draws = torch.rand(4, 20, 3, generator=torch.Generator().manual_seed(1)).double().numpy()
    expected = np.stack([_original_box_mask(draws[:, n], size) for n in range(20)])
    # Sizes that end in .5 may round the other way in float32: an edge of a box, no more.
    assert np.abs(masks.numpy() - expected).mean() < 0.005
    assert len({one.numpy().tobytes() for one in masks}) == 20


def test_paste_masks_cover_a_quarter_of_the_image():
    share = paste_masks(2000, 64, torch.Generator().manual_seed(0)).float().mean(dim=(1, 2))

    # Measured on the published generator: mean 0.252, 5 % to 95 % of the masks between 0.146 and 0.374.
    assert float(share.mean()) == pytest.approx(0.252, abs=0.01)
    assert float(share.quantile(0.05)) == pytest.approx(0.146, abs=0.02)
    assert float(share.quantile(0.95)) == pytest.approx(0.374, abs=0.02)


def _mixed_one_by_one(unlabelled, pseudo, images, masks, sure, seed):
    """The published mixing in loops, with one mask per image and the second paste on top of the first."""
    rng = torch.Generator().manual_seed(seed)
    count, size = len(unlabelled), unlabelled.shape[-1]
    luck = torch.rand(count, generator=rng)
    first, second = paste_masks(count, size, rng), paste_masks(count, size, rng)
    x1, y1 = unlabelled.clone(), pseudo.clone()
    for k in range(count):
        if luck[k] > sure[k]:
            x1[k] = unlabelled[k] * ~first[k] + images[k % len(images)] * first[k]
            y1[k] = pseudo[k] * ~first[k] + masks[k % len(masks)] * first[k]
    x2, y2 = x1.clone(), y1.clone()
    for k in range(count):
        other = (k + 1) % count
        x2[k] = x1[k] * ~second[k] + x1[other] * second[k]
        y2[k] = y1[k] * ~second[k] + y1[other] * second[k]
    return x2, y2


@pytest.mark.parametrize(("labelled", "count"), [(4, 4), (2, 5), (3, 1)])
def test_cut_and_mix_is_the_published_formula_with_its_corrections(labelled, count):
    batch = _batch(labelled, count)
    sure = torch.linspace(0, 1, count)
    arguments = batch.pseudo_images, batch.pseudo_masks, batch.images, batch.masks

    mixed, mixed_masks = cut_and_mix(*arguments, sure=sure, rng=torch.Generator().manual_seed(9))

    expected, expected_masks = _mixed_one_by_one(*arguments, sure, 9)
    assert_close(mixed, expected)
    assert torch.equal(mixed_masks, expected_masks)


def test_a_sure_image_gets_no_labelled_pixel_and_an_unsure_one_always_does():
    size, count = 32, 8
    labelled = torch.ones(4, 1, size, size), torch.ones(4, size, size)
    unlabelled = torch.zeros(count, 1, size, size), torch.zeros(count, size, size)
    rng = torch.Generator().manual_seed(0)

    sure, _ = cut_and_mix(*unlabelled, *labelled, sure=torch.ones(count), rng=rng)
    unsure, _ = cut_and_mix(*unlabelled, *labelled, sure=torch.full((count,), -0.1), rng=rng)

    assert not sure.any()
    assert (unsure.sum(dim=(1, 2, 3)) > 0).all()


def test_masks_follow_their_pixels_through_both_pastes():
    size = 32
    labelled = torch.full((4, 1, size, size), 0.75), torch.full((4, size, size), 3)
    values = torch.tensor([0.0, 0.25, 0.5])
    unlabelled = values.view(3, 1, 1, 1).expand(3, 1, size, size), (values * 4).view(3, 1, 1).expand(3, size, size)

    mixed, masks = cut_and_mix(*unlabelled, *labelled, sure=torch.zeros(3), rng=torch.Generator().manual_seed(0))

    assert torch.equal(mixed[:, 0] * 4, masks)
    assert set(masks.unique().tolist()) == {0.0, 1.0, 2.0, 3.0}


@pytest.mark.parametrize("name", STEPS)
def test_every_step_learns_from_a_batch_in_the_number_format_of_the_machine(name):
    """A look without gradient at the same weights must not leave copies of them that know of none."""
    model = _model()

    with torch.autocast("cpu", torch.bfloat16):
        loss = STEPS[name](model, _batch(), torch.Generator().manual_seed(0))
    loss.backward()

    assert all(one.grad is not None and one.grad.any() for one in model.parameters() if one.ndim == 4)


def test_grey_values_wrap_as_they_did_in_the_released_code():
    """Greys 64, 100 and 128 and what became of them, read off the published lines."""
    grey = torch.tensor([64, 100, 128]).view(3, 1, 1, 1).expand(3, 3, 1, 1) / 255

    wrapped = (as_wrapped_bytes(grey) * 255).round().int().flatten(1).tolist()

    assert wrapped == [[252, 23, 81], [153, 184, 241], [18, 52, 108]]
    assert as_wrapped_bytes(grey[:, :1]).shape == (3, 1, 1, 1)


def test_the_released_step_shares_one_mask_and_starts_again_from_the_unmixed_images(monkeypatch):
    seen = []
    monkeypatch.setattr("ml.steps.strong", lambda images, _: images)
    monkeypatch.setattr("ml.steps.as_wrapped_bytes", lambda images: images)
    monkeypatch.setattr("ml.steps._confidence", lambda _, images: torch.zeros(len(images)))
    batch = dataclasses.replace(
        _batch(3, 3), weak=lambda *one: one[:2], loss=lambda _, masks: seen.append(masks) or masks.sum() * 0.0
    )

    STEPS["label_efficient_cutmix_as_released"](_model(), batch, torch.Generator().manual_seed(5))

    rng = torch.Generator().manual_seed(5)
    torch.rand(3, generator=rng)  # all are unsure: every image gets labelled pixels
    first, second = paste_masks(2, 32, rng)
    for k in range(3):
        neighbour = torch.where(first, batch.masks[(k + 1) % 3], batch.pseudo_masks[(k + 1) % 3])
        assert torch.equal(seen[0][3 + k], torch.where(second, neighbour, batch.pseudo_masks[k]).long())
    assert torch.equal(seen[0][:3], batch.masks.long())
