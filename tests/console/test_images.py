import re

import numpy as np
import pytest
from django.urls import reverse

from catalog.models import ReferenceMask, Scene, Split
from console import dataset

pytestmark = pytest.mark.django_db

SCRATCH, PIT = np.full((32, 32), 1, np.uint8), np.full((32, 32), 2, np.uint8)


@pytest.fixture
def ask(as_annotator, project):
    """The names on the page, in order, for a query."""

    def ask(client=as_annotator, **query):
        page = client.get(reverse("images", args=[project.pk]), query)
        assert page.status_code == 200
        return re.findall(r'class="name">([^<]+)<', page.content.decode())

    return ask


@pytest.fixture
def truth(make):
    """An image of a benchmark with given truth that shows scratches."""

    def truth(project):
        label = make.label(make.image(project), SCRATCH)
        path, sha256 = label.path, label.sha256
        label.delete()
        return ReferenceMask.objects.create(image=label.image, path=path, sha256=sha256, classes=[1])

    return truth


def test_a_project_without_images_says_how_to_import_some(as_annotator, project):
    page = as_annotator.get(reverse("images", args=[project.pk])).content.decode()

    assert "No images yet" in page
    assert 'import_images "Line 3"' in page.replace("&quot;", '"')


def test_every_image_is_there_by_name(ask, project, make):
    images = [make.image(project) for _ in range(3)]

    assert ask() == [image.name for image in images]


def test_a_split_holds_those_that_take_part_in_it(ask, project, make):
    train, test, out = make.image(project), make.image(project, Split.TEST), make.image(project)
    type(out).objects.filter(pk=out.pk).update(kept_out="shows what test shows")

    assert ask(split="train") == [train.name]
    assert ask(split="test") == [test.name]
    assert ask(split="out") == [out.name]


def test_what_a_filter_does_not_know_is_left_out(ask, project, make):
    image = make.image(project)

    for query in (
        {"split": "x"},
        {"shows": "9"},
        {"source": "x"},
        {"scene": "9" * 40},
        {"after": "9" * 40},
        {"name": "\0"},
    ):
        assert ask(**query) == [image.name]


def test_classes_are_those_of_the_label_that_counts(ask, project, annotator, make):
    image, other, clean, _ = (make.image(project) for _ in range(4))
    make.label(image, SCRATCH, annotator=annotator)
    make.label(image, PIT, annotator=annotator)
    make.label(other, SCRATCH, annotator=annotator)
    make.label(clean, annotator=annotator)

    assert ask(shows="1") == [other.name]
    assert ask(shows="2") == [image.name]
    assert ask(shows="0") == [clean.name]


def test_a_withdrawn_label_is_no_mask(ask, project, annotator, make):
    image = make.image(project)
    make.label(image, SCRATCH, annotator=annotator)
    make.label(image, annotator=annotator, withdrawn=True, path="", classes=None)

    assert ask(source="none") == [image.name]
    assert ask(source="people") == []


def test_sources_tell_people_imports_scripts_and_pseudo_labels_apart(ask, project, campaign, annotator, make):
    drawn, brought, scripted = (make.image(project) for _ in range(3))
    make.label(drawn, annotator=annotator)
    make.label(brought)
    make.label(scripted, scripted=True, annotator=annotator)
    make.full_round(campaign)  # two more images, of which one has a pseudo-label with scratches

    assert ask(source="people") == [drawn.name]
    assert ask(source="import") == [brought.name]
    assert ask(source="script") == [scripted.name]
    assert len(ask(source="pseudo")) == 1
    assert len(ask(source="none")) == 1
    assert ask(source="pseudo", shows="1") == ask(source="pseudo")
    assert ask(source="pseudo", shows="0") == []


def test_where_an_image_has_several_masks_the_one_shown_is_asked(ask, project, annotator, make):
    image = make.image(project)
    make.label(image, SCRATCH, scripted=True, annotator=annotator)
    make.label(image, PIT, annotator=annotator)

    assert ask(shows="1") == []
    assert ask(shows="2") == [image.name]
    assert ask(shows="1", source="script") == [image.name]


