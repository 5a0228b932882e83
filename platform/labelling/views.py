"""The doorbell of Label Studio: it says that something changed; what changed is read by the poll."""

import hmac
import re

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.core.cache import cache
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from labelling import tasks
from labelling.models import LabellingProject

NUMBER = re.compile(r"[0-9]{1,9}")
LONGEST_BODY = 64 * 1024  # bytes; our webhooks are registered without payload and send about twenty
QUIET = 1.0  # seconds in which further events of a project need no ring of their own
DELAY = 1.5  # seconds from the first event to the poll: longer than QUIET, so that it sees the events not rung for


@csrf_exempt
@login_not_required
@require_POST
def label_studio(request: HttpRequest) -> HttpResponse:
    """204 at once: an annotator's Submit waits for this answer."""
    given = request.headers.get("X-Burnish-Secret", "")
    if not settings.WEBHOOK_SECRET or not hmac.compare_digest(given.encode(), settings.WEBHOOK_SECRET.encode()):
        return _refused(403, "Wrong or missing X-Burnish-Secret.")
    if int(request.headers.get("Content-Length") or 0) > LONGEST_BODY:
        return _refused(413, "The body is too long. Register the webhook with send_payload false.")
    remote_id = request.headers.get("X-Burnish-Project", "")
    project = LabellingProject.objects.filter(remote_id=remote_id).first() if NUMBER.fullmatch(remote_id) else None
    if project is None:
        return _refused(404, "X-Burnish-Project names no Label Studio project of ours.")
    if cache.add(f"rung-for-{project.pk}", value=True, timeout=QUIET):
        tasks.ring(tasks.reconcile, project.pk, delay=DELAY)
    return HttpResponse(status=204)


def _refused(status: int, reason: str) -> HttpResponse:
    return HttpResponse(reason, status=status, content_type="text/plain")
