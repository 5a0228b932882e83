import json
import time

import pytest
import torch

from ml.progress import Diary, DivergedError, print_line
from ml.spec import Progress, from_json


def _diary(steps, said):
    return Diary(steps=steps, steps_per_epoch=10, say=said.append)


def test_a_diary_speaks_at_most_twice_a_second_and_at_the_end():
    said, started = [], time.monotonic()
    diary = _diary(3000, said)

    for step in range(1, 3001):
        diary.note(step, torch.tensor(1.0))

    assert len(said) <= 2 * (time.monotonic() - started) + 2
    assert said[-1].step == 3000
    assert (said[-1].epoch, said[-1].epochs) == (300, 300)


@pytest.mark.parametrize("steps", [1, 199, 200, 201, 5000])
def test_a_curve_has_at_most_two_hundred_points_and_reaches_the_end(steps):
    diary = _diary(steps, [])

    for step in range(1, steps + 1):
        diary.note(step, torch.tensor(2.0))

    assert min(steps, 100) <= len(diary.curve) <= 200
    assert diary.curve[-1] == (steps, pytest.approx(2.0))


def test_the_smoothed_loss_starts_at_the_first_loss_and_follows():
    diary = _diary(100, [])

    for step in range(1, 101):
        diary.note(step, torch.tensor(3.0 if step == 1 else 1.0))

    losses = [loss for _, loss in diary.curve]
    assert losses[0] == pytest.approx(3.0)
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] == pytest.approx(1.0, abs=0.05)


def test_the_final_loss_is_the_mean_over_the_last_tenth():
    diary = _diary(20, [])

    for step in range(1, 21):
        diary.note(step, torch.tensor(float(step)))

    assert diary.final_loss() == 19.5


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_raises_with_advice_soon_after_it_appeared(bad):
    diary = _diary(1000, [])

    with pytest.raises(DivergedError, match="at step 15 of 1000; lower learning_rate"):
        for step in range(1, 1001):
            diary.note(step, torch.tensor(bad if step == 13 else 1.0))


def test_a_line_of_progress_is_one_line_of_json(capsys):
    progress = Progress(step=2, steps=9, loss=0.5, curve=((1, 0.7), (2, 0.5)))

    print_line(progress)

    (line,) = capsys.readouterr().out.splitlines()
    assert from_json(Progress, line) == progress
    assert json.loads(line)["step"] == 2
