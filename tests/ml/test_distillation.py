"""Each loss against its published formula, written out; where the published code does something else, that as well."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from ml.distillation import (
    STRATEGIES,
    Temperatures,
    channels,
    kl,
    label_distillation,
    normalised_features,
    pixels_and_kl,
    projections,
)
from ml.networks.contract import Outputs

SIZES = [(2, 4, 6, 5), (1, 2, 3, 8), (3, 7, 4, 4)]
TEMPERATURES = [0.7, 1.0, 2.0, 10.0]


def _pair(size, *, seed=0, ignored=0.3):
    """Logits of student and teacher, and which pixels count."""
    rng = torch.Generator().manual_seed(seed)
    student, teacher = (torch.randn(size, generator=rng).mul(2).requires_grad_() for _ in range(2))
    return student, teacher, torch.rand(size[0], *size[2:], generator=rng) >= ignored


def _kl_of_a_pixel(student, teacher, temperature):
    p, q = (teacher / temperature).softmax(0), (student / temperature).softmax(0)
    return (p * (p.log() - q.log())).sum()


LOSSES = {
    "kl": lambda s, t, counted: kl(s, t, counted, temperature=2),
    "pixels_and_kl": pixels_and_kl,
    "normalised_features": lambda s, t, counted: normalised_features([s], [t], counted),
    "channels": channels,
    "label_distillation": lambda s, t, counted: label_distillation(
        Outputs(s, {}, ()),
        Outputs(t, {}, ()),
        torch.where(counted, 1, 255),
        counted,
        temperatures=STRATEGIES["standard"],
    ),
}


@pytest.mark.parametrize("name", LOSSES)
def test_ignored_pixels_change_no_loss(name):
    student, teacher, counted = _pair((2, 4, 6, 5))
    noise = torch.where(counted[:, None], 0, 9 * torch.randn_like(student))

    assert_close(LOSSES[name](student, teacher, counted), LOSSES[name](student + noise, teacher - noise, counted))


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_is_finite_with_a_zero_gradient_when_all_is_ignored(name):
    student, teacher, counted = _pair((2, 4, 6, 5), ignored=2)

    LOSSES[name](student, teacher, counted).backward()

    assert_close(student.grad, torch.zeros_like(student))


@pytest.mark.parametrize("name", LOSSES)
def test_the_student_gets_a_gradient_and_the_teacher_none(name):
    student, teacher, counted = _pair((2, 4, 6, 5))

    LOSSES[name](student, teacher, counted).backward()

    assert student.grad.abs().sum() > 0
    assert teacher.grad is None


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "label_distillation"])
def test_a_student_that_says_what_the_teacher_says_has_nothing_to_learn(name):
    student, _, counted = _pair((2, 4, 6, 5))

    assert LOSSES[name](student, student.detach().clone(), counted).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("name", ["kl", "pixels_and_kl", "channels"])
def test_a_larger_teacher_is_brought_to_the_size_of_the_student(name):
    student, teacher, counted = _pair((2, 4, 6, 8))
    small = teacher.detach()

    assert_close(
        LOSSES[name](student, F.interpolate(small, scale_factor=3, mode="nearest"), counted),
        LOSSES[name](student, small, counted),
    )


# --- logits -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_kl_is_t_squared_times_the_mean_over_pixels(size, temperature):
    student, teacher, counted = _pair(size)

    each = [
        _kl_of_a_pixel(student[n, :, y, x], teacher[n, :, y, x], temperature) for n, y, x in counted.nonzero().tolist()
    ]

    assert_close(kl(student, teacher, counted, temperature=temperature), temperature**2 * torch.stack(each).mean())


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_mff_metals_sum_without_t_squared_is_its_weight_times_ours(temperature):
    student, teacher, _ = _pair((2, 4, 6, 5))

    released = nn_kl_sum(
        student / temperature, teacher / temperature
    )  # divided by the batch and multiplied by it again

    pixels = 2 * 6 * 5
    ours = kl(student, teacher, torch.ones(2, 6, 5, dtype=torch.bool), temperature=temperature)
    assert_close(released, ours * pixels / temperature**2)


def nn_kl_sum(student, teacher):
    return torch.nn.KLDivLoss(reduction="sum")(student.log_softmax(1), teacher.softmax(1))


def test_the_gradient_keeps_its_size_whatever_the_temperature():
    student, teacher, counted = _pair((2, 4, 6, 5))

    sizes = [
        float(torch.autograd.grad(kl(student, teacher, counted, temperature=t), student)[0].norm()) for t in (20, 80)
    ]

    assert sizes[0] == pytest.approx(sizes[1], rel=0.1)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("temperature", "share"), [(2.0, 0.5), (1.0, 0.2), (4.0, 1.0), (3.0, 0.0)])
def test_pixels_and_kl_is_the_formula_of_the_paper(size, temperature, share):
    student, teacher, counted = _pair(size)

    each = []
    for n, y, x in counted.nonzero().tolist():
        s, t = student[n, :, y, x], teacher[n, :, y, x]
        divergence = temperature**2 * _kl_of_a_pixel(s, t, temperature)
        each.append(share * divergence + (1 - share) * F.mse_loss(s, t))

    assert_close(
        pixels_and_kl(student, teacher, counted, temperature=temperature, share=share), torch.stack(each).mean()
    )


def test_as_released_its_second_part_is_divided_by_the_pixels_once_more():
    student, teacher, _ = _pair((2, 4, 6, 5))
    everything = torch.ones(2, 6, 5, dtype=torch.bool)

    divergence = F.kl_div((student / 2).log_softmax(1), (teacher / 2).softmax(1), reduction="batchmean") * 2**2
    released = (0.5 * divergence + 0.5 * F.mse_loss(student, teacher)) / (6 * 5)

    first, second = (pixels_and_kl(student, teacher, everything, share=share) for share in (1.0, 0.0))
    assert_close(released, 0.5 * first + 0.5 * second / (6 * 5))
    assert_close(pixels_and_kl(student, teacher, everything), 0.5 * first + 0.5 * second)


# --- features ---------------------------------------------------------------------------------------------------------


def _normalised(values):
    """Of a channel's counted cells."""
    return (values - values.mean()) / (values.var(unbiased=False) + 1e-5).sqrt()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("extra", [0, 3])
