"""A campaign followed on a terminal: what happens now, how far it is, until it ends."""

import re
import sys
import time

from django.core.management.base import CommandError, OutputWrapper
from django.db import connection
from django.db.models import QuerySet

from rounds.models import Campaign, Stage, Status
from rounds.schedule import next_step


def follow(campaign: Campaign, out: OutputWrapper, *, patience_seconds: float) -> None:
    """Show progress on `out` until the campaign is closed.

    Raises:
        CommandError: a stage failed (with its reason), or the campaign was not closed in time.
    """
    shown = ("", "")
    deadline = time.monotonic() + patience_seconds
    while time.monotonic() < deadline:
        campaign.refresh_from_db()
        failed = campaign_stages(campaign, Status.FAILED).first()
        if failed:
            raise CommandError(f"{failed} failed: {failed.error}\n{failed.log_tail}")
        now = ("", "") if campaign.closed_at else what_happens(campaign)
        _draw(out, shown, now)
        if campaign.closed_at:
            return
        shown = now
        connection.close()  # nothing is held open while sleeping: PostgreSQL may restart meanwhile
        time.sleep(0.5)
    raise CommandError(f"{campaign} is not finished after {patience_seconds / 60:.0f} minutes: {next_step(campaign)}")


def what_happens(campaign: Campaign) -> tuple[str, str]:
    """The running step in words, and how far it is; between steps what comes next."""
    stage = campaign_stages(campaign, Status.RUNNING).select_related("round").first()
    if stage is None:
        return next_step(campaign), ""
    step, steps = stage.progress.get("step", 0), stage.progress.get("steps", 0)
    percent = f"{100 * step // steps} %" if steps else ""
    eta = stage.progress.get("eta_seconds")
    return f"round {stage.round.number}: {stage.name}", percent + (f", {eta:.0f} s left" if eta else "")


def campaign_stages(campaign: Campaign, status: Status) -> QuerySet[Stage]:
    """The campaign's stages in one status."""
    return Stage.objects.filter(round__campaign=campaign, status=status)


def _draw(out: OutputWrapper, before: tuple[str, str], now: tuple[str, str]) -> None:
    """On a terminal the last line is drawn over; elsewhere each step is one line."""
    if not sys.stdout.isatty():
        # A count that falls is no news for a log.
        if now[0] and _without_numbers(now[0]) != _without_numbers(before[0]):
            out.write(f"  {now[0]}")
        return
    if before[0] and now[0] != before[0]:
        out.write(f"\r\033[K  {before[0]}")
    out.write(f"\r\033[K  {now[0]}  {now[1]}", ending="")
    out.flush()


def _without_numbers(text: str) -> str:
    return re.sub(r"\d+", "", text)
