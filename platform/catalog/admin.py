"""The catalogue in the admin: projects and their classes are edited here, everything else is looked at."""

from typing import Any

from django.contrib import admin, messages
from django.db import models
from django.db.models import Count, Max, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin, TabularInline
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminColorInputWidget, UnfoldAdminTextareaWidget

from annotation.formats import BadSource
from catalog.importing import LIVE
from catalog.models import DefectClass, Image, Import, Label, Project, RefusedFile
from catalog.uploads import UploadForm, import_upload


class ReadOnly:
    """Rows that no person writes."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class DefectClassInline(TabularInline):
    model = DefectClass
    fields = ("index", "name", "colour", "guide")
    # Given in order and never changed: masks are made of it.
    readonly_fields = ("index",)
    extra = 0
    can_delete = False

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "colour":
            kwargs["widget"] = UnfoldAdminColorInputWidget(attrs={"type": "color"})
        if db_field.name == "guide":
            kwargs["widget"] = UnfoldAdminTextareaWidget(attrs={"rows": 2})
        return super().formfield_for_dbfield(db_field, request, **kwargs)


@admin.register(Project)
class ProjectAdmin(ModelAdmin):
    list_display = ("name", "images_held", "benchmark", "description")
    search_fields = ("name", "description")
    fields = ("name", "description", "benchmark")
    inlines = (DefectClassInline,)
    formfield_overrides = {  # type: ignore[assignment, misc]  # unfold: an instance variable
        models.TextField: {"widget": UnfoldAdminTextareaWidget(attrs={"rows": 3})}
    }
    actions_detail = actions_row = ("import_images",)  # type: ignore[assignment]  # unfold: "tuple[()]"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Project]:
        projects: QuerySet[Project] = super().get_queryset(request)
        return projects.annotate(held=Count("images"))

    @display(description="images", ordering="held")
    def images_held(self, project: Any) -> SafeString:
        address = reverse("admin:catalog_image_changelist")
        return format_html('<a href="{}?project__id__exact={}">{}</a>', address, project.pk, project.held)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        # What the masks are was decided when the first images came.
        return ("benchmark",) if obj and obj.images.exists() else ()

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: Any) -> None:
        project = form.instance
        last = project.classes.aggregate(last=Max("index"))["last"] or 0
        for one in formset.save(commit=False):
            if one.pk is None:
                last += 1
                one.index = last
            one.save()

    @action(  # type: ignore[operator]  # unfold: a decorator that it calls "Action"
        description="Import images", icon="upload", url_path="import-images", permissions=["catalog.add_import"]
    )
    def import_images(self, request: Any, object_id: int) -> HttpResponse:
        """The form for a zip or many files, and what it brings."""
        project = get_object_or_404(Project, pk=object_id)
        form = UploadForm(request.POST or None, request.FILES or None)
        if request.method == "POST" and form.is_valid():
            try:
                return redirect("import", import_upload(project, form, by=request.user).pk)
            except BadSource as problem:
                form.add_error("split_file", str(problem))
            except OSError as problem:
                form.add_error(None, f"The upload could not be kept: {problem}")
        context = {**self.admin_site.each_context(request), "title": f"Import images into {project}"}
        return render(request, "catalog/import_images.html", {**context, "form": form, "project": project})


@admin.register(Image)
class ImageAdmin(ReadOnly, ModelAdmin):  # type: ignore[misc]
    list_display = ("picture", "name", "project", "split", "scene_link", "kept_out", "size", "imported_at")
    list_display_links = ("picture", "name")
    list_filter = ("project", "split", ("kept_out", admin.EmptyFieldListFilter), "imported_at")
    list_select_related = ("project", "scene")
    list_per_page = 50
    search_fields = ("name", "sha256")
    fields = (
        "overlay", "name", "project", "split", "scene_link", "kept_out", "size", "source", "sha256", "original",
        "view", "imported_at",
    )  # fmt: skip
    readonly_fields = ("overlay", "scene_link", "size")

    @display(description="")
    def picture(self, image: Image) -> SafeString:
        return _picture("image-thumbnail", image, height=48)

    @display(description="picture")
    def overlay(self, image: Image) -> SafeString:
        return _picture("image-overlay", image, height=320)

    @display(description="scene", ordering="scene")
    def scene_link(self, image: Image) -> SafeString:
        address = reverse("admin:catalog_image_changelist")
        return format_html('<a href="{}?scene__id__exact={}">{}</a>', address, image.scene_id, image.scene)

    @display(description="pixels")
    def size(self, image: Image) -> str:
        return f"{image.width} x {image.height}"


@admin.register(Label)
class LabelAdmin(ReadOnly, ModelAdmin):  # type: ignore[misc]
    list_display = ("picture", "image", "annotator", "scripted", "withdrawn", "seconds", "created_at")
    list_display_links = ("picture", "image")
    list_filter = ("image__project", "scripted", "withdrawn", "annotator", "created_at")
    list_select_related = ("image", "annotator")
    list_per_page = 50
    search_fields = ("image__name", "external_key")

    @display(description="")
    def picture(self, label: Label) -> SafeString:
        if label.withdrawn:
            return _picture("image-thumbnail", label.image, height=48)
        return _picture("image-overlay", label.image, height=48, label=label.pk)


class RefusedInline(ReadOnly, TabularInline):  # type: ignore[misc]
    model = RefusedFile
    fields = ("name", "reason")
    extra = 0
    per_page = 50  # type: ignore[assignment]  # unfold: "None"


@admin.register(Import)
class ImportAdmin(ReadOnly, ModelAdmin):  # type: ignore[misc]
    list_display = ("page", "project", "status", "progress", "refused_files", "created_by", "created_at")
    list_filter = ("project", "status")
    list_select_related = ("project", "created_by")
    fields = (
        "page", "project", "source", "format", "split_file", "status", "progress", "warnings", "error", "created_by",
        "created_at", "finished_at",
    )  # fmt: skip
    readonly_fields = ("page", "progress")
    inlines = (RefusedInline,)
    actions = ("cancel",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Import]:
        imports: QuerySet[Import] = super().get_queryset(request)
        return imports.annotate(refusals=Count("refused"))

    @display(description="import", ordering="pk")
    def page(self, one: Import) -> SafeString:
        return format_html('<a href="{}">{}</a>', reverse("import", args=(one.pk,)), one)

    @display(description="progress")
    def progress(self, one: Import) -> str:
        return f"{one.imported} in, {one.already_there} already there, of {one.total}"

    @display(description="refused", ordering="refusals")
    def refused_files(self, one: Any) -> int:
        return int(one.refusals)

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("catalog.change_import")

    @admin.action(description="Cancel", permissions=["cancel"])
    def cancel(self, request: HttpRequest, chosen: QuerySet[Import]) -> None:
        count = Import.objects.filter(pk__in=chosen.values("pk"), status__in=LIVE).update(
            status=Import.Status.CANCELLED
        )
        messages.info(request, f"{count} cancelled. The images that are in stay in.")


def _picture(address: str, image: Image, *, height: int, **further: int) -> SafeString:
    url = reverse(address, kwargs={"pk": image.pk, **further})
    return format_html('<img src="{}" alt="{}" style="height: {}px" loading="lazy">', url, image.name, height)
