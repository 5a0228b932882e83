"""What a restore refuses. What comes back of a backup: tests/acceptance/test_backup.py."""

import json

import pytest
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

from config import backup, restore
from config.restore import CannotRestore


def test_the_backup_of_a_newer_burnish_is_refused():
    applied = [["catalog", "0001_initial"], ["catalog", "0999_the_day_after_tomorrow"]]

    with pytest.raises(CannotRestore, match=r"catalog 0999_the_day_after_tomorrow is unknown here\. Update Burnish"):
        restore.check_versions({"migrations": applied, "label_studio": ""})


def test_the_backup_of_a_newer_label_studio_is_refused():
    with pytest.raises(CannotRestore, match=r"of Label Studio 99\.0\.0"):
        restore.check_versions({"migrations": [], "label_studio": "99.0.0"})


@pytest.mark.django_db(transaction=True)
def test_what_this_burnish_writes_it_can_read():
    with backup.one_moment() as snapshots:
        about = json.loads(json.dumps(backup.about(snapshots)))

    assert len(about["migrations"]) == len(MigrationRecorder(connection).applied_migrations())
    restore.check_versions(about)
