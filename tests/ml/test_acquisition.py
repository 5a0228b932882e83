import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.acquisition import ACQUISITION, Candidate

candidates = st.lists(
    st.builds(
        Candidate,
        id=st.integers(0, 999).map(str),
        scene=st.integers(0, 8),
        uncertainty=st.sampled_from([0.0, 0.25, 0.5, 1.0]),
    ),
    unique_by=lambda candidate: candidate.id,
)


@pytest.mark.parametrize("name", ACQUISITION)
@given(pool=candidates, budget=st.integers(0, 12), seed=st.integers(0, 99), order=st.randoms())
def test_a_batch_is_the_same_in_whatever_order_the_pool_comes(name, pool, budget, seed, order):
    shuffled = list(pool)
    order.shuffle(shuffled)

    first = ACQUISITION[name](pool, budget, np.random.default_rng(seed))
    second = ACQUISITION[name](shuffled, budget, np.random.default_rng(seed))

    assert first == second


@pytest.mark.parametrize("name", ACQUISITION)
@given(pool=candidates, budget=st.integers(0, 12))
def test_a_batch_holds_one_image_a_scene_and_as_many_as_there_are_up_to_the_budget(name, pool, budget):
    picks = ACQUISITION[name](pool, budget, np.random.default_rng(0))

    scene_of = {candidate.id: candidate.scene for candidate in pool}
    scenes = [scene_of[pick.id] for pick in picks]
    assert len(set(scenes)) == len(scenes) == min(budget, len(set(scene_of.values())))


@given(pool=candidates, budget=st.integers(1, 12))
def test_the_most_uncertain_of_every_scene_is_asked_first(pool, budget):
    picks = ACQUISITION["uncertain"](pool, budget, np.random.default_rng(0))

    best = {}
    for candidate in pool:
        best[candidate.scene] = max(best.get(candidate.scene, 0.0), candidate.uncertainty)
    by_id = {candidate.id: candidate for candidate in pool}
    assert [by_id[pick.id].uncertainty for pick in picks] == sorted(best.values(), reverse=True)[:budget]


def test_random_gives_a_scene_of_fifty_copies_no_more_than_its_chance():
    pool = [Candidate(f"copy{n}", scene=0) for n in range(50)] + [
        Candidate(f"single{n}", scene=n) for n in range(1, 10)
    ]

    first = [ACQUISITION["random"](pool, 1, np.random.default_rng(seed))[0].id for seed in range(300)]

    assert sum(name.startswith("copy") for name in first) / 300 == pytest.approx(0.1, abs=0.07)


@pytest.mark.parametrize("uncertainty", [None, float("nan")])
def test_an_image_without_a_score_is_no_uncertain_image(uncertainty):
    with pytest.raises(ValueError, match="expected an uncertainty"):
        ACQUISITION["uncertain"]([Candidate("a", 1, uncertainty)], 1, np.random.default_rng(0))


def test_the_reason_says_how_unsure_the_model_is():
    picks = ACQUISITION["uncertain"]([Candidate("a", 1, 0.7), Candidate("b", 2, 0.2)], 1, np.random.default_rng(0))

    assert picks[0].reason == "the model is unsure: uncertainty 0.70, place 1 of 2 scenes"