def test_normalised_features_compares_channels_of_mean_0_and_deviation_1(size, extra):
    student, _, counted = _pair(size)
    teacher = torch.randn(size[0], size[1] + extra, *size[2:], generator=torch.Generator().manual_seed(1))
    project = projections([size[1]], [size[1] + extra])

    squares = []
    brought = project[0](student)
    for n in range(size[0]):
        for c in range(size[1] + extra):
            mine, theirs = brought[n, c][counted[n]], teacher[n, c][counted[n]]
            squares.append((_normalised(mine) - _normalised(theirs)) ** 2)

    assert_close(normalised_features([project[0](student)], [teacher], counted), torch.cat(squares).mean())


def _released(students, teachers, rng):
    """FastSegFormer's loop: new projections every time, no normalisation, and every pair overwrites the one before."""
    for mine, theirs in zip(students, teachers, strict=True):
        weights = torch.randn(theirs.shape[1], mine.shape[1], 1, 1, generator=rng)
        value = torch.norm(theirs - F.conv2d(mine, weights)) / (mine.shape[2] * mine.shape[3])
    return value


def test_all_pairs_count_where_as_released_only_the_last_one_does():
    rng = torch.Generator().manual_seed(0)
    students, teachers = ([torch.randn(1, c, 6, 6, generator=rng) for c in sizes] for sizes in ((2, 3), (4, 5)))
    others = [torch.randn(1, 2, 6, 6, generator=rng), students[1]]
    project, counted = projections([2, 3], [4, 5]), torch.ones(1, 6, 6, dtype=torch.bool)

    same_seed = [_released(one, teachers, torch.Generator().manual_seed(1)) for one in (students, others)]
    ours = [
        normalised_features([bring(mine) for mine, bring in zip(one, project, strict=True)], teachers, counted)
        for one in (students, others)
    ]

    assert same_seed[0] == same_seed[1]
    assert abs(ours[0] - ours[1]) > 0.01
    pairs = [
        normalised_features([bring(mine)], [theirs], counted)
        for mine, theirs, bring in zip(students, teachers, project, strict=True)
    ]
    assert_close(ours[0], sum(pairs))


def test_a_louder_teacher_is_the_same_teacher_but_not_as_released():
    rng = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(1, 4, 8, 8, generator=rng), torch.randn(1, 4, 8, 8, generator=rng)
    counted = torch.ones(1, 8, 8, dtype=torch.bool)

    quiet, loud = (normalised_features([student], [factor * teacher + 3], counted) for factor in (1, 50))

    assert_close(quiet, loud, rtol=1e-3, atol=1e-3)
    quiet, loud = (_released([student], [factor * teacher + 3], torch.Generator().manual_seed(1)) for factor in (1, 50))
    assert loud > 5 * quiet


def test_the_projections_are_learnt_where_as_released_they_are_drawn_anew():
    rng = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 3, 8, 8, generator=rng), torch.randn(2, 5, 8, 8, generator=rng)
    project, counted = projections([3], [5]), torch.ones(2, 8, 8, dtype=torch.bool)
    optimiser = torch.optim.SGD(project.parameters(), lr=1.0)

    losses = []
    for _ in range(20):
        losses.append(normalised_features([project[0](student)], [teacher], counted))
        optimiser.zero_grad()
        losses[-1].backward()
        optimiser.step()

    assert losses[-1] < losses[0]
    assert _released([student], [teacher], rng) != _released([student], [teacher], rng)


