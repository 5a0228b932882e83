"""`manage.py create_campaign`: what the admin's form does, for scripts and researchers."""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError

from catalog.models import Project
from ml.acquisition import ACQUISITION, DEFAULT
from ml.recipes import DEFAULT_RECIPE, RECIPES
from rounds import following
from rounds.campaigns import create_campaign


class Command(BaseCommand):
    help = "Create a campaign; with --follow, show its progress until it ends."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("project")
        parser.add_argument("name")
        parser.add_argument("--recipe", choices=sorted(RECIPES), default=DEFAULT_RECIPE)
        parser.add_argument("--acquisition", choices=sorted(ACQUISITION), default=DEFAULT, help="Which images to ask.")
        parser.add_argument("--minutes", type=float, help="That a batch of people may be expected to take.")
        parser.add_argument("--scripted", action="store_true", help="A script answers from the known masks.")
        parser.add_argument("--first-batch", type=int, default=40, help="Labels of round 0, at random over scenes.")
        parser.add_argument("--batch", type=int, default=20, help="Labels of each later round.")
        parser.add_argument("--rounds", type=int, default=2, help="Training rounds.")
        parser.add_argument("--budget", type=int, help="Labels in all (default: what the batches come to).")
        parser.add_argument("--label-trigger", type=int, help="Open the next round after this many new labels.")
        parser.add_argument("--clock", default="", help="Crontab that opens the next round, such as '0 2 * * *'.")
        parser.add_argument("--seed", type=int, default=0)
        parser.add_argument(
            "--train", type=json.loads, default={}, metavar="JSON", help="Training settings over the recipe's own."
        )
        parser.add_argument(
            "--accept-background", action="store_true", help="Go on where pseudo-labels show hardly a defect."
        )
        parser.add_argument("--follow", type=float, metavar="MINUTES", help="Show progress, at most so long.")

    def handle(self, *, project: str, name: str, follow: float | None, **options: Any) -> None:
        try:
            campaign = create_campaign(
                Project.objects.get(name=project),
                name=name,
                recipe_name=options["recipe"],
                overrides=options["train"],
                acquire={"strategy": options["acquisition"]}
                | ({"minutes": options["minutes"]} if options["minutes"] else {}),
                select={"may_be_background": True} if options["accept_background"] else {},
                seed=options["seed"],
                budget=options["budget"] or options["first_batch"] + options["batch"] * (options["rounds"] - 1),
                first_batch=options["first_batch"],
                batch=options["batch"],
                max_rounds=options["rounds"],
                scripted=options["scripted"],
                label_trigger=options["label_trigger"],
                clock=options["clock"],
            )
        except Project.DoesNotExist:
            known = ", ".join(Project.objects.values_list("name", flat=True)) or "none yet"
            raise CommandError(f"There is no project {project!r}; there are: {known}. Import images first.") from None
        except ValidationError as problem:
            raise CommandError(" ".join(problem.messages)) from problem
        self.stdout.write(f"Campaign {campaign.pk}: {campaign}")
        if follow is not None:
            following.follow(campaign, self.stdout, patience_seconds=60 * follow)
