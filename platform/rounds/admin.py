"""The admin of what happens: campaigns are made and steered here; all else is read, because it is insert-only."""

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin import display
from django.core.exceptions import ValidationError
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from unfold.admin import ModelAdmin, TabularInline

from rounds import campaigns, promotion, schedule
from rounds.forms import ASKING, CREATION, TRAINING, CampaignForm, TriggerForm
from rounds.models import (
    Acquisition,
    Campaign,
    Evaluation,
    ModelVersion,
    Promotion,
    Round,
    Stage,
    StageEvent,
    StageFile,
)


def never(self: Any, request: HttpRequest, obj: Any = None) -> bool:
    """The permission to write rows that no person writes."""
    return False


class Steered(ModelAdmin):
    """Rows with actions: whoever may change campaigns may steer them."""

    def has_steer_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("rounds.change_campaign")

    def each(self, request: HttpRequest, chosen: QuerySet[Any], act: Callable[[Any], str]) -> None:
        """Do something to each chosen row, and say what came of it."""
        for one in chosen:
            try:
                messages.success(request, act(one))
            except ValidationError as problem:
                messages.error(request, f"{one}: {' '.join(problem.messages)}")


class Recorded(Steered):
    """Rows to be looked at, and steered."""

    has_add_permission = has_change_permission = has_delete_permission = never


@admin.register(Campaign)
class CampaignAdmin(Steered):
    list_display = ("name", "project", "recipe_name", "what_next", "page")
    list_filter = ("project", "recipe_name", "scripted")
    search_fields = ("name", "project__name")
    actions = ("start_round", "cancel", "retry", "close")
    has_delete_permission = never

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:  # noqa: FBT001, FBT002  Django's signature
        return super().get_form(request, obj, change, form=TriggerForm if obj else CampaignForm, **kwargs)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        triggers = ("Next round", {"fields": TriggerForm.Meta.fields})
        if obj is None:
            return (
                (None, {"fields": CREATION}),
                triggers,
                ("What to ask", {"fields": ASKING}),
                ("Training (empty = as the recipe says)", {"fields": TRAINING}),
            )
        return ((None, {"fields": ("what_next", "page", *FIXED)}), triggers)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return ("what_next", "page", *FIXED) if obj else ()

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: Any) -> None:
        if change:
            Campaign.objects.filter(pk=obj.pk).update(enough_share=obj.enough_share, enough_hours=obj.enough_hours)
            campaigns.set_triggers(obj, label_trigger=obj.label_trigger, clock=obj.clock)
        else:
            obj.created_by = request.user
            campaigns.begin(obj)

    @display(description="next step")
    def what_next(self, campaign: Campaign) -> str:
        return schedule.next_step(campaign)

    @display(description="page")
    def page(self, campaign: Campaign) -> str:
        return link("campaign", campaign)

    @admin.action(description="Start round", permissions=["steer"])
    def start_round(self, request: HttpRequest, chosen: QuerySet[Campaign]) -> None:
        self.each(request, chosen, lambda one: started(one, request))

    @admin.action(description="Cancel the running round", permissions=["steer"])
    def cancel(self, request: HttpRequest, chosen: QuerySet[Campaign]) -> None:
        self.each(request, chosen, lambda one: cancelled(latest_round(one), request))

    @admin.action(description="Retry the stopped round", permissions=["steer"])
    def retry(self, request: HttpRequest, chosen: QuerySet[Campaign]) -> None:
        self.each(request, chosen, lambda one: retried(latest_round(one), request))

    @admin.action(description="Close for good", permissions=["steer"])
    def close(self, request: HttpRequest, chosen: QuerySet[Campaign]) -> None:
        self.each(request, chosen, lambda one: closed(one, request))


FIXED = (
    "project", "name", "recipe_name", "recipe", "seed", "scripted", "budget", "first_batch", "batch", "max_rounds",
    "created_by", "created_at", "closed_at",
)  # fmt: skip


@admin.register(Round)
class RoundAdmin(Recorded):
    list_display = ("__str__", "stages_in_words", "opened_because", "opened_at", "page")
    list_filter = ("campaign",)
    actions = ("cancel", "retry")

    @display(description="stages")
    def stages_in_words(self, one: Round) -> str:
        return ", ".join(f"{stage.name}: {stage.get_status_display()}" for stage in one.stages.all())

    @display(description="page")
    def page(self, one: Round) -> str:
        return link("round", one)

    @admin.action(description="Cancel", permissions=["steer"])
    def cancel(self, request: HttpRequest, chosen: QuerySet[Round]) -> None:
        self.each(request, chosen, lambda one: cancelled(one, request))

    @admin.action(description="Retry", permissions=["steer"])
    def retry(self, request: HttpRequest, chosen: QuerySet[Round]) -> None:
        self.each(request, chosen, lambda one: retried(one, request))


