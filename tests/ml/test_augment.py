import math

import pytest
import torch

from ml.augment import cut_out, mirrored, strong, weak


def _batch(count=16, size=24):
    rng = torch.Generator().manual_seed(0)
    masks = torch.randint(0, 3, (count, size, size), generator=rng).to(torch.uint8)
    # Upsampled so that interpolation at a zoom keeps most pixels' class readable from the picture.
    masks = masks[:, ::6, ::6].repeat_interleave(6, 1).repeat_interleave(6, 2)
    return masks[:, None].float() / 2, masks


def test_weak_augmentation_moves_masks_with_their_pictures():
    images, masks = _batch()

    moved, moved_masks = weak(images, masks, torch.Generator().manual_seed(1))

    counted = moved_masks != 255
    readable = (moved[:, 0] * 2 - moved_masks.float()).abs()[counted] < 0.5
    assert readable.float().mean() > 0.95
    assert not torch.equal(moved_masks, masks)


def test_weak_augmentation_draws_all_eight_poses():
    corner = torch.zeros(1, 1, 4, 4)
    corner[..., 0, 1] = 1.0  # no symmetry of the square leaves this pixel where it is
    rng = torch.Generator().manual_seed(0)

    seen = {tuple(weak(corner, corner[:, 0].to(torch.uint8), rng)[1].flatten().tolist()) for _ in range(300)}

    poses = {tuple(pose.flatten().int().tolist()) for t in range(4) for turned in [corner.rot90(t, (2, 3))]
             for pose in (turned, turned.flip(-1))}  # fmt: skip
    assert len(poses) == 8
    assert poses <= seen


def test_what_a_zoom_brings_in_from_outside_is_ignored_and_no_class_is_invented():
    images, masks = _batch(64)

    _, moved = weak(images, masks, torch.Generator().manual_seed(1))

    assert set(moved.unique().tolist()) == {0, 1, 2, 255}


def test_augmentation_leaves_its_arguments_alone():
    images, masks = _batch()
    before = images.clone(), masks.clone()

    weak(images, masks, torch.Generator().manual_seed(1))
    strong(images, torch.Generator().manual_seed(1))
    mirrored(images, masks, torch.Generator().manual_seed(1))
    cut_out(images, masks, torch.Generator().manual_seed(1))

    assert torch.equal(images, before[0])
    assert torch.equal(masks, before[1])


@pytest.mark.parametrize("channels", [1, 3])
def test_strong_augmentation_stays_in_range_and_changes_each_picture_its_own_way(channels):
    picture = torch.rand(1, channels, 32, 32, generator=torch.Generator().manual_seed(0)).expand(16, -1, -1, -1)

    changed = strong(picture, torch.Generator().manual_seed(1))

    assert changed.min() >= 0
    assert changed.max() <= 1
    assert len({round(float(one.mean()), 4) for one in changed}) > 8


def test_blur_takes_detail_away_and_keeps_the_mean():
    from ml.augment import _blurred

    noise = torch.rand(8, 3, 40, 40, generator=torch.Generator().manual_seed(0))

    blurred = _blurred(noise, torch.Generator().manual_seed(1))

    assert (blurred.std(dim=(1, 2, 3)) <= noise.std(dim=(1, 2, 3)) + 1e-4).all()  # the least blur is next to none
    assert blurred.std(dim=(1, 2, 3)).mean() < 0.5 * noise.std()
    torch.testing.assert_close(blurred.mean(dim=(2, 3)), noise.mean(dim=(2, 3)), atol=0.02, rtol=0)


def test_normalised_pictures_are_refused():
    # As released, perturbed progressive learning jittered normalised pictures, and their grey values wrapped around.
    images, masks = _batch()
    normalised = (images - 0.5) / 0.25

    with pytest.raises(ValueError, match="normalise after augmenting"):
        weak(normalised, masks, torch.Generator())
    with pytest.raises(ValueError, match="normalise after augmenting"):
        strong(normalised, torch.Generator())
    with pytest.raises(ValueError, match="normalise after augmenting"):
        strong(images * float("nan"), torch.Generator())


def test_the_same_generator_draws_the_same_augmentation():
    images, masks = _batch()

    first = weak(images, masks, torch.Generator().manual_seed(5))
    second = weak(images, masks, torch.Generator().manual_seed(5))

    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])


@pytest.mark.parametrize("size", [24, 30])
def test_a_zoom_is_the_affine_map_torch_makes_of_its_draws(size, monkeypatch):
    from ml import augment

    grids = []
    sample = augment.F.grid_sample
    monkeypatch.setattr(augment.F, "grid_sample", lambda x, grid, **kw: grids.append(grid) or sample(x, grid, **kw))
    images, masks = _batch(5, size)

    augment._zoomed(images, masks, torch.Generator().manual_seed(2))

    rng = torch.Generator().manual_seed(2)
    scale = torch.exp((torch.rand(5, 1, 1, 1, generator=rng).flatten() * 2 - 1) * math.log(4 / 3))
    shift = (torch.rand(5, 2, generator=rng) * 2 - 1) * (1 - scale).clamp_min(0)[:, None]
    theta = torch.cat([torch.diag_embed(scale[:, None].expand(-1, 2)), shift[:, :, None]], dim=2)
    expected = torch.nn.functional.affine_grid(theta, [5, 1, size, size], align_corners=False)
    torch.testing.assert_close(grids[0], expected)


def test_half_of_the_images_are_mirrored_with_their_masks():
    images, masks = _batch(200)

    moved, moved_masks = mirrored(images, masks, torch.Generator().manual_seed(1))

    flipped = (moved_masks == masks.flip(-1)).flatten(1).all(dim=1)
    assert torch.equal(moved[:, 0] * 2, moved_masks.float())
    assert torch.equal(moved_masks[~flipped], masks[~flipped])
    assert 0.4 < flipped.float().mean() < 0.6


def test_half_of_the_images_lose_a_box_of_the_published_size_whose_pixels_are_ignored():
    images, masks = torch.full((2000, 1, 40, 40), 0.5), torch.ones(2000, 40, 40, dtype=torch.uint8)

    cut, cut_masks = cut_out(images, masks, torch.Generator().manual_seed(0))

    gone = cut_masks == 255
    share = gone.float().mean(dim=(1, 2))
    hit = share > 0
    assert 0.45 < hit.float().mean() < 0.55
    assert torch.equal((cut != 0.5)[:, 0], gone)
    assert share[hit].min() > 0.01
    assert 0.35 < share[hit].max() <= 0.45
    # A fifth is the published mean; boxes higher than the image are cut off.
    assert share[hit].mean() == pytest.approx(0.2, abs=0.02)
    boxes = gone.any(dim=2).sum(dim=1) * gone.any(dim=1).sum(dim=1)
    assert torch.equal(boxes, gone.sum(dim=(1, 2)))