def test_a_cell_counts_when_all_its_pixels_do():
    student, teacher = torch.randn(1, 2, 4, 4), torch.randn(1, 2, 4, 4)
    counted = torch.ones(1, 8, 8, dtype=torch.bool)
    counted[0, 3, 5] = False  # one pixel of cell (1, 2)
    other = student.clone()
    other[0, :, 1, 2] += 9

    losses = [normalised_features([one], [teacher], counted) for one in (student, other)]

    assert_close(*losses)
    other[0, :, 1, 1] += 9
    assert normalised_features([other], [teacher], counted) != losses[0]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_channels_compares_where_they_respond(size, temperature):
    student, teacher, counted = _pair(size)

    each = []
    for n in range(size[0]):
        for c in range(size[1]):
            p, q = ((one[n, c][counted[n]] / temperature).softmax(0) for one in (teacher, student))
            each.append((p * (p.log() - q.log())).sum())

    expected = temperature**2 * torch.stack(each).mean()
    assert_close(channels(student, teacher, counted, temperature=temperature), expected)


# --- labels -----------------------------------------------------------------------------------------------------------


def _asymmetric(truth, said, alpha):
    """MCFF-L's Metrics.py, line 152, with all three terms; its channel 0 is the crack, ours is the background."""
    crack, background = (truth[:, 1], said[:, 1]), (truth[:, 0], said[:, 0])
    whole = F.mse_loss(said[:, 1] + said[:, 0], torch.ones_like(said[:, 0]))
    return F.mse_loss(alpha * crack[0], alpha * crack[1]) + F.mse_loss(*background) + whole


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("alpha", [1.0, 200.0])
def test_label_distillation_is_the_sum_of_the_five_published_outputs(strategy, alpha):
    rng = torch.Generator().manual_seed(0)
    names = ("standard", "dilated", "rectangular")
    student, teacher = (
        Outputs(
            torch.randn(2, 2, 5, 6, generator=rng), {name: torch.randn(2, 2, 5, 6, generator=rng) for name in names}, ()
        )
        for _ in range(2)
    )
    target = torch.randint(0, 2, (2, 5, 6), generator=rng)
    label_t, outputs_t, mixed_t = {"standard": (0, 10, 1), "hyperthermal": (10, 10, 10), "non_isothermal": (0, 10, 10)}[
        strategy
    ]

    label = F.one_hot(target, 2).movedim(-1, 1).float()
    label = (label / label_t).softmax(1) if label_t else label
    expected = _asymmetric(label, (student.logits / mixed_t).softmax(1), alpha)
    for mine, theirs in [(student.logits, teacher.logits), *((student.heads[n], teacher.heads[n]) for n in names)]:
        expected = expected + _asymmetric((theirs / outputs_t).softmax(1), (mine / outputs_t).softmax(1), alpha)

    ours = label_distillation(student, teacher, target, target < 255, temperatures=STRATEGIES[strategy], alpha=alpha)
    assert_close(ours, expected)


def test_where_there_is_no_label_the_teacher_counts_alone():
    student, teacher, counted = _pair((2, 2, 5, 6))
    unlabelled = torch.full((2, 5, 6), 255)

    said = label_distillation(
        Outputs(student, {}, ()), Outputs(teacher, {}, ()), unlabelled, counted, temperatures=STRATEGIES["standard"]
    )

    errors = ((student / 10).softmax(1) - (teacher / 10).softmax(1)) ** 2
    assert_close(said, (errors[:, 0] + 200**2 * errors[:, 1])[counted].mean())


def test_the_teachers_answer_is_told_exactly_where_as_released_it_has_some_sixty_levels():
    logits = torch.linspace(-5, 5, 10_000).view(1, 1, 100, 100)
    teacher = torch.cat([torch.zeros_like(logits), logits], dim=1)

    soft = (teacher / 10).softmax(1)[:, 1]
    picture = (soft * 255).round() / 255  # as a grey value of 8 bits

    assert len(picture.unique()) < 70
    target = torch.zeros(1, 100, 100, dtype=torch.int64)
    said = label_distillation(
        Outputs(teacher, {}, ()), Outputs(teacher, {}, ()), target, target < 255, temperatures=Temperatures(0, 10, 1)
    )
    assert_close(said, _asymmetric(F.one_hot(target, 2).movedim(-1, 1).float(), teacher.softmax(1), 200.0))
    assert _asymmetric(torch.stack([1 - picture, picture], 1), (teacher / 10).softmax(1), 200.0) > 0.01
