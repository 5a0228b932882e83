"""`manage.py run_campaign CAMPAIGN`: drive a campaign in this process, without broker or workers."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from rounds import schedule, tasks
from rounds.models import Campaign, Stage, Status


class Command(BaseCommand):
    help = "Run what a campaign needs, stage by stage, until it is finished or waits for people or its clock."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("campaign", type=int, help="Its number, as in the address of its page.")

    def handle(self, *, campaign: int, **options: Any) -> None:
        found = Campaign.objects.filter(pk=campaign).first()
        if found is None:
            raise CommandError(f"Expected the number of a campaign, got {campaign}; the admin lists them.")
        while (stage := schedule.due(campaign)) is not None:
            self.stdout.write(f"{stage}")
            self.run(stage)
        found.refresh_from_db()
        self.stdout.write(schedule.next_step(found))

    def run(self, stage: Stage) -> None:
        tasks.work(stage.pk)
        stage.refresh_from_db()
        if stage.status == Status.FAILED:
            raise CommandError(f"{stage} failed: {stage.error}\n{stage.log_tail}")
        self.stdout.write(f"  {stage.result.get('summary') or stage.get_status_display()}")
