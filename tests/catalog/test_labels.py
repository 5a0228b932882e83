import numpy as np
import pytest
from django.contrib.auth.models import User
from PIL import Image as Picture

from catalog import files
from catalog.labels import store_label, withdraw
from catalog.models import Label


@pytest.fixture
def image(project, source, bring_in):
    bring_in(project, source)
    return project.images.first()


@pytest.fixture
def answer(image, db):
    anna = User.objects.create_user("anna")

    def answer(mask, key="label-studio:7:now"):
        return store_label(
            image, mask, annotator=anna, scripted=False, seconds=12.5, origins={"manual": 2}, external_key=key
        )  # fmt: skip

    return answer


def test_a_label_keeps_its_mask_who_drew_it_and_how_long_it_took(answer):
    mask = np.zeros((64, 64), np.uint8)
    mask[3:9, 4:8] = 2
    mask[0] = 255

    label = answer(mask)

    assert np.array_equal(Picture.open(files.absolute(label.path)), mask)
    assert files.sha256_of(files.absolute(label.path)) == label.sha256
    assert (label.annotator.username, label.seconds, label.origins) == ("anna", 12.5, {"manual": 2})
    assert label.classes == [2]


def test_the_same_answer_heard_twice_is_stored_once(answer, image):
    first = answer(np.zeros((64, 64), np.uint8))

    assert answer(np.zeros((64, 64), np.uint8)) == first
    assert image.labels.filter(annotator__isnull=False).count() == 1


def test_a_correction_is_a_new_label_and_a_withdrawal_takes_it_back(answer, image):
    answer(np.zeros((64, 64), np.uint8))
    corrected = answer(np.ones((64, 64), np.uint8), key="label-studio:7:later")

    assert Label.objects.filter(image=image).that_count().get() == corrected
    for _ in range(2):
        gone = withdraw(image, annotator=None, scripted=False, external_key="label-studio:7:deleted")
    assert gone.withdrawn
    assert not Label.objects.filter(image=image).that_count().exists()


@pytest.mark.parametrize(
    ("mask", "complaint"),
    [
        (np.zeros((64, 63), np.uint8), "expected uint8"),
        (np.zeros((64, 64), np.int64), "expected uint8"),
        (np.full((64, 64), 4, np.uint8), r"holds \[4\]; project strip knows \[0, 1, 2, 3, 255\]"),
    ],
)
def test_a_mask_that_does_not_fit_is_refused(answer, mask, complaint):
    with pytest.raises(ValueError, match=complaint):
        answer(mask)
