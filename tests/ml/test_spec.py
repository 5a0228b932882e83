import dataclasses
import json

import pytest

from ml import recipes, spec
from ml.optimisation import OPTIMISERS
from ml.steps import STEPS

TRAINING = spec.TrainSpec(
    classes=("scratch",),
    labelled=(spec.Sample("1", "a.png", "a-mask.png"),),
    pseudo=(spec.Sample("2", "b.png", "masks.zip/2.png"),),
    network=spec.NetworkSpec(channels=3, width=8),
)


@pytest.mark.parametrize(
    "value",
    [
        TRAINING,
        spec.PredictResult("masks.zip", (spec.Score("1", "1.png", 0.5, 0.5, None, None, (3, 4)),), 1.0, "cpu fp32"),
        spec.EvaluateResult((spec.Figures("a.pt", ((1, 2), (3, 4)), (0.5, None), 0.5, None),), 1, "c.npz", 2.0),
    ],
)
def test_what_is_written_comes_back(tmp_path, value):
    spec.write(value, tmp_path, "x.json")

    assert spec.read(type(value), tmp_path, "x.json") == value
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stepz": 3}, "unknown fields stepz; known: classes"),
        ({"classes": "scratch"}, r"TrainSpec.classes: expected a list, got 'scratch'"),
        ({"steps": 3.5}, r"TrainSpec.steps: expected int, got 3.5"),
        ({"batch": True}, r"TrainSpec.batch: expected int, got True"),
        ({"labelled": [{"id": "1"}]}, r"TrainSpec.labelled\[0\]: missing fields image"),
        ({"network": [1]}, r"TrainSpec.network: expected an object"),
    ],
)
def test_a_field_that_is_not_understood_is_named(change, message):
    content = {**dataclasses.asdict(TRAINING), **change}

    with pytest.raises(spec.SpecError, match=message):
        spec.from_json(spec.TrainSpec, json.dumps(content))


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_every_training_of_every_recipe_is_one_that_ml_can_run(name):
    recipe = recipes.frozen_copy(name)
    known = {field.name for field in dataclasses.fields(spec.TrainSpec)}

    for stage in recipe["stages"]:
        if stage["kind"] == "train":
            settings = {**recipe["train"], **stage["settings"]}
            assert set(settings) <= known | {"pseudo", "warm_start", "same_epochs"}
            assert settings.get("step", "supervised") in STEPS
            assert settings.get("optimiser", "sgd") in OPTIMISERS
            assert settings.get("pseudo", True) is True


def test_a_frozen_recipe_is_plain_json_and_takes_overrides():
    recipe = recipes.frozen_copy("ppl", {"steps": 7})

    assert json.loads(json.dumps(recipe)) == recipe
    assert recipe["train"]["steps"] == 7
    assert recipes.RECIPES["ppl"].train["steps"] != 7


def test_an_unknown_recipe_is_refused_with_the_known_ones():
    with pytest.raises(KeyError, match="unknown recipe 'magic'; known: supervised, ppl"):
        recipes.frozen_copy("magic")
