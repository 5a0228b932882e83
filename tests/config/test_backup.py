"""Backups of the real databases, made while rows change. What comes back of one: tests/acceptance/test_backup.py."""

import contextlib
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from catalog import files
from catalog.models import Image, Project, Scene
from config import archive, backup, databases, postgres
from config.backup import BackupFailed
from config.databases import DatabaseFailed
from config.environment import Environment
from rounds.models import Acquisition, Campaign, Round, Stage

pytestmark = pytest.mark.django_db
with_commits = pytest.mark.django_db(transaction=True)  # what a dump sees was committed


@pytest.fixture(autouse=True)
def data_dir(settings, tmp_path):
    settings.DATA_DIR = tmp_path / "data"
    settings.VIEWS_DIR = settings.DATA_DIR / "views"
    return settings.DATA_DIR


@pytest.fixture
def scene() -> Scene:
    return Scene.objects.create(project=Project.objects.create(name="strip"), split="train")


def add_image(scene: Scene, name: str) -> Image:
    """As an import does: the file first, then its row."""
    path, digest = files.keep("views", scene.project_id, name.encode() * 1000, ".png")
    return Image.objects.create(
        project=scene.project, scene=scene, name=name, sha256=digest, original=path, view=path, view_sha256=digest,
        width=8, height=8, split="train", descriptor=b"",
    )  # fmt: skip


def silent(_: str) -> None:
    """A report that nobody reads."""


@contextlib.contextmanager
def meanwhile(work: Callable[[int], object]) -> Iterator[None]:
    """Does it again and again beside the block, on a connection of its own."""
    over = threading.Event()

    def again_and_again() -> None:
        number = 0
        while not over.is_set():
            work(number)
            number += 1
        connection.close()

    thread = threading.Thread(target=again_and_again)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def rows_in(packed, tmp_path, table: str) -> str:
    """The rows of a table in a backup's dump of our database, as text."""
    with archive.reading(packed) as found:
        found.unpack("databases/burnish.dump", tmp_path / "unpacked")
    dump = tmp_path / "unpacked" / "databases" / "burnish.dump"
    databases._run(
        databases.ours(), "pg_restore", ["--data-only", f"--table={table}", f"--file={dump}.sql", str(dump)], least=14
    )
    return dump.with_name("burnish.dump.sql").read_text()


@with_commits
def test_every_row_of_a_backup_finds_its_file_in_it_though_images_come_in_all_the_time(scene, tmp_path):
    with meanwhile(lambda number: add_image(scene, f"{number}.png")):
        while Image.objects.count() < 20:
            time.sleep(0.01)

        assert backup.back_up(tmp_path / "one.tar", silent) == []

    rows = rows_in(tmp_path / "one.tar", tmp_path, "catalog_image")
    kept = [image for image in Image.objects.all() if image.view in rows]
    assert 20 <= len(kept) < Image.objects.count()  # some came too late, or nothing was proved
    with archive.reading(tmp_path / "one.tar") as found:
        assert {f"data/{image.view}": image.view_sha256 for image in kept}.items() <= found.sums.items()


@pytest.fixture
def remote_tasks() -> Iterator[Callable[[str], None]]:
    """A table in Label Studio's database, in place of its tasks; runs SQL there."""
    with contextlib.closing(postgres.connect("label_studio")) as opened, opened.cursor() as cursor:
        cursor.execute("CREATE TABLE pushed (acquisition integer)")
        cursor.execute("GRANT ALL ON pushed TO label_studio")
        yield cursor.execute
        cursor.execute("DROP TABLE pushed")


@with_commits
@pytest.mark.parametrize("guarded", [True, False])
def test_no_task_is_in_label_studios_dump_whose_acquisition_is_not_in_ours(
    scene, remote_tasks, monkeypatch, guarded
):  # fmt: skip
    campaign = Campaign.objects.create(project=scene.project, name="one", recipe={}, budget=9, first_batch=9, batch=9)
    stage = Stage.objects.create(round=Round.objects.create(campaign=campaign, number=0), position=0, kind="acquire")
    export = backup._export

    def slow_export(cursor):
        snapshot = export(cursor)
        time.sleep(0.1)  # what is a few milliseconds otherwise
        return snapshot

    def ask_and_push(number: int) -> None:
        image = add_image(scene, f"{number}.png")
        one = Acquisition.objects.create(campaign=campaign, stage=stage, image=image, purpose="random", rank=number)
        remote_tasks(f"INSERT INTO pushed VALUES ({one.pk})")

    monkeypatch.setattr(backup, "_export", slow_export)
    if not guarded:  # the control: without the guard the two contradict each other
        monkeypatch.setattr(backup, "GUARD", "SELECT 1")
    with meanwhile(ask_and_push):
        while Acquisition.objects.count() < 5:
            time.sleep(0.01)
        with backup.one_moment() as snapshots:
            theirs = seen(databases.label_studios(), list(snapshots.values())[1], "SELECT acquisition FROM pushed")
            ours = set(Acquisition.objects.values_list("pk", flat=True))

    assert theirs
    assert (theirs <= ours) is guarded


