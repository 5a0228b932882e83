import dataclasses
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.acquisition import ACQUISITION, choose, power
from ml.candidates import Ask, Candidate, expected_minutes

share = st.sampled_from([0.0, 0.25, 0.5, 1.0])
candidates = st.lists(
    st.builds(
        Candidate,
        id=st.integers(0, 999).map(str),
        scene=st.integers(0, 8),
        uncertainty=share,
        margin=share,
        disagreement=share,
        class_uncertainty=st.tuples(share, share),
        class_pixels=st.sampled_from([(100, 0, 0), (50, 50, 0), (40, 30, 30)]),
        embedding=st.floats(0, 2 * math.pi).map(lambda angle: (math.cos(angle), math.sin(angle))),
        minutes=st.sampled_from([0.5, 1.0, 3.0]),
    ),
    unique_by=lambda candidate: candidate.id,
)
every = pytest.mark.parametrize("name", ACQUISITION)


def chosen(name, pool, images, *, seed=0, **ask):
    return [pick.id for pick in choose(name, pool, Ask(images, **ask), np.random.default_rng(seed))]


def pool_of(count):
    """Candidates that differ in everything, each of its own scene."""
    rng = np.random.default_rng(1)
    return [
        Candidate(
            id=f"{n:03}", scene=n, uncertainty=rng.random(), margin=rng.random(), disagreement=rng.random(),
            class_uncertainty=tuple(rng.random(2)), class_pixels=(80, 10 * (n % 3), 10 * (n % 2)),
            embedding=(math.cos(n), math.sin(n)),
        )
        for n in range(count)
    ]  # fmt: skip


@every
@settings(max_examples=30)
@given(pool=candidates, images=st.integers(0, 12), seed=st.integers(0, 99), order=st.randoms())
def test_a_batch_is_the_same_in_whatever_order_the_pool_comes(name, pool, images, seed, order):
    shuffled = list(pool)
    order.shuffle(shuffled)

    first = choose(name, pool, Ask(images), np.random.default_rng(seed))
    second = choose(name, shuffled, Ask(images), np.random.default_rng(seed))

    assert first == second


@every
@settings(max_examples=30)
@given(pool=candidates, images=st.integers(0, 12))
def test_a_batch_holds_as_many_as_there_are_up_to_what_is_asked_and_nothing_twice(name, pool, images):
    scene_of = {candidate.id: candidate.scene for candidate in pool}

    ids = chosen(name, pool, images)

    assert len(set(ids)) == len(ids)
    possible = len(pool) if name == "random" else len(set(scene_of.values()))
    assert len(ids) == min(images, possible)
    if name != "random":
        assert len({scene_of[one] for one in ids}) == len(ids)


@pytest.mark.parametrize("name", [name for name in ACQUISITION if name not in {"entropy", "margin", "disagreement"}])
def test_another_seed_chooses_others(name):
    assert len({tuple(chosen(name, pool_of(40), 5, seed=seed)) for seed in range(5)}) > 1


@pytest.mark.parametrize("name", ["entropy", "margin", "disagreement"])
def test_without_noise_the_seed_only_breaks_ties(name):
    assert len({tuple(chosen(name, pool_of(40), 5, seed=seed)) for seed in range(5)}) == 1
    alike = [dataclasses.replace(one, uncertainty=0.5, margin=0.5, disagreement=0.5) for one in pool_of(40)]
    assert len({tuple(chosen(name, alike, 5, seed=seed)) for seed in range(5)}) > 1


@every
@settings(max_examples=30)
@given(pool=candidates, minutes=st.floats(0, 8))
def test_a_batch_never_takes_longer_than_asked(name, pool, minutes):
    ids = chosen(name, pool, 12, minutes=minutes)

    cost = {candidate.id: candidate.minutes for candidate in pool}
    assert sum(cost[one] for one in ids) <= minutes


def test_of_two_as_uncertain_the_quicker_one_is_asked_first():
    slow = Candidate("slow", 1, uncertainty=0.6, minutes=4.0)
    quick = Candidate("quick", 2, uncertainty=0.3, minutes=1.0)

    assert chosen("entropy", [slow, quick], 2) == ["quick", "slow"]


@given(pool=candidates, images=st.integers(1, 12))
def test_the_most_uncertain_of_every_scene_is_asked_first(pool, images):
    pool = [dataclasses.replace(one, minutes=1.0) for one in pool]

    ids = chosen("entropy", pool, images)

    best = {}
    for candidate in pool:
        best[candidate.scene] = max(best.get(candidate.scene, 0.0), candidate.uncertainty)
    by_id = {candidate.id: candidate for candidate in pool}
    assert [by_id[one].uncertainty for one in ids] == sorted(best.values(), reverse=True)[:images]


def test_the_smallest_margin_and_the_largest_disagreement_are_asked_first():
    pool = pool_of(20)

    assert chosen("margin", pool, 20) == [one.id for one in sorted(pool, key=lambda one: one.margin)]
    assert chosen("disagreement", pool, 20) == [one.id for one in sorted(pool, key=lambda one: -one.disagreement)]


def test_random_scenes_gives_a_scene_of_fifty_copies_no_more_than_its_chance_and_random_does():
    pool = [Candidate(f"copy{n}", scene=0) for n in range(50)] + [
        Candidate(f"single{n}", scene=n) for n in range(1, 10)
    ]

    def copies(name):
        return sum(chosen(name, pool, 1, seed=seed)[0].startswith("copy") for seed in range(300)) / 300

    assert copies("random_scenes") == pytest.approx(0.1, abs=0.07)
    assert copies("random") == pytest.approx(50 / 59, abs=0.07)


