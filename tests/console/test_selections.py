"""What a round's page tells of its select stages, and the images behind it."""

import re
from html import unescape

import numpy as np
import pytest
from django.urls import reverse

from console import dataset
from ml import selection
from rounds.models import Prediction, PseudoLabel, Status

pytestmark = pytest.mark.django_db

SIZE = 32 * 32
STAGES = ("train: train on labels", "predict: predict the pool", "select: select the reliable half")


def shows(*classes: int) -> list[int]:
    """The pixels of a mask with a tenth of each class."""
    pixels = [0, 0, 0]
    for index in classes:
        pixels[index] = SIZE // 10
    return [SIZE - sum(pixels), *pixels[1:]]


@pytest.fixture
def judged(campaign, make):
    """A done select stage that has judged masks, given as (reliability, pixels), with these settings."""

    def judged(told, *, status=Status.DONE, **settings):
        one = make.round(campaign, {**dict.fromkeys(STAGES[:2], Status.DONE), STAGES[2]: status})
        train, predict, select = one.stages.all()
        select.settings = {"share": 0.5, **settings}
        select.save()
        images = [make.image(campaign.project) for _ in told]
        made = make.predictions(predict, make.model(train), images, np.ones((32, 32), np.uint8))
        for row, (reliability, pixels) in zip(made, told, strict=True):
            row.reliability, row.class_pixels = reliability, pixels
        Prediction.objects.bulk_update(made, ["reliability", "class_pixels"])
        if status == Status.DONE:
            make.pseudo_labels(select, selection.divided(made, select.settings)[0])
        return select

    return judged


@pytest.fixture
def page_of(as_annotator):
    def page_of(stage) -> str:
        answer = as_annotator.get(reverse("round", args=[stage.round_id]))
        assert answer.status_code == 200
        return unescape(answer.content.decode())

    return page_of


def rows(page: str) -> list[list[str]]:
    """Of the table by class: name, images, accepted, refused, share, cut."""
    table = page.partition('<table class="shares">')[2].partition("<tbody>")[2].partition("</tbody>")[0]
    found = []
    for row in table.split("</tr>")[:-1]:
        words = re.sub(r"<svg.*?</svg>", "", row, flags=re.DOTALL)
        found.append([one.strip() for one in re.sub(r"<[^>]+>", "\n", words).split("\n") if one.strip()])
    return found


def scores(page: str) -> list[list[str]]:
    """Of each gallery in its order."""
    return [re.findall(r'class="score">([\d.]+)<', one) for one in page.split('class="gallery"')[1:]]


def test_one_ranking_has_one_cut_that_is_drawn_and_said(judged, page_of):
    page = page_of(judged([(0.9, shows(1)), (0.8, shows()), (0.42, shows(1, 2)), (0.3, shows(2))]))

    assert "Select the reliable half: 2 pseudo-labels accepted" in page
    assert "2 of 4 masks accepted, 2 refused. The cut is at reliability 0.800." in page
    assert ">cut: reliability 0.800</text>" in page
    assert rows(page) == [
        ["scratch", "2", "1", "1", "50.0\u00a0%", "0.800"],
        ["pit", "2", "0", "2", "0.0\u00a0%", "0.800"],
        ["no defect", "1", "1", "0", "100.0\u00a0%", "0.800"],
    ]


def test_every_class_has_its_own_cut_where_it_is_accepted_by_class(judged, page_of):
    surest = [(0.9 - n / 100, shows(1)) for n in range(6)]
    rare = [(0.4 - n / 100, shows(2)) for n in range(4)]

    page = page_of(judged([*surest, *rare], per_class=True))

    assert "Each class has its own cut, from reliability 0.390 (pit) to 0.880 (scratch)." in page
    assert ">cuts 0.390 to 0.880</text>" in page
    assert "scratch: cut 0.880" in page
    assert rows(page) == [
        ["scratch", "6", "3", "3", "50.0\u00a0%", "0.880"],
        ["pit", "4", "2", "2", "50.0\u00a0%", "0.390"],
        ["no defect", "0", "0", "0", "no mask shows it", "–"],
    ]


def test_stray_pixels_are_not_counted_as_a_class(judged, page_of):
    stray = [SIZE - 1, 1, 0]

    page = page_of(judged([(0.9, stray), (0.8, shows())]))

    assert [row[:2] for row in rows(page)] == [["scratch", "0"], ["pit", "0"], ["no defect", "2"]]


def test_pictures_show_both_ends_of_the_ranking_and_both_sides_of_the_cut(judged, page_of):
    page = page_of(judged([(0.9 - n / 100, shows(1)) for n in range(40)]))

    best, cut, worst = scores(page)
    assert best == [f"{0.9 - n / 100:.3f}" for n in range(8)]
    assert cut == [f"{0.9 - n / 100:.3f}" for n in range(16, 24)]
    assert worst == [f"{0.51 + n / 100:.3f}" for n in range(8)]
    assert page.count('loading="lazy"') == 24
    assert len(re.findall(r'<li class="refused">', page)) == 12


