import numpy as np
import pytest
from django.urls import reverse

from catalog import describing
from catalog.models import Image, Statistics
from ml import scenes
from rounds.models import Stage

pytestmark = pytest.mark.django_db


@pytest.fixture
def described(project, annotator, make):
    """Two test images and a training image, drawn, as a worker has found them; `shared`: what they are told to share."""

    def described(*, shared=0, given=False):
        project.benchmark = False
        project.save()
        for number, split in enumerate(("train", "test", "test"), start=1):
            image = make.image(project, split)
            rng = np.random.default_rng(number)
            Image.objects.filter(pk=image.pk).update(
                descriptor=scenes.descriptor(rng.integers(0, 255, (32, 32), np.uint8))
            )
            make.label(image, np.eye(32, dtype=np.uint8), annotator=annotator)
        found = describing.describe(project.pk)
        if shared:
            (leak,) = found.figures["leaks"]
            leak |= {"shared": shared, "given": given, "sentence": "test LEAKS: 1 of its 2 images."}
            found.save()
        return found

    return described


def page(client, project) -> str:
    return client.get(reverse("statistics", args=[project.pk])).content.decode()


def test_before_there_are_images_the_page_says_what_it_will_show(as_annotator, project):
    assert "No images yet" in page(as_annotator, project)


def test_before_a_worker_has_looked_the_page_waits(as_annotator, project, make):
    make.image(project)

    text = page(as_annotator, project)

    assert "Being computed" in text
    assert 'hx-trigger="every 5s' in text


def test_the_page_shows_what_was_found_and_reads_no_mask(as_annotator, project, described, monkeypatch):
    described()
    monkeypatch.setattr("catalog.figures.figures_of", lambda _: pytest.fail("computed in the request"))

    text = page(as_annotator, project)

    for told in (
        "Computed",
        "scratch",
        "3.1",
        "Class scratch occurs in 3 images of 3 scenes",
        "None of the 2 test images",
    ):
        assert told in text
    assert "hx-trigger" not in text


def test_what_came_in_since_is_said(as_annotator, project, described, make):
    described()
    make.image(project)

    assert "something has come in since" in page(as_annotator, project)


def test_the_page_costs_a_fixed_number_of_queries(as_annotator, project, described, django_assert_max_num_queries):
    described()

    with django_assert_max_num_queries(18):
        page(as_annotator, project)


@pytest.mark.parametrize("name", ["campaign", "round", "model"])
def test_beside_every_score_stands_what_its_split_leaks(as_annotator, project, campaign, described, make, name):
    described(shared=1)
    one = make.full_round(campaign)
    pk = {"campaign": campaign.pk, "round": one.pk, "model": Stage.objects.get(round=one, kind="train").model.pk}[name]

    text = as_annotator.get(reverse(name, args=[pk])).content.decode()

    assert 'class="leaking"' in text
    assert "Test LEAKS: 1 of its 2 images." in text


def test_twins_that_are_kept_out_are_told_apart_from_a_leak(as_annotator, project, campaign, described, make):
    described(shared=1, given=True)
    make.full_round(campaign)

    text = as_annotator.get(reverse("campaign", args=[campaign.pk])).content.decode()

    assert 'class="leaking"' not in text
    assert "As it was given, the test split leaks: 1 of its 2 images (50.0" in text
    assert "no score here rests on such twins" in text


def test_the_home_page_shows_a_look_up_beside_the_champion(as_annotator, project, campaign, described, make):
    described()
    stage = make.full_round(campaign).stages.get(kind="train")
    type(stage.model).objects.update(champion=True)

    assert "a look-up scores" in as_annotator.get(reverse("home")).content.decode()


def test_an_import_says_what_its_splits_share(as_annotator, project, described, make):
    described()
    done = make.imported(project, status="done", finished_at=Statistics.objects.get().computed_at)
    address = reverse("import", args=[done.pk])

    assert "None of the 2 test images" in as_annotator.get(address).content.decode()

    make.image(project)
    assert "is being computed" in as_annotator.get(address).content.decode()


def test_an_import_of_images_without_masks_waits_for_nothing(as_annotator, project, make):
    make.image(project)
    Statistics.objects.create(project=project, state=describing.state(project), figures={"leaks": []}, seconds=1)
    done = make.imported(project, status="done", finished_at=Statistics.objects.get().computed_at)

    text = as_annotator.get(reverse("import", args=[done.pk])).content.decode()

    assert "No validation or test image has a mask yet" in text
    assert "hx-trigger" not in text