def seen(database, snapshot: str, question: str) -> set[int]:
    """What a dump at this snapshot would hold."""
    with databases.connected(database) as opened, opened.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        cursor.execute("SET TRANSACTION SNAPSHOT %s", [snapshot])
        cursor.execute(question)
        return {value for (value,) in cursor.fetchall()}


@with_commits
def test_the_secrets_are_in_it_wherever_the_installation_has_them_from_and_the_command_says_so(
    settings, tmp_path, capsys
):  # fmt: skip
    settings.ENV = Environment({**settings.ENV.values, "BURNISH_WEBHOOK_SECRET": "from the environment"})

    call_command("backup", str(tmp_path / "one.tar"))

    with archive.reading(tmp_path / "one.tar") as found:
        found.unpack(archive.SECRETS, tmp_path / "state")
    lines = (tmp_path / "state" / archive.SECRETS).read_text().splitlines()
    assert "BURNISH_WEBHOOK_SECRET=from the environment" in lines
    assert f"BURNISH_LABEL_STUDIO_SECRET_KEY={settings.ENV.values['BURNISH_LABEL_STUDIO_SECRET_KEY']}" in lines
    assert f"BURNISH_ADMIN_PASSWORD={settings.ADMIN_PASSWORD}" in lines
    assert "whoever reads it can log in as anybody" in capsys.readouterr().out


@with_commits
def test_a_damaged_installation_is_backed_up_and_the_damage_named(scene, data_dir, tmp_path, capsys):
    gone, changed = add_image(scene, "gone.png"), add_image(scene, "changed.png")
    files.absolute(gone.view).unlink()
    files.absolute(changed.view).write_text("x")
    (data_dir / "link").symlink_to("/etc")

    with pytest.raises(CommandError, match="The backup is written, but"):
        call_command("backup", str(tmp_path / "one.tar"))

    said = capsys.readouterr().err
    assert f"Image {gone.pk}: {gone.view} is missing" in said
    assert f"Image {changed.pk}: {changed.view} is changed" in said
    assert "'data/link' is no plain file" in said
    assert (tmp_path / "one.tar").exists()


def test_an_older_backup_is_never_written_over(tmp_path):
    (tmp_path / "one.tar").write_text("last week's")

    with pytest.raises(BackupFailed, match="is there already"):
        backup.back_up(tmp_path / "one.tar", silent)

    assert (tmp_path / "one.tar").read_text() == "last week's"


def test_a_backup_is_no_part_of_itself(data_dir):
    with pytest.raises(BackupFailed, match="a part of itself"):
        backup.back_up(data_dir / "one.tar", silent)


def test_a_full_disk_is_seen_before_anything_is_written(monkeypatch, tmp_path):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1 << 20))

    with pytest.raises(BackupFailed, match=r"Disk: expected 1\d\d\d\.\d MB free"):
        backup.back_up(tmp_path / "one.tar", silent)

    assert list(tmp_path.iterdir()) == []


@with_commits
def test_a_backup_that_fails_leaves_nothing(monkeypatch, tmp_path):
    monkeypatch.setattr(databases, "client", lambda *_, **__: "/bin/false")

    with pytest.raises(DatabaseFailed, match="pg_dump of the database burnish failed"):
        backup.back_up(tmp_path / "one.tar", silent)

    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").touch()

    with pytest.raises(BackupFailed, match="cannot be written"):
        backup.back_up(tmp_path / "file" / "one.tar", silent)


def test_a_second_backup_at_the_same_time_is_refused(tmp_path):
    with backup._alone(), pytest.raises(BackupFailed, match="Another backup"):
        backup.back_up(tmp_path / "one.tar", silent)


def test_a_database_that_does_not_answer_is_named_with_what_to_do(settings, tmp_path):
    settings.LABEL_STUDIO_DATABASE_URL = "postgres://label_studio@127.0.0.1:9/label_studio"

    with pytest.raises(DatabaseFailed, match=r"label_studio does not answer: .*manage\.py up"):
        backup.back_up(tmp_path / "one.tar", silent)


def test_a_label_studio_elsewhere_must_say_where_its_database_is(settings, tmp_path):
    settings.ENV = Environment({**settings.ENV.values, "BURNISH_LABEL_STUDIO_URL": "http://labels.example"})

    with pytest.raises(DatabaseFailed, match="Set BURNISH_LABEL_STUDIO_DATABASE_URL"):
        backup.back_up(tmp_path / "one.tar", silent)