class Inline(TabularInline):
    extra = 0
    tab = True
    has_add_permission = has_change_permission = has_delete_permission = never


class EventInline(Inline):
    model = StageEvent
    fields = ("at", "attempt", "before", "after", "reason")
    readonly_fields = fields


class FileInline(Inline):
    model = StageFile
    fields = ("path", "size", "sha256")


@admin.register(Stage)
class StageAdmin(Recorded):
    list_display = ("__str__", "kind", "status", "attempt", "started_at", "finished_at", "page")
    list_filter = ("status", "kind", "round__campaign")
    inlines = (EventInline, FileInline)
    actions = ("cancel", "retry")

    @display(description="page")
    def page(self, stage: Stage) -> str:
        return link("round", stage.round)

    @admin.action(description="Cancel the round of this stage", permissions=["steer"])
    def cancel(self, request: HttpRequest, chosen: QuerySet[Stage]) -> None:
        self.each(request, rounds_of(chosen), lambda one: cancelled(one, request))

    @admin.action(description="Retry", permissions=["steer"])
    def retry(self, request: HttpRequest, chosen: QuerySet[Stage]) -> None:
        self.each(request, rounds_of(chosen), lambda one: retried(one, request))


class EvaluationInline(Inline):
    model = Evaluation
    fields = ("split", "images", "miou", "miou_foreground")


class PromotionInline(Inline):
    model = Promotion
    fk_name = "model"
    fields = ("at", "by", "replaced", "reason")
    readonly_fields = fields


@admin.register(ModelVersion)
class ModelVersionAdmin(Recorded):
    list_display = ("__str__", "champion", "stage", "network", "parameters", "scores", "created_at", "page")
    list_filter = ("project", "champion")
    inlines = (EvaluationInline, PromotionInline)
    actions = ("promote", "roll_back")

    @display(description="mIoU")
    def scores(self, model: ModelVersion) -> str:
        return ", ".join(f"{one.split} {one.miou:.3f}" for one in model.evaluations.order_by("-split"))

    @display(description="page")
    def page(self, model: ModelVersion) -> str:
        return link("model", model)

    @admin.action(description="Promote", permissions=["steer"])
    def promote(self, request: HttpRequest, chosen: QuerySet[ModelVersion]) -> None:
        if chosen.values("project").distinct().count() != chosen.count():
            messages.error(request, "Choose one model a project: at most one is champion.")
            return
        self.each(request, chosen, lambda one: promoted(one, request))

    @admin.action(description="Roll back the projects of these models", permissions=["steer"])
    def roll_back(self, request: HttpRequest, chosen: QuerySet[ModelVersion]) -> None:
        self.each(request, chosen.order_by("project_id").distinct("project_id"), lambda one: rolled_back(one, request))


@admin.register(Acquisition)
class AcquisitionAdmin(Recorded):
    list_display = ("image", "campaign", "purpose", "rank", "reason", "label", "skipped_at")
    list_filter = ("campaign", "purpose")
    list_select_related = ("image", "campaign", "label__image")


def started(campaign: Campaign, request: HttpRequest) -> str:
    opened = schedule.start_round(campaign, request.user)
    if opened is None:
        raise ValidationError(f"No round was started. {schedule.next_step(campaign)}")
    return f"Round {opened.number} of {campaign} is open."


def cancelled(one: Round, request: HttpRequest) -> str:
    return f"{one}: {campaigns.cancel_round(one, request.user)} stages cancelled."


def retried(one: Round, request: HttpRequest) -> str:
    return f"{one}: {campaigns.retry_round(one, request.user)} stages are in line again."


def closed(campaign: Campaign, request: HttpRequest) -> str:
    campaigns.close(campaign, request.user)
    return f"{campaign} is closed; its models and labels stay."


def promoted(model: ModelVersion, request: HttpRequest) -> str:
    promotion.promote(model, by=request.user, reason="chosen in the admin")  # type: ignore[arg-type]
    return f"{model} is the champion of {model.project}."


def rolled_back(model: ModelVersion, request: HttpRequest) -> str:
    back = promotion.roll_back(model.project, by=request.user)  # type: ignore[arg-type]
    return f"{back.model} is the champion of {model.project} again."


def latest_round(campaign: Campaign) -> Round:
    """The round that an action on a campaign means.

    Raises:
        ValidationError: there is none.
    """
    last = campaign.rounds.last()
    if last is None:
        raise ValidationError("It has no round yet.")
    return last


def rounds_of(stages: QuerySet[Stage]) -> QuerySet[Round]:
    return Round.objects.filter(stages__in=stages).distinct()


def link(name: str, row: Model) -> str:
    """A link to a page of the console."""
    return format_html('<a href="{}">open</a>', reverse(name, args=[row.pk]))
