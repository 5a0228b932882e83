"""The benches of recipes, on generated surfaces; nothing is faked."""

import json
import xml.etree.ElementTree as ET

import pytest

from ml import synthetic
from ml.__main__ import main
from ml.bench import command

TINY = {"steps": 2, "batch": 2, "crop": 64, "network": {"name": "half_unet", "channels": 1, "width": 2}}


@pytest.mark.timeout(240)
def test_every_image_pass_of_the_smoke_was_known_beforehand(tmp_path, capfd):
    """The bench runs all of them; here those that between them have every kind of stage."""
    kinds = ("w2s_ema_distilled", "ppl_as_released")

    assert main(["bench", "smoke", "--recipes", *kinds, "--out", str(tmp_path)]) == 0

    figures = json.loads((tmp_path / "smoke.json").read_text())["recipes"]
    assert tuple(figures) == kinds
    assert all(one["planned"] == one["image_passes"] > 0 for one in figures.values())
    assert "w2s_ema_distilled, 6 labels: 60 image passes (train on labels and the pool 36" in capfd.readouterr().out
    assert (tmp_path / "smoke.md").read_text().count("| w2s_ema_distilled |") == 1


@pytest.mark.timeout(240)
def test_recipes_are_compared_by_share_of_labels_at_equal_passes(tmp_path):
    synthetic.generate(tmp_path / "surfaces", images=24, size=64, seed=3)

    told = [
        "bench", "recipes", str(tmp_path / "surfaces"), "--work", str(tmp_path / "work"), "--recipes", "supervised",
        "w2s_ema", "--ratios", "1/2", "1/4", "--seeds", "0", "--train", json.dumps(TINY), "--passes", "12",
        "--out", str(tmp_path / "out"),
    ]  # fmt: skip
    assert main(told) == 0

    figures = json.loads((tmp_path / "out" / "recipes.json").read_text())
    train = figures["1/2"]["images"]["train"]
    assert [figures[ratio]["arms"][0]["budgets"] for ratio in ("1/2", "1/4")] == [
        [round(train / 2)],
        [round(train / 4)],
    ]
    page = (tmp_path / "out" / "recipes.md").read_text()
    assert f"| 1/4 ({round(train / 4)}) | supervised |" in page
    assert "12 image passes of every round" in page
    drawn = ET.parse(tmp_path / "out" / "recipes.svg").getroot()
    assert len(drawn.findall(".//{*}circle")) == 2 * 2
    assert {"supervised", "w2s_ema", f"1/4 ({round(train / 4)})"} <= {one.text for one in drawn.iterfind(".//{*}text")}
    assert {arm["image_passes"] for ratio in figures.values() for arm in ratio["arms"]} == {12}
    # Trained and measured: with each share twice, and with all labels once for both.
    assert len(list(tmp_path.glob("work/steps/*/result.json"))) == 2 * 5


def test_what_the_bench_hears_for_simulate_is_what_simulate_takes():
    from ml import simulate

    words = [word for name in command.HEARD for word in (f"--{name}", "1")]

    heard = simulate.parsed(["FOLDER", "--out", "OUT", "--budgets", "1/8", *words])

    assert {str(getattr(heard, name)) for name in command.HEARD} == {"1"}