def test_the_figures_of_the_histogram_can_be_read_and_copied(judged, page_of):
    page = page_of(judged([(0.61, shows(1)), (0.605, shows()), (0.52, shows()), (0.5, shows())]))

    table = page.partition("<details>")[2].partition("</details>")[0]
    assert re.findall(r'class="number">([\d.]+)</td>', table) == [
        "0.500", "0.505", "0", "1",
        "0.520", "0.525", "0", "1",
        "0.605", "0.610", "1", "0",
        "0.610", "0.615", "1", "0",
    ]  # fmt: skip


def test_without_a_reliability_masks_are_ranked_by_confidence_and_said_so(judged, page_of):
    select = judged([(0.9, shows(1)), (0.8, shows())], share=1.0)
    Prediction.objects.update(reliability=None)

    page = page_of(select)

    assert "2 masks, confidence 0.800 to 0.800; there is no cut." in page
    assert [len(one) for one in scores(page)] == [2]


def test_a_stage_that_has_not_run_says_what_it_waits_for(judged, page_of):
    page = page_of(judged([], status=Status.PENDING))

    assert "Not judged yet: the masks of “predict the pool”, by reliability, once that stage is done." in page
    assert "<svg" not in page.partition('class="card selection"')[2]


def test_a_stage_that_found_nothing_to_judge_says_so(judged, page_of):
    assert "There was no mask to judge" in page_of(judged([]))


def test_where_the_stage_failed_the_masks_it_refused_can_still_be_seen(judged, page_of):
    page = page_of(judged([(0.9 - n / 100, shows()) for n in range(20)], status=Status.FAILED))

    assert "None of 20 masks was accepted (reliability 0.710 to 0.900). The stage failed" in page
    assert [len(one) for one in scores(page)] == [8, 8]
    assert "all 20 refused" in page


def test_a_cancelled_stage_says_that_nothing_was_accepted(judged, page_of):
    assert "Cancelled before anything was accepted." in page_of(judged([], status=Status.CANCELLED))


def test_one_accepted_mask_of_one_is_a_histogram_too(judged, page_of):
    assert "1 mask, reliability 1.000 to 1.000; there is no cut." in page_of(judged([(1.0, shows(1))], share=1.0))


def test_the_pool_may_be_of_any_size_for_the_same_number_of_queries(
    judged, page_of, django_assert_max_num_queries, django_assert_num_queries
):
    small = judged([(0.9 - n / 100, shows(n % 3)) for n in range(12)], per_class=True)
    with django_assert_max_num_queries(25) as asked:
        page_of(small)
    PseudoLabel.objects.all().delete()
    large = judged([(0.9 - n / 100, shows(n % 3)) for n in range(40)], per_class=True)

    with django_assert_num_queries(len(asked)):
        page_of(large)


@pytest.fixture
def names(as_annotator, project):
    """The names on the page of images, in order, for a query."""

    def names(**query):
        page = as_annotator.get(reverse("images", args=[project.pk]), query)
        assert page.status_code == 200
        return re.findall(r'class="name">([^<]+)<', page.content.decode())

    return names


def test_all_that_was_accepted_or_refused_is_a_page_of_images_by_score(judged, names, monkeypatch):
    monkeypatch.setattr(dataset, "PAGE", 2)
    select = judged(
        [(0.3, shows(1)), (0.9, shows(1)), (0.5, shows(2)), (0.4, shows()), (0.8, shows(1)), (0.7, shows())]
    )
    by_score = list(Prediction.objects.order_by("-reliability").select_related("image"))

    accepted = f"accepted-{select.pk}"
    assert names(verdict=accepted) == [one.image.name for one in by_score[:2]]
    assert names(verdict=accepted, after=by_score[1].image_id) == [by_score[2].image.name]
    assert names(verdict=f"refused-{select.pk}", shows="2") == [by_score[3].image.name]
    assert names(verdict=f"refused-{select.pk}", shows="0") == [by_score[4].image.name]
    assert names(verdict="accepted-999999999") == names()


def test_the_counts_of_a_class_lead_to_as_many_images(judged, page_of, as_annotator):
    # Three pixels are more than stray, two are not.
    told = [(0.9 - n / 100, [SIZE - 100 * (n % 3) - n % 4, 100 * (n % 3), n % 4]) for n in range(12)]
    page = page_of(judged(told, per_class=True))

    links = re.findall(r'<td class="number"><a href="([^"]+)">(\d+)</a>', page)
    assert len(links) == 6
    for address, number in links:
        assert f'<strong id="count">{number}</strong>' in as_annotator.get(address).content.decode()


def test_a_verdict_of_another_project_is_not_shown(judged, as_annotator, make):
    select = judged([(0.9, shows(1)), (0.8, shows())])
    other = type(select.round.campaign.project).objects.create(name="Line 4")
    make.image(other)

    page = as_annotator.get(reverse("images", args=[other.pk]), {"verdict": f"accepted-{select.pk}"})

    assert len(page.context["page"].tiles) == 1
    assert page.context["filters"] == dataset.Filters()


def test_a_picture_leads_to_its_image_with_the_mask_that_was_judged(judged, page_of, as_annotator):
    page = page_of(judged([(0.9, shows(1)), (0.3, shows(2))]))

    refused = page.rpartition('<li class="refused">')[2]
    image = as_annotator.get(re.search(r'href="([^"]+)"', refused)[1]).content.decode()
    assert "Predicted" in image
    assert "reliability 0.30" in image
    assert as_annotator.get(re.search(r'src="([^"]+)"', refused)[1])["Content-Type"] == "image/webp"
