from datetime import timedelta
from html import unescape

import pytest
from django.urls import reverse

from catalog.models import RefusedFile

pytestmark = pytest.mark.django_db


def page_of(client, one, query: str = "") -> str:
    answer = client.get(reverse("import", args=[one.pk]) + query)
    assert answer.status_code == 200
    return unescape(answer.content.decode())


def refuse(one, number: int) -> None:
    RefusedFile.objects.bulk_create(
        RefusedFile(of=one, name=f"{at:03}.png", reason="the file is truncated") for at in range(number)
    )


def test_a_running_import_says_how_far_it_is_and_how_long_it_takes(as_annotator, project, make):
    one = make.imported(project, status="running", total=400, imported=90, already_there=8)
    type(one).objects.update(heartbeat_at=one.created_at + timedelta(seconds=60))
    refuse(one, 2)

    page = page_of(as_annotator, one)

    assert 'aria-valuenow="25"' in page
    assert "100 of 400 files · about 3 minutes left" in page
    assert 'hx-trigger="every 2s' in page


def test_before_the_files_are_counted_no_share_is_claimed(as_annotator, project, make):
    page = page_of(as_annotator, make.imported(project, status="running"))

    assert "counting the files" in page
    assert "aria-valuenow" not in page


def test_a_finished_import_is_still(as_annotator, project, make):
    page = page_of(as_annotator, make.imported(project, status="done", total=3, imported=3))

    assert "hx-trigger" not in page
    assert "progressbar" not in page


def test_refused_files_are_listed_with_their_reason_page_by_page(as_annotator, project, make):
    one = make.imported(project, status="done")
    refuse(one, 70)

    first, second = page_of(as_annotator, one), page_of(as_annotator, one, "?page=2")

    assert first.count("the file is truncated") == 50
    assert second.count("the file is truncated") == 20
    assert "Page 2 of 2" in second


def test_a_page_that_is_not_there_shows_the_last(as_annotator, project, make):
    one = make.imported(project, status="done")
    refuse(one, 70)

    assert "Page 2 of 2" in page_of(as_annotator, one, "?page=99")


def test_warnings_and_the_error_are_shown(as_annotator, project, make):
    one = make.imported(project, status="failed", error="The folder is gone.", warnings=["3 images were kept out."])

    page = page_of(as_annotator, one)

    assert "The folder is gone." in page
    assert "3 images were kept out." in page


def test_only_those_who_may_can_cancel(client, annotator, engineer, project, make):
    one = make.imported(project, status="running")

    client.force_login(annotator)
    assert 'id="cancel"' not in page_of(client, one)
    client.force_login(engineer)
    assert 'id="cancel"' in page_of(client, one)
