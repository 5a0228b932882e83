import time
from threading import Thread

import pytest
from django.db import connections

from rounds import campaigns, tasks
from rounds.models import Stage, Status


@pytest.mark.django_db(transaction=True)
def test_a_cancelled_training_is_gone_within_five_seconds_and_leaves_no_process(
    make_campaign, project, label, open_round, anna, data_dir, wait_until, processes_in
):
    campaign = make_campaign(project, overrides={"steps": 1_000_000, "batch": 2, "crop": 64})
    label(project.images.get(name="001.png"))
    stage = open_round(campaign, "train", "predict").stages.first()

    def work() -> None:
        tasks.work(stage.pk)
        connections.close_all()

    worker = Thread(target=work)
    worker.start()
    # Its progress reaches the row while it runs.
    assert wait_until(lambda: Stage.objects.get(pk=stage.pk).progress.get("step"), seconds=120)
    folder = str(data_dir / "stages" / str(stage.pk))
    assert processes_in(folder)

    began = time.monotonic()
    campaigns.cancel_round(stage.round, anna)
    worker.join(timeout=30)
    took = time.monotonic() - began

    assert took <= 5
    assert not processes_in(folder)
    assert set(Stage.objects.values_list("status", flat=True)) == {Status.CANCELLED}
    assert not Stage.objects.get(pk=stage.pk).files.exists()
