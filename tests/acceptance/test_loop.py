"""Images in, a finished campaign out, nothing faked."""

import pytest

from catalog.models import Image, Split
from labelling import audit
from rounds import report
from rounds.models import Acquisition, Evaluation, ModelVersion, Snapshot, Stage

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(900)]


def test_a_scripted_campaign_goes_from_images_to_evaluated_models(stack, begin, finish):
    campaign = begin(scripted=True, label_trigger=4)

    finish(campaign)

    assert [one.number for one in campaign.rounds.all()] == [0, 1, 2]
    assert report.all_stages_done(campaign)
    assert campaign.labels().count() == 10
    assert not Acquisition.objects.filter(campaign=campaign, label=None).exists()
    trained = ModelVersion.objects.filter(stage__round__campaign=campaign)
    assert trained.count() == 6  # three trainings a round
    assert Evaluation.objects.filter(model__in=trained).count() == 6 * 2  # on validation and on test images
    assert Stage.objects.filter(round__campaign=campaign, kind="train", progress__has_key="curve").count() == 6
    assert_only_training_images_were_seen(campaign)
    assert_half_of_the_pool_came_before_the_rest(campaign)
    ours, theirs = audit.counts(campaign)
    assert ours == theirs == {"tasks": 10, "predictions": 10, "annotations": 10}
    # Mended, because other tests of the session leave files here whose rows were only in their own database.
    checked = stack.manage("check_integrity", "--mend", check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def assert_only_training_images_were_seen(campaign):
    snapshots = Snapshot.objects.filter(stage__round__campaign=campaign)
    seen = {image for one in snapshots for image, *_ in one.items}
    assert seen
    assert not Image.objects.filter(pk__in=seen).exclude(split=Split.TRAIN).exists()


def assert_half_of_the_pool_came_before_the_rest(campaign):
    train = Image.objects.filter(project=campaign.project, split=Split.TRAIN).count()
    expected = []
    for labels in (6, 10):
        pool = train - labels
        expected += [(labels, 0), (labels, pool // 2), (labels, pool)]
    seen = Snapshot.objects.filter(stage__round__campaign=campaign).order_by("pk")
    assert list(seen.values_list("labelled", "pseudo")) == expected
