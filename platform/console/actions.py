"""The buttons: each checks who presses it, hands the work to `rounds` or `catalog`, and goes back to a page."""

from typing import cast

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_POST

from catalog.models import Import
from console.words import count
from rounds.campaigns import cancel_round, retry_round
from rounds.models import Campaign, ModelVersion, Round
from rounds.promotion import promote, roll_back
from rounds.schedule import start_round

# One permission for all of them, as in the admin: whoever may change campaigns may steer them.
STEER = "rounds.change_campaign"


@require_POST
@permission_required(STEER, raise_exception=True)
def start(request: HttpRequest, pk: int) -> HttpResponse:
    """Open the campaign's next round."""
    campaign = get_object_or_404(Campaign, pk=pk)
    opened = start_round(campaign, _person(request))
    if opened is None:
        messages.warning(request, "No round was started: one is computing, or the campaign has none left.")
        return redirect("campaign", pk)
    messages.success(request, f"Round {opened.number} is open.")
    return redirect("round", opened.pk)


@require_POST
@permission_required(STEER, raise_exception=True)
def cancel(request: HttpRequest, pk: int) -> HttpResponse:
    """Cancel what is left of the round."""
    one = get_object_or_404(Round, pk=pk)
    stages = cancel_round(one, _person(request))
    messages.info(request, f"{count(stages, 'stage')} cancelled." if stages else "Nothing was left to cancel.")
    return redirect("round", pk)


@require_POST
@permission_required(STEER, raise_exception=True)
def retry(request: HttpRequest, pk: int) -> HttpResponse:
    """Put the round's failed and cancelled stages back in line."""
    one = get_object_or_404(Round, pk=pk)
    try:
        stages = retry_round(one, _person(request))
    except ValidationError as refused:
        messages.error(request, " ".join(refused.messages))
        return redirect("round", pk)
    messages.success(request, f"{count(stages, 'stage')} back in line." if stages else "Nothing needed another try.")
    return redirect("round", pk)


@require_POST
@permission_required(STEER, raise_exception=True)
def promote_model(request: HttpRequest, pk: int) -> HttpResponse:
    """Make the model its project's champion, for the reason given."""
    found = get_object_or_404(ModelVersion, pk=pk)
    reason = request.POST.get("reason", "").strip()[:300]
    if not reason:
        messages.error(request, "Say in a few words why this model should be the champion.")
        return redirect("model", pk)
    promote(found, by=_person(request), reason=reason)
    messages.success(request, f"{found} is the champion.")
    return redirect("model", pk)


@require_POST
@permission_required(STEER, raise_exception=True)
def roll_back_model(request: HttpRequest, pk: int) -> HttpResponse:
    """Make the champion before this one champion again."""
    found = get_object_or_404(ModelVersion.objects.select_related("project"), pk=pk, champion=True)
    try:
        promotion = roll_back(found.project, by=_person(request))
    except ValidationError as refused:
        messages.error(request, " ".join(refused.messages))
        return redirect("model", pk)
    messages.success(request, f"{promotion.model} is the champion again.")
    return redirect("model", promotion.model_id)


@require_POST
@permission_required("catalog.change_import", raise_exception=True)
def cancel_import(request: HttpRequest, pk: int) -> HttpResponse:
    """Stop the import; what is in stays in."""
    running = Import.objects.filter(pk=pk, status__in=(Import.Status.PENDING, Import.Status.RUNNING))
    if running.update(status=Import.Status.CANCELLED):
        messages.info(request, "The import stops. The images that are in stay in; importing again goes on from there.")
    return redirect("import", pk)


def _person(request: HttpRequest) -> User:
    """Who presses the button; the permission before it lets no anonymous one come this far."""
    return cast("User", request.user)