def test_strong_noise_is_almost_chance_and_weak_noise_almost_none():
    pool = pool_of(40)
    best = set(chosen("entropy", pool, 8))

    def shared(power):
        return np.mean([len(best & set(chosen("power_entropy", pool, 8, seed=n, power=power))) for n in range(30)])

    assert shared(0.01) < 4 < shared(1000.0)
    assert shared(1e6) == 8


def test_the_noise_of_a_campaign_fades_from_its_first_to_its_last_batch():
    assert [power(turn, 3) for turn in range(3)] == pytest.approx([1, 10, 100])
    assert power(0, 1) == 1
    assert power(7, 3) == 100


def test_a_rare_class_has_its_share_of_a_stratified_batch():
    common = [Candidate(f"c{n}", n, 0.9, (90, 10, 0), 0.1, (0.9, 0.01), 0.1, (math.cos(n), math.sin(n)))
              for n in range(90)]  # fmt: skip
    rare = [Candidate(f"r{n}", 100 + n, 0.3, (90, 0, 10), 0.1, (0.01, 0.3), 0.1, (math.cos(n), -math.sin(n)))
            for n in range(10)]  # fmt: skip

    asked = {name: Counter(one[0] for one in chosen(name, common + rare, 12, power=100.0))
             for name in ("entropy", "stratified_entropy", "random_classes")}  # fmt: skip

    assert asked["entropy"]["r"] == 0
    assert asked["stratified_entropy"]["r"] == pytest.approx(12 * 0.33, abs=1)
    assert asked["random_classes"]["r"] == 6


def test_a_stratified_batch_takes_no_two_that_look_alike_while_others_are_there():
    def one(name, scene, uncertainty, angle):
        return Candidate(name, scene, uncertainty, class_uncertainty=(uncertainty,),
                         embedding=(math.cos(angle), math.sin(angle)))  # fmt: skip

    twins = [one(f"twin{n}", n, 0.9, 0.0001 * n) for n in range(3)]
    others = [one(f"other{n}", 10 + n, 0.5, 0.5 + 0.2 * n) for n in range(12)]

    first = chosen("stratified_entropy", twins + others, 10, power=1e6)

    assert sum(name.startswith("twin") for name in first) == 1
    assert sorted(chosen("stratified_entropy", twins + others, 99)) == sorted(c.id for c in twins + others)


def test_centres_lie_as_far_apart_as_the_pool_allows():
    corners = [Candidate(f"corner{n}", n, embedding=tuple(np.eye(4)[n])) for n in range(4)]
    crowd = [Candidate(f"crowd{n}", 10 + n, embedding=(0.5, 0.5, 0.5, 0.5)) for n in range(50)]

    ids = chosen("k_center", corners + crowd, 5)

    assert sum(name.startswith("corner") for name in ids) == 4


def _broken(need):
    whole = pool_of(3)
    value = getattr(whole[0], need)
    nan = (math.nan, *value[1:]) if isinstance(value, tuple) else math.nan
    return [[dataclasses.replace(whole[0], **{need: one}), *whole[1:]] for one in (nan, () if value == () else None)]


@pytest.mark.parametrize(("name", "need"), [(n, need) for n, one in ACQUISITION.items() for need in one.needs])
def test_a_score_that_is_missing_or_no_number_is_refused_by_name(name, need):
    for pool in _broken(need):
        with pytest.raises(ValueError, match=f"candidate 000: {name} expected numbers as {need}"):
            chosen(name, pool, 1)


def test_embeddings_of_two_models_are_not_compared():
    pool = [Candidate("a", 1, embedding=(1.0, 0.0)), Candidate("b", 2, embedding=(1.0,))]

    with pytest.raises(ValueError, match="predict the whole pool with one model"):
        chosen("k_center", pool, 1)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"expected one of random, random_scenes, .*, got 'magic'"):
        chosen("magic", [], 1)


@every
def test_every_pick_says_why(name):
    picks = choose(name, pool_of(9), Ask(6, classes=("scratch", "patch")), np.random.default_rng(0))

    assert all(10 < len(pick.reason) <= 200 for pick in picks)
    assert len({pick.reason for pick in picks}) > 1 or name in {"random", "random_scenes"}


def test_the_reason_names_the_class_and_the_score():
    said = {
        name: choose(name, pool, Ask(1, classes=("scratch", "patch")), np.random.default_rng(0))[0].reason
        for name, pool in {
            "entropy": [Candidate("a", 1, 0.7), Candidate("b", 2, 0.2)],
            "random_classes": [Candidate("a", 1, class_pixels=(90, 0, 10))],
            "stratified_entropy": [Candidate("a", 1, 0.1, class_uncertainty=(0.9,), embedding=(1.0,))],
        }.items()
    }

    assert said == {
        "entropy": "the model is unsure: uncertainty 0.70, place 1 of 2 scenes",
        "random_classes": "drawn at random from the images that show patch",
        "stratified_entropy": "the model is unsure about scratch: 0.90, drawn by it",
    }


def test_expected_minutes_follow_the_defect_pixels_once_enough_answers_are_known():
    known = [(pixels, 30 + 0.1 * pixels) for pixels in range(0, 1000, 100)]

    assert expected_minutes([0, 600], known) == pytest.approx([0.5, 1.5])
    assert expected_minutes([0, 600], known[:2]) == pytest.approx([35 / 60] * 2)
    assert expected_minutes([0, 600], [(pixels, 90 - seconds) for pixels, seconds in known]) == pytest.approx(
        [0.25] * 2
    )
    assert expected_minutes([0, 600], []) == [1.0, 1.0]
