"""The forms of a campaign: everything when it is made, only its triggers afterwards."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from unfold.widgets import (
    UnfoldAdminDecimalFieldWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldBooleanWidget,
)

from ml.acquisition import ACQUISITION, DEFAULT
from ml.recipes import DEFAULT_RECIPE, RECIPES, frozen_copy
from rounds import campaigns
from rounds.models import Campaign

CREATION = ("project", "name", "recipe_name", "seed", "scripted", "budget", "first_batch", "batch", "max_rounds")
TRIGGERS = ("label_trigger", "clock", "enough_share", "enough_hours")
ASKING = ("acquisition", "minutes")
TRAINING = ("accept_background", "width", "steps", "batch_size", "crop", "learning_rate")


def _whole(least: int, text: str) -> forms.IntegerField:
    return forms.IntegerField(min_value=least, required=False, help_text=text, widget=UnfoldAdminIntegerFieldWidget)


class TriggerForm(forms.ModelForm):  # type: ignore[type-arg]
    """When the next round opens."""

    class Meta:
        model = Campaign
        fields = TRIGGERS

    def clean_clock(self) -> str:
        clock = " ".join(self.cleaned_data["clock"].split())
        if problem := campaigns.clock_problem(clock):
            raise ValidationError(problem)
        return clock


class CampaignForm(TriggerForm):
    """A new campaign; what is left empty under Training stays as the recipe has it."""

    recipe_name = forms.ChoiceField(
        label="Recipe",
        choices=[(name, f"{name}: {recipe.summary}") for name, recipe in RECIPES.items()],
        initial=DEFAULT_RECIPE,
        widget=UnfoldAdminSelectWidget,
    )
    acquisition = forms.ChoiceField(
        choices=[(name, name.replace("_", " ")) for name in ACQUISITION],
        initial=DEFAULT,
        required=False,
        help_text="How images are chosen once there is a model; all but 'random' ask about a surface once a batch.",
        widget=UnfoldAdminSelectWidget,
    )
    minutes = forms.FloatField(
        min_value=1,
        required=False,
        help_text="That a batch may be expected to take; quick answers then come first.",
        widget=UnfoldAdminDecimalFieldWidget,
    )
    accept_background = forms.BooleanField(
        required=False,
        help_text="Go on where pseudo-labels show hardly a defect: only where the pool really is that clean.",
        widget=UnfoldBooleanWidget,
    )
    width = _whole(1, "Channels of the network's first level; twice the width is four times the parameters.")
    steps = _whole(1, "Optimiser steps of each training.")
    batch_size = _whole(2, "Images a step.")
    crop = _whole(32, "Pixels; larger images are cut at random, smaller ones padded.")
    learning_rate = forms.FloatField(
        min_value=1e-7,
        required=False,
        help_text="Of the optimiser, at the start.",
        widget=UnfoldAdminDecimalFieldWidget,
    )

    class Meta:
        model = Campaign
        fields = (*CREATION, *TRIGGERS)

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or self.cleaned_data
        if self.errors:
            return values
        self.instance.recipe = frozen_copy(
            values["recipe_name"], overrides(values), acquire=asking(values),
            select={"may_be_background": True} if values["accept_background"] else {},
        )  # fmt: skip
        draft = Campaign(recipe=self.instance.recipe, **{name: values[name] for name in CampaignForm.Meta.fields})
        if problems := campaigns.contradictions(draft):
            raise ValidationError(problems)
        return values


def asking(values: dict[str, Any]) -> dict[str, Any]:
    """The given settings of the acquire stage."""
    given = {"strategy": values["acquisition"], "minutes": values["minutes"]}
    return {name: value for name, value in given.items() if value}


def overrides(values: dict[str, Any]) -> dict[str, Any]:
    """The given training settings as fields of `ml.spec.TrainSpec`."""
    names = {"steps": "steps", "batch_size": "batch", "crop": "crop", "learning_rate": "learning_rate"}
    given = {field: values[name] for name, field in names.items() if values[name] is not None}
    if values["width"] is not None:
        network = RECIPES[values["recipe_name"]].train["network"]
        given["network"] = {**network, "width": values["width"]}
    return given
