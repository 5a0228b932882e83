"""Files from the browser, on their way to an import: checked, then kept under imports/ until it is over."""

import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

from django import forms
from django.conf import settings
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import UploadedFile
from django.template.defaultfilters import filesizeformat

from annotation.formats import READERS, BadSource
from annotation.formats.layout import PICTURES
from catalog import files
from catalog.importing import start_import
from catalog.models import Import, Project

SPARE = 2**30  # bytes left free for everything else on the volume


BOX = "border border-base-200 rounded-default px-3 py-2 w-full dark:border-base-700"  # as unfold's own inputs


class SeveralFilesWidget(forms.FileInput):
    allow_multiple_selected = True


class SeveralFilesField(forms.FileField):
    """The files of one selection, in order."""

    def clean(self, data: "Sequence[UploadedFile[Any]]", initial: None = None) -> "list[UploadedFile[Any]]":
        if not data:
            raise ValidationError(self.error_messages["required"], code="required")
        return [super(SeveralFilesField, self).clean(one, initial) for one in data]


class UploadForm(forms.Form):
    """One zip, or pictures; and perhaps a split file."""

    chosen = SeveralFilesField(
        label="Images",
        widget=SeveralFilesWidget(
            attrs={"class": BOX, "multiple": True, "accept": ",".join((".zip", *sorted(PICTURES)))}
        ),
        help_text=f"One zip (pictures, with or without masks), or up to "
        f"{settings.DATA_UPLOAD_MAX_NUMBER_FILES - 10} pictures.",
    )
    format = forms.ChoiceField(
        choices=[("detect", "detect"), *((name, f"{name}: {one.looks}") for name, one in READERS.items())],
        initial="detect",
        required=False,
        widget=forms.Select(attrs={"class": BOX}),
        help_text="How masks come with the images. Name it where several would fit.",
    )
    split_file = forms.FileField(
        required=False,
        widget=forms.FileInput(attrs={"class": BOX, "accept": ".json"}),
        help_text='JSON: {"train": [...], "val": [...], "test": [...]}. Without it, scenes are divided 70 / 15 / 15.',
    )

    def clean_format(self) -> str:
        return self.cleaned_data["format"] or "detect"

    def clean_chosen(self) -> "list[UploadedFile[Any]]":
        chosen: list[UploadedFile[Any]] = self.cleaned_data["chosen"]
        names = [_name(one) for one in chosen]
        zips = [name for name in names if name.lower().endswith(".zip")]
        unknown = [name for name in names if PurePath(name).suffix.lower() not in {*PICTURES, ".zip"}]
        if unknown:
            raise ValidationError(f"{unknown[0]} is neither a picture nor a zip. Choose one zip, or pictures.")
        if zips and len(names) > 1:
            raise ValidationError("A zip comes alone. Choose one zip, or pictures.")
        if len(set(names)) < len(names):
            raise ValidationError("Two files have the same name. Rename one, or pack them into a zip with folders.")
        _check_size(sum(one.size or 0 for one in chosen))
        return chosen


def import_upload(project: Project, form: UploadForm, *, by: User | None) -> Import:
    """The import of what a valid form brought.

    Raises:
        BadSource: the split file cannot be used; nothing is kept then.
    """
    folder = files.absolute(f"imports/upload-{uuid.uuid4().hex[:12]}")
    chosen, split = form.cleaned_data["chosen"], form.cleaned_data["split_file"]
    try:
        for one in chosen:
            _save(one, folder / "files" / _name(one))
        if split:
            _save(split, folder / "split.json")
        source = folder / "files"
        if _name(chosen[0]).lower().endswith(".zip"):
            source /= _name(chosen[0])
        split_file = folder / "split.json" if split else ""
        form_of_source = form.cleaned_data["format"]
        return start_import(project, source, read_as=form_of_source, split_file=split_file, created_by=by)
    except (BadSource, OSError):
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _check_size(size: int) -> None:
    bound, free = settings.MAX_UPLOAD_BYTES, shutil.disk_usage(_existing(settings.DATA_DIR)).free
    if size > bound:
        raise ValidationError(
            f"{filesizeformat(size)} in all; at most {filesizeformat(bound)} go through the browser. "
            "Import it in parts, or on the server with manage.py import_images."
        )
    if 2 * size + SPARE > free:
        raise ValidationError(f"{filesizeformat(size)} in all, {filesizeformat(free)} are free on the disk. Make room.")


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if path.exists())


def _name(one: "UploadedFile[Any]") -> str:
    """Django has cut the path off already."""
    return str(one.name)


def _save(one: "UploadedFile[Any]", target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("xb") as file:
        for chunk in one.chunks():
            file.write(chunk)
