"""`manage.py demo`: the whole loop on generated surfaces, through the real Label Studio. The stack is up already."""

import time
import webbrowser
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.urls import reverse

from catalog.models import Project
from labelling import audit
from ml.synthetic import generate
from rounds import following, report
from rounds.campaigns import close, create_campaign
from rounds.models import Campaign

PROJECT = "Demo surfaces"
IMAGES, SIZE, SEED = 300, 128, 0
# A U-Net of 0.48 M parameters; the schedule is sized so that a second run takes under four minutes on two cores.
TRAINING = {"network": {"name": "half_unet", "channels": 1, "width": 16}, "crop": 128, "steps": 200}
FIRST_BATCH, BATCH, ROUNDS = 24, 12, 2
PATIENCE_SECONDS = 30 * 60  # a demo that takes longer hangs somewhere: say where and stop


class Command(BaseCommand):
    help = "Generate surfaces, run round 0 and two rounds of PPL with a scripted annotator, and leave the pages open."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--once", action="store_true", help="Check the outcome, stop everything and exit.")

    def handle(self, *, once: bool, **options: Any) -> None:
        try:
            campaign = self.run_campaign()
            self.summarise(campaign)
            if once:
                check(campaign)
                self.stdout.write(self.style.SUCCESS("All stages done, counts equal Label Studio's, better model."))
            else:
                self.leave_open(campaign)
        except KeyboardInterrupt:
            self.stdout.write("\nStopping.")
        finally:
            call_command("down")

    def run_campaign(self) -> Campaign:
        """Import the surfaces, create a campaign and follow it to its end."""
        project = self.import_surfaces()
        for interrupted in project.campaigns.filter(closed_at=None):
            close(interrupted, "a new demo")  # it would go on beside this one
        campaign = create_campaign(
            project,
            name=f"Demo {project.campaigns.count() + 1}",
            recipe_name="ppl",
            overrides=TRAINING,
            seed=SEED,
            budget=FIRST_BATCH + BATCH * (ROUNDS - 1),
            first_batch=FIRST_BATCH,
            batch=BATCH,
            max_rounds=ROUNDS,
            scripted=True,
            label_trigger=BATCH,
        )
        self.stdout.write(f"\n{campaign.name}: {settings.PUBLIC_URL}{reverse('campaign', args=[campaign.pk])}")
        following.follow(campaign, self.stdout, patience_seconds=PATIENCE_SECONDS)
        return campaign

    def import_surfaces(self) -> Project:
        folder = settings.STATE_DIR / "demo" / f"surfaces-{IMAGES}-{SIZE}-{SEED}"
        if not (folder / "classes.json").is_file():
            self.stdout.write(f"Generating {IMAGES} surfaces of {SIZE} x {SIZE} pixels")
            generate(folder, images=IMAGES, size=SIZE, seed=SEED)
        call_command("import_images", PROJECT, folder, benchmark=True, stdout=self.stdout)
        return Project.objects.get(name=PROJECT)

    def summarise(self, campaign: Campaign) -> None:
        """A short table: labels, mIoU after each training, pseudo-labels, what went back to people."""
        figures = report.campaign_figures(campaign)
        images = figures["images"]
        self.stdout.write(
            f"\n{images.get('train', 0)} training images, {figures['labels']} of them labelled by the script; "
            f"mIoU over all {images.get('test', 0)} test images together, background included:"
        )
        for one in figures["rounds"]:
            for model in one["models"]:
                self.stdout.write(
                    f"  round {one['number']}  {model['stage']:<28} {100 * model['miou'].get('test', 0):5.1f} %"
                    f"   {model['parameters'] / 1e6:.2f} M parameters, {model['seconds']:.0f} s"
                )
            sent = ", ".join(f"{count} {purpose}" for purpose, count in one["asked"].items()) or "none"
            self.stdout.write(
                f"  round {one['number']}: {one['labels']} labels and {one['pseudo_labels']} pseudo-labels trained on; "
                f"sent to people: {sent}, answered: {one['answered']}"
            )

    def leave_open(self, campaign: Campaign) -> None:
        address = f"{settings.PUBLIC_URL}{reverse('campaign', args=[campaign.pk])}"
        self.stdout.write(
            f"\nBurnish       {settings.PUBLIC_URL}\nLabel Studio  {settings.LABEL_STUDIO_PUBLIC_URL}\n"
            f"login         {settings.ADMIN_EMAIL}  {settings.ADMIN_PASSWORD}  (in both)\n\nCtrl-C stops everything."
        )
        webbrowser.open(address)
        while True:
            time.sleep(3600)


def check(campaign: Campaign) -> None:
    """The promise of `make demo ONCE=1`.

    Raises:
        CommandError: a stage is not done, Label Studio's counts differ from ours, or the last model is not better.
    """
    if not report.all_stages_done(campaign):
        raise CommandError("Expected every stage done; see the campaign's page.")
    ours, theirs = audit.counts(campaign)
    if ours != theirs:
        raise CommandError(f"Label Studio's counts differ: ours {ours}, its {theirs}.")
    trained = [one["models"] for one in report.campaign_figures(campaign)["rounds"] if one["models"]]
    first, last = trained[0][0]["miou"]["test"], trained[-1][-1]["miou"]["test"]
    if last <= first:
        raise CommandError(f"The last model ({last:.3f} mIoU) does not beat the first, supervised one ({first:.3f}).")
