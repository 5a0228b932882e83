"""What templates need of words and charts."""

from collections.abc import Sequence

from django.conf import settings
from django.template import Library
from django.utils.safestring import SafeString

from console import charts, steps, words
from rounds.models import Evaluation, Status

register = Library()
register.filter("percent", words.percent)
register.filter("duration", words.duration)
register.filter("time_left", words.time_left)
register.filter("task_address", steps.task_address)

ICONS = {
    Status.PENDING: "○",
    Status.RUNNING: "◐",
    Status.WAITING: "✎",
    Status.DONE: "✓",
    Status.FAILED: "✕",
    Status.CANCELLED: "–",
}


@register.filter
def icon(status: str) -> str:
    """The sign that stands before a status's word."""
    return ICONS[Status(status)]


@register.filter
def status_word(status: str) -> str:
    return Status(status).label


@register.filter
def things(number: int, noun: str) -> str:
    """`{{ n|things:"image" }}` or, where the plural is its own word, `{{ n|things:"index,indices" }}`."""
    return words.count(number, *noun.split(","))


@register.filter
def thousands(number: int) -> str:
    return f"{number:,}"


@register.filter
def score(value: float) -> str:
    """With three decimals, as cuts are told; `floatformat` is slow, and a round shows hundreds of them."""
    return f"{value:.3f}"


@register.filter
def over(evaluation: Evaluation) -> str:
    """What the evaluation's mean IoU was taken over."""
    return words.over(evaluation.split, evaluation.images)


@register.simple_tag
def bar(share: float | None, title: str) -> SafeString:
    return charts.bar(share, title=title)


@register.simple_tag
def sparkline(curve: Sequence[Sequence[float]], title: str) -> SafeString:
    return charts.sparkline(curve, title=title)


@register.simple_tag
def label_studio() -> str:
    """Where annotators reach Label Studio."""
    return str(settings.LABEL_STUDIO_PUBLIC_URL)
