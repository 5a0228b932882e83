from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from rounds.models import Status
from rounds.stages import RUNNERS


def run(campaign) -> str:
    said = StringIO()
    call_command("run_campaign", campaign.pk, stdout=said)
    return said.getvalue()


def test_it_stops_where_people_are_asked(campaign):
    said = run(campaign)

    assert said.splitlines()[-1] == "label 4 images first"
    assert campaign.rounds.get().stages.last().status == Status.WAITING


def test_it_runs_to_the_end_of_the_budget(campaign, answer, fake_ml):
    run(campaign)
    answer(campaign)
    run(campaign)
    answer(campaign)

    said = run(campaign)

    campaign.refresh_from_db()
    assert said.splitlines()[-1] == "finished"
    assert campaign.closed_at is not None
    assert campaign.labels().count() == 6


def test_it_says_why_a_stage_failed(campaign, monkeypatch):
    def broken(stage):
        raise ValueError("torn")

    monkeypatch.setitem(RUNNERS, "acquire", broken)

    with pytest.raises(CommandError, match="failed: torn"):
        run(campaign)


def test_an_unknown_campaign_is_refused(db):
    with pytest.raises(CommandError, match="Expected the number of a campaign"):
        call_command("run_campaign", 12345)
