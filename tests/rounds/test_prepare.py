import numpy as np
import pytest

from catalog.models import Image
from rounds.stages import prepare


def test_it_counts_labels_per_class_in_words(campaign, project, claimed, label):
    for image in project.images.filter(split="train")[:4]:
        label(image)
    stage = claimed(campaign)

    prepare.run(stage)

    stage.refresh_from_db()
    assert stage.status == "done"
    assert stage.result["labels_per_class"] == {"scratch": 1, "patch": 2}
    assert stage.result["summary"] == (
        "4 labelled training images, 4 without a label; training will take 12 image passes"
    )
    # Squares of 24 x 16 pixels on three of four labels.
    assert stage.result["defect_share"] == pytest.approx(3 * 24 * 16 / (4 * 64 * 64))
    assert stage.result["notes"] == []


def test_a_class_that_no_label_shows_is_noted(campaign, project, claimed, label):
    label(project.images.get(name="001.png"))
    stage = claimed(campaign)

    prepare.run(stage)

    stage.refresh_from_db()
    assert stage.result["notes"] == ["No label shows 'scratch' yet: no model can find it."]


def test_without_a_label_it_says_what_to_do(campaign, claimed):
    with pytest.raises(prepare.Unprepared, match="Label some images first"):
        prepare.run(claimed(campaign))


def test_labels_that_are_all_empty_teach_nothing(campaign, project, claimed, label):
    label(project.images.get(name="001.png"), mask=np.zeros((64, 64), np.uint8))

    with pytest.raises(prepare.Unprepared, match="Label images that show one"):
        prepare.run(claimed(campaign))


def test_a_scene_in_two_splits_is_refused(campaign, project, claimed, label):
    label(project.images.get(name="001.png"))
    test = project.images.filter(split="test").first()
    Image.objects.filter(name="002.png").update(scene=test.scene)

    with pytest.raises(prepare.Unprepared, match="more than one split"):
        prepare.run(claimed(campaign))


def test_an_image_that_was_kept_out_does_not_make_its_scene_shared(campaign, project, claimed, label):
    label(project.images.get(name="001.png"))
    test = project.images.filter(split="test").first()
    Image.objects.filter(name="002.png").update(scene=test.scene, kept_out="its scene is in test")
    stage = claimed(campaign)

    prepare.run(stage)

    stage.refresh_from_db()
    assert stage.result["notes"][-1] == "1 images are kept out: their scenes meet another split."
