"""Everybody reads, changes and gives their own answers only; administrators all of them.

Without this any account could change another's answer, sign it with another's name, or copy it as a second opinion.
"""

import json
from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from tasks.models import Annotation, AnnotationDraft

WRITTEN = {"task-annotations", "annotation-detail"}  # names of Label Studio's addresses


class OwnAnswers:
    """A middleware; last, where it is known who asks."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, view: object, arguments: object, where: dict[str, int]
    ) -> HttpResponse | None:
        """A refusal of what concerns another's answer."""
        address = request.resolver_match.url_name if request.resolver_match else None
        if not _is_annotator(request) or address is None:
            return None
        if address == "annotation-detail" and _is_anothers(Annotation, where["pk"], completed_by=request.user):
            return _refused("This is another person's answer.")
        if address == "task-annotations-drafts" and _is_anothers(
            Annotation, where["annotation_id"], completed_by=request.user
        ):
            return _refused("This is another person's answer.")
        if address == "draft-detail" and _is_anothers(AnnotationDraft, where["pk"], user=request.user):
            return _refused("This is another person's draft.")
        if address in WRITTEN and request.method in {"POST", "PATCH", "PUT"} and _is_signed(request):
            return _refused("Who gives an answer is not theirs to say.")
        return None

    def process_template_response(self, request: HttpRequest, response: Any) -> Any:
        """The answer without what others drew. Called before REST framework renders it."""
        if _is_annotator(request) and hasattr(response, "data"):
            response.data = _own(response.data, request.user)
        return response


def _is_annotator(request: HttpRequest) -> bool:
    return bool(request.user.is_authenticated and not request.user.is_superuser)


def _is_anothers(model: Any, pk: int, **owner: object) -> bool:
    """Also true of what is not there: Label Studio need not be asked."""
    return not model.objects.filter(pk=pk, **owner).exists()


def _is_signed(request: HttpRequest) -> bool:
    """Whether a submission names its author, or comes in a form in which it could without being noticed."""
    if request.content_type != "application/json":
        return True
    try:
        answer = json.loads(request.body)
    except ValueError:
        return False  # Label Studio refuses it itself
    return isinstance(answer, dict) and "completed_by" in answer


def _own(data: Any, user: Any) -> Any:
    if isinstance(data, list):
        return [_own(one, user) for one in data if not _by_another(one, user)]
    if not isinstance(data, dict):
        return data
    lists = {key: _own(data[key], user) for key in ("tasks", "annotations", "drafts") if key in data}
    blank = {"annotations_results": ""} if "annotations_results" in data else {}
    return {**data, **lists, **blank}


def _by_another(one: Any, user: Any) -> bool:
    """Annotations name who completed them, by number or with their address; drafts name their user's address."""
    if not isinstance(one, dict):
        return False
    if "completed_by" in one:
        author = one["completed_by"]
        return bool((author.get("id") if isinstance(author, dict) else author) != user.pk)
    return "was_postponed" in one and one.get("user") != user.email


def _refused(reason: str) -> HttpResponse:
    return JsonResponse({"detail": reason}, status=403)
