from html import unescape

import pytest
from django.urls import reverse

from rounds.models import Status

pytestmark = pytest.mark.django_db


def page_of(client, model) -> str:
    answer = client.get(reverse("model", args=[model.pk]))
    assert answer.status_code == 200
    return unescape(answer.content.decode())


@pytest.fixture
def model(campaign, make):
    return make.full_round(campaign).stages.get(kind="train").model


def test_figures_say_over_what_they_were_taken(as_annotator, model):
    page = page_of(as_annotator, model)

    assert "73.1\u00a0%" in page
    assert "test split, 90 images, background included" in page
    assert "63.1\u00a0% without background" in page
    assert "validation split, 60 images, background included" in page


def test_every_class_has_its_iou_and_an_absent_one_a_dash(as_annotator, model):
    page = page_of(as_annotator, model)

    for name, iou in (("background", "90.0\u00a0%"), ("scratch", "50.0\u00a0%"), ("pit", "–")):
        assert f'{name}</th><td class="measure">{iou}' in page


def test_confusion_is_a_share_of_each_true_class(as_annotator, model):
    page = page_of(as_annotator, model)

    assert 'style="--heat: 0.800">80.0\u00a0%' in page  # 80 of 100 scratch pixels
    assert 'style="--heat: 0.200">20.0\u00a0%' in page
    assert 'style="--heat: 0.000">–' in page  # no pit among the truth


def test_provenance_is_complete(as_annotator, model):
    page = page_of(as_annotator, model)

    for fact in (
        "20 labels and 0 pseudo-labels",
        "abc123abc123",
        "ppl",
        "seed 0",
        "16,000 image passes in 1 minute 21 seconds",
    ):
        assert fact in page


def test_parents_and_children_are_linked(as_annotator, model, campaign, make):
    child = make.model(make.round(campaign, {"train": Status.DONE}).stages.get())
    child.parents.add(model)

    assert f'<dt>Parents</dt><dd><a href="/models/{model.pk}/">version 1</a>' in page_of(as_annotator, child)
    assert f'<dt>Children</dt><dd><a href="/models/{child.pk}/">version 2</a>' in page_of(as_annotator, model)


def test_promote_is_offered_to_those_who_may(client, annotator, engineer, model):
    client.force_login(annotator)
    assert 'id="promote"' not in page_of(client, model)
    client.force_login(engineer)
    assert 'id="promote"' in page_of(client, model)


def test_a_model_that_was_never_evaluated_says_so(as_annotator, campaign, make):
    model = make.model(make.round(campaign, {"train": Status.DONE}).stages.get())

    assert "This model has not been evaluated yet." in page_of(as_annotator, model)


def test_the_page_costs_a_fixed_number_of_queries(as_annotator, model, django_assert_num_queries):
    # session, user; model; evaluations, parents, children, promotions; classes; champion; permissions
    with django_assert_num_queries(12):  # the last: what the splits leak
        page_of(as_annotator, model)
