import numpy as np
import pytest
import torch
from torch.testing import assert_close

from ml.reliability import confidence, mask_stability, stability, uncertainty


def _probabilities(*shape, seed=0, sharpness=3.0):
    """(..., K, H, W): softmax of noise."""
    rng = torch.Generator().manual_seed(seed)
    return torch.softmax(sharpness * torch.randn(*shape, generator=rng), dim=-3)


def _published_confidence(probabilities):
    """Perturbed Progressive Learning, train.py 380-389, one image as numpy: mean of (1 - H / ln C) * max p."""
    p = probabilities.double().numpy()
    entropy = -(p * np.log(p + 1e-10)).sum(axis=0) / np.log(p.shape[0])
    return ((1 - entropy) * p.max(axis=0)).mean()


@pytest.mark.parametrize("classes", [2, 4, 7])
@pytest.mark.parametrize("sharpness", [0.1, 1.0, 10.0, 100.0])
def test_confidence_is_the_published_formula(classes, sharpness):
    probabilities = _probabilities(5, classes, 11, 13, sharpness=sharpness)

    ours = confidence(probabilities)

    expected = torch.tensor([_published_confidence(one) for one in probabilities])
    assert_close(ours.double(), expected, atol=1e-5, rtol=0)


def test_confidence_and_uncertainty_reach_both_ends_and_never_leave():
    certain = torch.zeros(1, 4, 8, 8)
    certain[:, 2] = 1
    clueless = torch.full((1, 4, 8, 8), 0.25)

    assert confidence(certain).item() == 1
    assert uncertainty(certain).item() == 0
    assert confidence(clueless).item() == pytest.approx(0, abs=1e-6)
    assert uncertainty(clueless).item() == 1


def test_uncertainty_is_the_mean_over_the_most_uncertain_twentieth():
    probabilities = _probabilities(3, 4, 20, 30)

    p = probabilities.double().numpy()
    entropy = -(p * np.log(p)).sum(axis=1) / np.log(4)
    expected = np.sort(entropy.reshape(3, -1), axis=1)[:, -30:].mean(axis=1)

    assert_close(uncertainty(probabilities).double(), torch.from_numpy(expected), atol=1e-6, rtol=0)


def test_one_unsure_edge_makes_an_image_uncertain_where_a_mean_over_all_pixels_would_hide_it():
    probabilities = torch.zeros(1, 2, 40, 40)
    probabilities[:, 0] = 1
    probabilities[:, :, 20, :] = 0.5

    assert uncertainty(probabilities).item() == pytest.approx(0.5)


def _one_by_one(probabilities, floor):
    """The soft foreground agreement of our docstring, in loops over checkpoints, classes and images."""
    p = probabilities.double().numpy()
    steps, images, classes = p.shape[:3]
    scores = np.zeros(images)
    for n in range(images):
        for t in range(steps - 1):
            shared = sum(np.minimum(p[t, n, k], p[-1, n, k]).sum() for k in range(1, classes))
            either = sum(np.maximum(p[t, n, k], p[-1, n, k]).sum() for k in range(1, classes))
            scores[n] += (shared + floor) / (either + floor) / (steps - 1)
    return torch.from_numpy(scores)


@pytest.mark.parametrize("checkpoints", [2, 3, 5])
def test_stability_is_the_mean_soft_overlap_of_defects_with_the_last_checkpoint(checkpoints):
    probabilities = _probabilities(checkpoints, 4, 3, 10, 12)

    assert_close(stability(probabilities).double(), _one_by_one(probabilities, 0.002 * 120), atol=1e-5, rtol=0)


def _masks(*pictures):
    """One-hot probabilities (T, 1, K, H, W) of index masks."""
    return torch.stack([torch.nn.functional.one_hot(p.long(), 3).movedim(-1, 0).float() for p in pictures])[:, None]


def _disc(value, *, shift=0):
    mask = torch.zeros(50, 50)
    mask[10 + shift : 20 + shift, 10:20] = value
    return mask


def test_checkpoints_that_agree_are_stable_and_ones_that_see_other_things_are_not():
    same = stability(_masks(_disc(1), _disc(1))).item()
    moved = stability(_masks(_disc(1), _disc(1, shift=5))).item()
    other_class = stability(_masks(_disc(1), _disc(2))).item()
    vanished = stability(_masks(_disc(1), _disc(0))).item()

    assert same == 1
    assert moved == pytest.approx(1 / 3, abs=0.03)
    assert other_class < 0.05
    assert vanished < 0.05


def test_agreeing_on_background_is_no_proof_where_there_was_a_trace_of_a_defect():
    # Published: both hard masks are all background, so the score is a perfect 1, above every image with a defect.
    seen, missed = torch.zeros(2, 1, 3, 50, 50)
    seen[:, 1, 10:20, 10:20] = 0.4
    missed[:, 1, 10:20, 10:20] = 0.1
    for one in (seen, missed):
        one[:, 0] = 1 - one[:, 1]

    faint = stability(torch.stack([seen, missed])).item()
    defect_found = stability(_masks(_disc(1), _disc(1, shift=1))).item()

    assert faint < 0.4 < defect_found


def test_five_stray_pixels_do_not_halve_the_score_of_a_clean_image():
    # Published: one class agrees with IoU 1, the other with 0, mean 0.5.
    stray = torch.zeros(200, 200)
    stray[0, :5] = 1

    assert stability(_masks(stray, torch.zeros(200, 200))).item() > 0.9


def _original_miou(one, other, classes):
    """tools/utils.py of the published code: nanmean of the IoU over classes of one pair of masks."""
    counts = np.bincount(classes * one.ravel() + other.ravel(), minlength=classes**2).reshape(classes, classes)
    with np.errstate(invalid="ignore"):
        return np.nanmean(np.diag(counts) / (counts.sum(0) + counts.sum(1) - np.diag(counts)))


def test_stability_of_masks_is_the_published_one():
    probabilities = _probabilities(3, 4, 3, 6, 7)

    found = mask_stability(probabilities)

    masks = probabilities.argmax(dim=2).numpy()
    expected = [np.mean([_original_miou(masks[t, n], masks[-1, n], 3) for t in (0, 1)]) for n in range(4)]
    assert_close(found.double(), torch.tensor(expected), atol=1e-5, rtol=0)


def test_where_nobody_sees_a_defect_stability_of_masks_is_perfect_and_that_of_defects_need_not_be():
    """Why the published score fills the reliable half with clean images."""
    blank = torch.zeros(3, 1, 3, 8, 8)
    blank[:, :, 0], blank[:, :, 1] = 0.9, 0.1
    blank[:2, 0, :2] = torch.tensor([0.55, 0.45]).view(2, 1, 1)

    assert mask_stability(blank).item() == 1
    assert stability(blank).item() < 0.8
