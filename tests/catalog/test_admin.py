import io
import json
import zipfile

import pytest
from django.contrib.auth.models import Permission, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse
from PIL import Image as Picture

from catalog.importing import run_import
from catalog.models import Import

pytestmark = pytest.mark.usefixtures("stores")


def _png(array, name):
    content = io.BytesIO()
    Picture.fromarray(array).save(content, "PNG")
    return SimpleUploadedFile(name, content.getvalue())


def _zipped(folder):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for path in sorted(folder.rglob("*.*")):
            archive.write(path, path.relative_to(folder))
    return SimpleUploadedFile("line-3.zip", content.getvalue())


@pytest.fixture
def form(project):
    return reverse("admin:catalog_project_import_images", args=(project.pk,))


def test_a_new_class_gets_the_next_index_and_an_old_one_keeps_its_own(admin_client, project):
    project.classes.create(index=1, name="dent")
    fields = {
        "name": "strip", "description": "", "classes-TOTAL_FORMS": 2, "classes-INITIAL_FORMS": 1,
        "classes-0-id": project.classes.get().pk, "classes-0-project": project.pk, "classes-0-name": "dent",
        "classes-0-colour": "#112233", "classes-0-guide": "", "classes-1-project": project.pk,
        "classes-1-name": "stain", "classes-1-colour": "#445566", "classes-1-guide": "Dull.",
    }  # fmt: skip

    answer = admin_client.post(reverse("admin:catalog_project_change", args=(project.pk,)), fields)

    assert answer.status_code == 302
    assert list(project.classes.values_list("index", "name", "colour")) == [
        (1, "dent", "#112233"), (2, "stain", "#445566"),
    ]  # fmt: skip


def test_the_project_page_leads_to_the_form(admin_client, project, form):
    page = admin_client.get(reverse("admin:catalog_project_change", args=(project.pk,))).content.decode()

    assert form in page
    assert 'name="chosen"' in admin_client.get(form).content.decode()


def test_an_uploaded_zip_is_imported_and_gone_afterwards(
    admin_client, project, form, source, data_dir, django_capture_on_commit_callbacks, rung
):
    with django_capture_on_commit_callbacks(execute=True):
        answer = admin_client.post(form, {"chosen": _zipped(source)})
    one = Import.objects.get()
    run_import(one.pk)

    assert answer.url == reverse("import", args=(one.pk,))
    assert rung[0] == ("catalog.tasks.run_import", one.pk)
    assert project.images.count() == 24
    assert one.created_by.username == "admin"
    assert not list((data_dir / "imports").iterdir())


@pytest.mark.django_db
def test_the_format_of_an_upload_can_be_named(admin_client, project, form, source):
    admin_client.post(form, {"chosen": [_zipped(source)], "format": "coco"})

    assert Import.objects.get().format == "coco"
    page = admin_client.post(form, {"chosen": [_zipped(source)], "format": "tfrecord"}).content.decode()
    assert "tfrecord is not one of the available choices" in page


@pytest.mark.django_db
def test_many_uploaded_pictures_with_a_split_file_are_imported(admin_client, project, form, picture):
    split = SimpleUploadedFile("mine.json", json.dumps({"test": ["1.png"], "train": ["0.png", "2.png"]}).encode())

    admin_client.post(form, {"chosen": [_png(picture(i), f"{i}.png") for i in range(3)], "split_file": split})
    run_import(Import.objects.get().pk)

    assert dict(project.images.values_list("name", "split")) == {"0.png": "train", "1.png": "test", "2.png": "train"}


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        (["notes.txt"], "neither a picture nor a zip"),
        (["a.zip", "b.png"], "A zip comes alone"),
        (["a.png", "a.png"], "same name"),
        ([], "required"),
    ],
)
def test_what_cannot_be_imported_is_refused_in_the_form(admin_client, form, picture, names, complaint):
    page = admin_client.post(form, {"chosen": [_png(picture(0), name) for name in names]}).content.decode()

    assert complaint in page
    assert not Import.objects.exists()


def test_a_name_that_leads_elsewhere_is_cut_to_its_last_part(admin_client, project, form, picture, data_dir):
    admin_client.post(form, {"chosen": [_png(picture(0), "../../../escaped.png")]})
    run_import(Import.objects.get().pk)

    assert project.images.get().name == "escaped.png"
    assert not list(data_dir.parent.glob("**/escaped.png"))


def test_more_than_the_bound_is_refused(admin_client, form, picture, settings):
    settings.MAX_UPLOAD_BYTES = 1000

    page = admin_client.post(form, {"chosen": [_png(picture(0), "a.png")]}).content.decode()

    assert "go through the browser" in page
    assert not Import.objects.exists()


def test_a_bad_split_file_is_refused_and_nothing_is_kept(admin_client, form, picture, data_dir):
    upload = {"chosen": [_png(picture(0), "a.png")], "split_file": SimpleUploadedFile("s.json", b"[]")}

    page = admin_client.post(form, upload).content.decode()

    assert "split.json: expected" in page
    assert not list((data_dir / "imports").iterdir())


def test_whoever_may_not_import_is_turned_away(client, form, db):
    staff = User.objects.create_user("eva", is_staff=True)
    staff.user_permissions.add(Permission.objects.get(codename="view_project"))
    client.force_login(staff)

    assert client.get(form).status_code == 403


@pytest.mark.parametrize("model", ["project", "image", "label", "import"])
def test_every_list_and_page_of_the_catalogue_opens(admin_client, project, source, bring_in, model):
    (source / "images/0001.png").write_bytes(b"no picture")
    bring_in(project, source)
    listed = admin_client.get(reverse(f"admin:catalog_{model}_changelist"))
    pk = {"project": project, "import": Import.objects.get()}.get(model) or project.images.first()
    pk = pk if model != "label" else pk.labels.get()

    page = admin_client.get(reverse(f"admin:catalog_{model}_change", args=(pk.pk,)))

    assert (listed.status_code, page.status_code) == (200, 200)
    assert (b"not an image" in page.content) == (model == "import")


def test_images_are_filtered_by_split_scene_and_being_kept_out(admin_client, project, source, bring_in):
    bring_in(project, source)
    image = project.images.filter(split="test").first()
    project.images.filter(pk=image.pk).update(kept_out="meets another split")

    for question, expected in {
        "split__exact=test": project.images.filter(split="test").count(),
        f"scene__id__exact={image.scene_id}": image.scene.images.count(),
        "kept_out__isempty=0": 1,
    }.items():
        listed = admin_client.get(reverse("admin:catalog_image_changelist") + f"?{question}")
        assert listed.context["cl"].result_count == expected


def test_a_running_import_is_cancelled_from_the_list_and_a_finished_one_is_not(admin_client, project, source, bring_in):
    done = bring_in(project, source)
    running = Import.objects.create(project=project, source=str(source), status="running")

    admin_client.post(
        reverse("admin:catalog_import_changelist"),
        {"action": "cancel", "_selected_action": [done.pk, running.pk]},
    )

    assert dict(Import.objects.values_list("pk", "status")) == {done.pk: "done", running.pk: "cancelled"}
