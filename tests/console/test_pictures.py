import io

import numpy as np
import pytest
from django.urls import reverse
from PIL import Image as Picture

from catalog.models import DefectClass

pytestmark = pytest.mark.django_db


@pytest.fixture
def one(campaign, make):
    """A predicted image whose mask is class 1 everywhere."""
    found = make.full_round(campaign).stages.get(kind="predict").predictions.select_related("image").first()
    assert found is not None
    return found


def overlay_of(prediction) -> str:
    return reverse("image-overlay", kwargs={"pk": prediction.image_id, "prediction": prediction.pk})


def mean_colour(response) -> list[int]:
    pixels = np.asarray(Picture.open(io.BytesIO(response.content)).convert("RGB"))
    return [round(value) for value in pixels.reshape(-1, 3).mean(axis=0)]


def test_a_thumbnail_is_a_picture_that_only_this_browser_keeps(as_annotator, one):
    response = as_annotator.get(reverse("image-thumbnail", args=[one.image_id]))

    assert response["Content-Type"] == "image/webp"
    assert "private" in response["Cache-Control"]
    assert mean_colour(response) == pytest.approx([128, 128, 128], abs=3)


def test_a_picture_the_browser_has_is_not_drawn_again(as_annotator, one, monkeypatch):
    first = as_annotator.get(overlay_of(one))
    monkeypatch.setattr("console.overlays.overlay", lambda *_: pytest.fail("drawn again"))

    again = as_annotator.get(overlay_of(one), headers={"If-None-Match": first["ETag"]})

    assert again.status_code == 304
    assert not again.content


def test_a_prediction_is_drawn_in_the_colour_of_its_class(as_annotator, one):
    red, green, blue = mean_colour(as_annotator.get(overlay_of(one)))

    assert red > 150
    assert green == pytest.approx(70, abs=5)
    assert blue == pytest.approx(70, abs=5)


def test_a_new_class_colour_makes_a_new_picture(as_annotator, one):
    before = as_annotator.get(overlay_of(one))["ETag"]

    DefectClass.objects.filter(index=1).update(colour="#00ff00")

    response = as_annotator.get(overlay_of(one), headers={"If-None-Match": before})
    assert response.status_code == 200
    assert mean_colour(response)[1] > 150


def test_a_label_is_drawn_over_its_image(as_annotator, project, make):
    label = make.label(make.image(project), mask=np.full((32, 32), 2, np.uint8))

    response = as_annotator.get(reverse("image-overlay", kwargs={"pk": label.image_id, "label": label.pk}))

    assert mean_colour(response)[2] > 150


def test_without_a_mask_the_overlay_is_the_view(as_annotator, one):
    response = as_annotator.get(reverse("image-overlay", args=[one.image_id]))

    assert mean_colour(response) == pytest.approx([128, 128, 128], abs=3)


def test_a_mask_of_another_image_is_not_drawn(as_annotator, one, project, make):
    other, label = make.image(project), make.label(make.image(project))

    wrong = [{"prediction": one.pk}, {"label": label.pk}]

    for mask in wrong:
        assert as_annotator.get(reverse("image-overlay", kwargs={"pk": other.pk, **mask})).status_code == 404


def test_a_withdrawn_label_has_no_picture(as_annotator, project, make):
    label = make.label(make.image(project), withdrawn=True, path="")

    assert (
        as_annotator.get(reverse("image-overlay", kwargs={"pk": label.image_id, "label": label.pk})).status_code == 404
    )


def test_a_path_that_leaves_the_data_folder_is_refused(as_annotator, one):
    type(one.image).objects.filter(pk=one.image_id).update(view="../../etc/passwd")

    assert as_annotator.get(reverse("image-thumbnail", args=[one.image_id])).status_code == 400


def test_an_overlay_costs_a_fixed_number_of_queries(as_annotator, one, django_assert_num_queries):
    with django_assert_num_queries(6):  # session, user; image, prediction, shard, colours
        as_annotator.get(overlay_of(one))
