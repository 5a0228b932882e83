from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.contrib.auth.password_validation import password_validators_help_texts
from django.core.exceptions import ValidationError
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from unfold.admin import ModelAdmin
from unfold.widgets import UnfoldAdminEmailInputWidget, UnfoldAdminPasswordWidget

from annotation.errors import LabelStudioError
from labelling import inbox, outbox, people
from labelling.models import Annotator, LabellingProject, RemoteAnnotation, Task


class ReadOnly(ModelAdmin):
    """Rows that follow Label Studio: to be looked at, never edited here."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


@admin.register(LabellingProject)
class LabellingProjectAdmin(ReadOnly):
    list_display = ("campaign", "remote_id", "waiting", "problems", "polled_at", "error")
    list_select_related = ("campaign",)
    actions = ("reconcile_now",)

    @admin.display(description="waiting for people")
    def waiting(self, project: LabellingProject) -> int:
        return project.tasks.filter(
            deleted_at=None, acquisition__label=None, acquisition__skipped_at=None
        ).count()  # fmt: skip

    @admin.display(description="answers that could not be read")
    def problems(self, project: LabellingProject) -> int:
        return RemoteAnnotation.objects.filter(task__project=project).exclude(problem="").count()

    @admin.action(description="Reconcile now", permissions=["view"])
    def reconcile_now(self, request: HttpRequest, projects: QuerySet[LabellingProject]) -> None:
        """Send what is unsent, and read every task again from the start."""
        for project in projects.select_related("campaign__project"):
            outbox.push(project.campaign)
            inbox.reconcile(project, from_the_start=True)
            project.refresh_from_db()
            level = messages.ERROR if project.error else messages.SUCCESS
            self.message_user(request, f"{project.campaign}: {project.error or 'up to date'}", level)


@admin.register(Task)
class TaskAdmin(ReadOnly):
    list_display = ("remote_id", "acquisition", "prediction", "pushed_at", "deleted_at")
    list_filter = ("project",)
    list_select_related = ("acquisition__image", "prediction__image")


@admin.register(RemoteAnnotation)
class RemoteAnnotationAdmin(ReadOnly):
    list_display = ("remote_id", "task", "label", "skipped", "problem", "updated_at")
    list_filter = ("skipped", ("problem", admin.EmptyFieldListFilter), "task__project")
    list_select_related = ("task", "label__image")


class NewAnnotator(forms.ModelForm):  # type: ignore[type-arg]  # subscriptable in the stubs only
    """A login that works in both systems, made when the form is valid in both."""

    email = forms.EmailField(widget=UnfoldAdminEmailInputWidget)
    password = forms.CharField(widget=UnfoldAdminPasswordWidget, strip=False)

    class Meta:
        model = Annotator
        fields: tuple[str, ...] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "password" in self.fields:
            self.fields["password"].help_text = " ".join(password_validators_help_texts())

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or self.cleaned_data
        if self.errors:
            return values
        try:
            self.instance = people.add_annotator(values["email"], values["password"])
        except (people.NoLogin, LabelStudioError) as error:
            raise ValidationError(str(error)) from error
        return values


@admin.register(Annotator)
class AnnotatorAdmin(ReadOnly):
    list_display = ("user", "remote_id", "answers", "let_in")
    list_select_related = ("user",)
    form = NewAnnotator
    actions = ("remove", "let_in_again")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("labelling.add_annotator"))

    def get_fields(self, request: HttpRequest, obj: Annotator | None = None) -> tuple[str, ...]:
        return ("user", "remote_id") if obj else ("email", "password")

    @admin.action(description="Remove: no login in either system from now on", permissions=["add"])
    def remove(self, request: HttpRequest, annotators: QuerySet[Annotator]) -> None:
        self._set_active(request, annotators, active=False)

    @admin.action(description="Let in again", permissions=["add"])
    def let_in_again(self, request: HttpRequest, annotators: QuerySet[Annotator]) -> None:
        self._set_active(request, annotators, active=True)

    def _set_active(self, request: HttpRequest, annotators: QuerySet[Annotator], *, active: bool) -> None:
        User.objects.filter(annotator__in=annotators).update(is_active=active)
        try:
            people.settle_access()
        except LabelStudioError as error:
            words = f"Done in Burnish; in Label Studio as soon as it answers. {error}"
            self.message_user(request, words, messages.WARNING)

    @admin.display
    def answers(self, annotator: Annotator) -> int:
        return annotator.user.labels.filter(withdrawn=False).count()