def test_surfaces_seen_more_than_once_stand_together(ask, project, make):
    first, alone, twin = (make.image(project) for _ in range(3))
    type(twin).objects.filter(pk=twin.pk).update(scene=first.scene)

    assert ask(scene="several") == [first.name, twin.name]
    assert ask(scene=str(alone.scene_id)) == [alone.name]


def test_pages_follow_each_other_without_gap_or_repetition(ask, project, make, monkeypatch):
    monkeypatch.setattr(dataset, "PAGE", 2)
    images = [make.image(project) for _ in range(5)]
    shared = Scene.objects.create(project=project, split="train")
    type(images[0]).objects.filter(project=project).update(scene=shared)

    for query in ({}, {"scene": "several"}):
        seen = ask(**query)
        while len(seen) < 5:
            last = next(image for image in images if image.name == seen[-1])
            seen += ask(after=str(last.pk), **query)
        assert seen == [image.name for image in images]


def test_the_tiles_that_follow_come_alone(as_annotator, project, make):
    first, second = make.image(project), make.image(project)

    answer = as_annotator.get(reverse("images", args=[project.pk]), {"after": first.pk}, headers={"HX-Request": "true"})

    text = answer.content.decode()
    assert second.name in text
    assert first.name not in text
    assert "<html" not in text


def test_a_page_costs_a_fixed_number_of_queries(
    as_annotator, project, annotator, campaign, make, django_assert_max_num_queries
):
    for _ in range(12):
        make.label(make.image(project), SCRATCH, annotator=annotator)
        make.label(make.image(project), SCRATCH, scripted=True, annotator=annotator)
    make.full_round(campaign, pictures=12)

    with django_assert_max_num_queries(14):
        assert len(as_annotator.get(reverse("images", args=[project.pk])).context["page"].tiles) == 36


def test_given_truth_is_shown_to_those_who_may_see_its_rows_only(as_annotator, ask, project, truth, client, engineer):
    given = truth(project)
    picture = reverse("truth-overlay", args=[given.image_id])

    assert ask(source="import") == []
    assert ask(shows="1") == []
    assert as_annotator.get(picture).status_code == 403
    assert "truth" not in as_annotator.get(reverse("image", args=[given.image_id])).content.decode()

    client.force_login(engineer)
    assert ask(client, source="import", shows="1") == [given.image.name]
    assert client.get(picture).status_code == 200
    assert client.get(reverse("truth-mask", args=[given.image_id])).status_code == 200


def test_a_picture_whose_address_names_it_is_kept_for_a_year(as_annotator, project, annotator, make):
    make.label(make.image(project), SCRATCH, annotator=annotator)
    page = as_annotator.get(reverse("images", args=[project.pk]))
    (tile,) = page.context["page"].tiles

    for address in (tile.mask.thumbnail, tile.mask.layer, tile.plain):
        kept = as_annotator.get(address)
        assert (kept.status_code, "immutable" in kept["Cache-Control"]) == (200, True)
    other = as_annotator.get(tile.mask.thumbnail[:-1] + "!")
    assert "immutable" not in other["Cache-Control"]


def test_a_thumbnail_is_drawn_once(as_annotator, project, make, monkeypatch):
    image = make.image(project)
    first = as_annotator.get(reverse("image-thumbnail", args=[image.pk])).content
    monkeypatch.setattr("console.overlays.thumbnail", lambda *_: pytest.fail("drawn again"))

    assert as_annotator.get(reverse("image-thumbnail", args=[image.pk])).content == first


def test_an_image_has_a_page_with_all_that_is_known_of_it(as_annotator, project, annotator, make):
    image, twin = make.image(project), make.image(project)
    type(twin).objects.filter(pk=twin.pk).update(scene=image.scene)
    type(image).objects.filter(pk=image.pk).update(provenance={"format": "COCO", "file": "old.png", "split": "val"})
    make.label(image, SCRATCH, annotator=annotator, origins={"manual": 3}, seconds=62)

    whole = as_annotator.get(reverse("image", args=[image.pk])).content.decode()
    bare = as_annotator.get(reverse("image", args=[image.pk]), headers={"HX-Request": "true"}).content.decode()

    for told in (
        "ann@burnish.example",
        "1 minute 2 seconds",
        "3 manual",
        "1 other image",
        "COCO, split val",
        "old.png",
        "scratch",
    ):
        assert told in whole
        assert told in bare
    assert "<html" not in bare
