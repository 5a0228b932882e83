"""`manage.py report_campaign`: a campaign's figures as JSON."""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from rounds.models import Campaign
from rounds.report import campaign_figures


class Command(BaseCommand):
    help = "Print a campaign's figures as JSON: labels, pseudo-labels, mIoU per training and split, cost."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("project")
        parser.add_argument("name")

    def handle(self, *, project: str, name: str, **options: Any) -> None:
        campaign = Campaign.objects.filter(project__name=project, name=name).first()
        if campaign is None:
            raise CommandError(f"There is no campaign {name!r} in a project {project!r}.")
        self.stdout.write(json.dumps(campaign_figures(campaign), indent=1))
