"""What happens, and what it leaves: campaigns, rounds, stages and their journal; snapshots, models, predictions.

Insert-only, but for a stage's status (`transitions.py` alone writes it), a campaign's triggers, the champion mark and
the one promised blank on an Acquisition. Paths are relative to `settings.DATA_DIR`.
"""

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q

from catalog.models import Image, Label, LabelQuerySet, Project, Split


class Campaign(models.Model):
    """A project, a recipe, a budget, triggers, a seed and annotators."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="campaigns")
    name = models.CharField(max_length=60)
    recipe_name = models.CharField(max_length=40)
    recipe = models.JSONField(help_text="Frozen copy made at creation; values may be overridden then, never later.")
    seed = models.PositiveIntegerField(default=0)
    scripted = models.BooleanField(
        default=False, help_text="Answers come from a script that knows the given truth (benchmarks, demonstrations)."
    )
    script_user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="scripted_campaigns",
        help_text="The script's account; set by labelling.",
    )  # fmt: skip

    budget = models.PositiveIntegerField(help_text="Labels asked for in all, round 0 included.")
    first_batch = models.PositiveIntegerField(help_text="Labels asked for in round 0, at random over scenes.")
    batch = models.PositiveIntegerField(help_text="Labels asked for in each later round.")
    max_rounds = models.PositiveSmallIntegerField(default=5, help_text="Training rounds; round 0 does not count.")
    enough_share = models.FloatField(
        default=1.0, validators=[MinValueValidator(0.05), MaxValueValidator(1.0)],
        help_text="A round stops waiting for people when this share of its batch is answered; later answers count too.",
    )  # fmt: skip
    enough_hours = models.PositiveIntegerField(
        null=True, blank=True, help_text="... or when this many hours have passed with at least one answer."
    )

    # Triggers of the next round. One rule reads all of them: schedule.why_open_next_round.
    label_trigger = models.PositiveIntegerField(
        null=True, blank=True, help_text="Open the next round after this many new labels."
    )
    clock = models.CharField(
        max_length=60, blank=True, help_text="Crontab, for example '0 2 * * *': every night at two."
    )
    clock_seen_at = models.DateTimeField(auto_now_add=True, help_text="The clock has been answered up to here.")
    closed_at = models.DateTimeField(null=True, blank=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("-created_at",)
        constraints = [
            models.UniqueConstraint(fields=("project", "name"), name="one_campaign_per_name"),
            models.UniqueConstraint(
                fields=("project",), condition=Q(scripted=False, closed_at__isnull=True),
                name="one_open_campaign_for_people_a_project",
            ),
        ]  # fmt: skip

    def __str__(self) -> str:
        return self.name

    def labels(self) -> LabelQuerySet:
        """The labels that count in this campaign: its script's, or those of people."""
        labels = Label.objects.filter(image__project=self.project_id, image__kept_out="")
        if self.scripted and self.script_user_id is None:
            return labels.none()  # its script has not answered yet
        mine = labels.filter(annotator=self.script_user_id) if self.scripted else labels.by_people()
        return mine.that_count()


class Round(models.Model):
    """One turn of the loop. It has no status of its own: it is where its stages are."""

    campaign = models.ForeignKey(Campaign, models.CASCADE, related_name="rounds")
    number = models.PositiveSmallIntegerField()
    opened_because = models.CharField(max_length=200, help_text="The trigger, in words.")
    labels_at_opening = models.PositiveIntegerField(default=0)
    opened_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("campaign", "number")
        constraints = [models.UniqueConstraint(fields=("campaign", "number"), name="one_round_per_number")]

    def __str__(self) -> str:
        return f"{self.campaign}, round {self.number}"

    def latest_model(self) -> "ModelVersion":
        """The model this round has trained last; one distilled from it is made for the line, not for the loop."""
        return ModelVersion.objects.filter(stage__round=self).exclude(stage__kind="distil").latest("stage__position")


class Status(models.TextChoices):
    PENDING = "pending", "pending"
    RUNNING = "running", "running"
    WAITING = "waiting", "waiting for people"
    DONE = "done", "done"
    FAILED = "failed", "failed"
    CANCELLED = "cancelled", "cancelled"


class Stage(models.Model):
    """One step of a round.

    pending -> running -> done; running -> waiting -> done (people); running -> pending (heartbeat lost, or a failure
    that may pass); running -> failed; pending, running, waiting -> cancelled; failed, cancelled -> pending (retry).
    """

    round = models.ForeignKey(Round, models.CASCADE, related_name="stages")
    position = models.PositiveSmallIntegerField()
    kind = models.CharField(max_length=20, help_text="Key of rounds.stages.RUNNERS.")
    name = models.CharField(max_length=60, help_text="What the recipe calls this step.")
    settings = models.JSONField(default=dict)
    status = models.CharField(max_length=9, choices=Status, default=Status.PENDING)
    attempt = models.PositiveSmallIntegerField(
        default=0, help_text="Counts claims; every write of a worker is fenced by it."
    )
    worker = models.CharField(max_length=150, blank=True, help_text="Address of the process that claimed it last.")
    heartbeat_at = models.DateTimeField(null=True, blank=True)
    # {"step", "steps", "epoch", "epochs", "loss", "eta_seconds", "note", "curve": [[step, loss], ...]}
    progress = models.JSONField(default=dict)
    result = models.JSONField(default=dict, help_text="Counts and figures worth showing; arrays are in files.")
    error = models.TextField(blank=True)
    log_tail = models.TextField(blank=True)
    started_at = models.DateTimeField(null=True, blank=True, help_text="Of the latest attempt.")
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("round", "position")
        constraints = [
            models.UniqueConstraint(fields=("round", "position"), name="one_stage_per_position"),
            models.UniqueConstraint(
                fields=("round",), condition=Q(status__in=("running", "waiting")), name="one_live_stage_per_round"
            ),
            models.CheckConstraint(condition=Q(status__in=Status.values), name="stage_status_is_known"),
        ]
        indexes = [models.Index(fields=("status", "heartbeat_at"), name="stage_for_the_sweep")]

    def __str__(self) -> str:
        return f"{self.round}: {self.name}"


class StageEvent(models.Model):
    """One change of a stage's status: history, test surface and reason in one. Append-only."""

    stage = models.ForeignKey(Stage, models.CASCADE, related_name="events")
    attempt = models.PositiveSmallIntegerField()
    before = models.CharField(max_length=9, choices=Status)
    after = models.CharField(max_length=9, choices=Status)
    reason = models.CharField(max_length=300)
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("stage", "pk")

    def __str__(self) -> str:
        return f"{self.stage}: {self.before} -> {self.after}"


class StageFile(models.Model):
    """A file that a stage left: stages/<stage>/attempt-<n>/<name>."""

    stage = models.ForeignKey(Stage, models.CASCADE, related_name="files")
    name = models.CharField(max_length=80)
    path = models.CharField(max_length=200)
    sha256 = models.CharField(max_length=64)
    size = models.BigIntegerField(help_text="Bytes.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=("stage", "name"), name="one_file_per_name")]

    def __str__(self) -> str:
        return self.path


class Snapshot(models.Model):
    """The exact images, labels and pseudo-labels a training saw, by content hash."""

    stage = models.OneToOneField(Stage, models.CASCADE, related_name="snapshot")
    digest = models.CharField(max_length=64, help_text="sha256 over the sorted (image, mask, role) hashes.")
    labelled = models.PositiveIntegerField()
    pseudo = models.PositiveIntegerField()
    # [[image id, label id or null, pseudo-label id or null], ...]
    items = models.JSONField()
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"snapshot {self.digest[:12]}"


class ModelVersion(models.Model):
    """Weights left by a training or a distillation. At most one champion a project."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="models")
    stage = models.OneToOneField(Stage, models.PROTECT, related_name="model")
    number = models.PositiveIntegerField(help_text="1, 2, 3 ... in the project.")
    parents = models.ManyToManyField("self", symmetrical=False, blank=True, related_name="children")
    network = models.CharField(max_length=60)
    parameters = models.PositiveBigIntegerField()
    path = models.CharField(max_length=200)
    sha256 = models.CharField(max_length=64)
    # Paths of the snapshots at thirds of the training, earliest first, the final weights last.
    checkpoints = models.JSONField(default=list)
    image_passes = models.PositiveBigIntegerField()
    seconds = models.FloatField()
    champion = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("project", "-number")
        constraints = [
            models.UniqueConstraint(fields=("project", "number"), name="one_model_per_number"),
            models.UniqueConstraint(fields=("project",), condition=Q(champion=True), name="one_champion_a_project"),
        ]

    def __str__(self) -> str:
        return f"{self.project} v{self.number}"


class Promotion(models.Model):
    """A model became champion, by hand (later also by gate). Rolling back is promoting the one before. Append-only."""

    model = models.ForeignKey(ModelVersion, models.CASCADE, related_name="promotions")
    replaced = models.ForeignKey(ModelVersion, models.SET_NULL, null=True, blank=True, related_name="+")
    by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True)
    reason = models.CharField(max_length=300)
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("-at", "-pk")

    def __str__(self) -> str:
        return f"{self.model} promoted"


class Prediction(models.Model):
    """A model's mask and scores for an image. The masks of a stage are palette PNGs in one shard, masks.zip."""

    stage = models.ForeignKey(Stage, models.CASCADE, related_name="predictions")
    model = models.ForeignKey(ModelVersion, models.PROTECT, related_name="predictions")
    image = models.ForeignKey(Image, models.CASCADE, related_name="predictions")
    member = models.CharField(max_length=40, help_text="Name inside the shard.")
    uncertainty = models.FloatField(help_text="[0, 1], up = less sure.")
    confidence = models.FloatField(help_text="[0, 1], up = surer.")
    stability = models.FloatField(null=True, blank=True, help_text="[0, 1], up = checkpoints agree; where asked for.")
    reliability = models.FloatField(null=True, blank=True, help_text="[0, 1], up = more trustworthy; where asked for.")
    class_pixels = models.JSONField(default=list, help_text="Pixels per class index, background first.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=("stage", "image"), name="one_prediction_per_stage_image")]

    def __str__(self) -> str:
        return f"prediction of {self.image}"


class PseudoLabel(models.Model):
    """The decision to train on a prediction."""

    stage = models.ForeignKey(Stage, models.CASCADE, related_name="pseudo_labels")
    prediction = models.ForeignKey(Prediction, models.PROTECT, related_name="pseudo_labels")
    image = models.ForeignKey(Image, models.CASCADE, related_name="pseudo_labels")
    reliability = models.FloatField(null=True, blank=True)
    rule = models.CharField(max_length=120, help_text="What accepted it, in words.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=("stage", "image"), name="one_pseudo_label_per_stage_image")]

    def __str__(self) -> str:
        return f"pseudo-label of {self.image}"


class Purpose(models.TextChoices):
    RANDOM = "random", "random sample"
    CHOSEN = "chosen", "chosen by what the model says"


class Acquisition(models.Model):
    """The decision to ask people about an image."""

    campaign = models.ForeignKey(Campaign, models.CASCADE, related_name="acquisitions")
    stage = models.ForeignKey(Stage, models.CASCADE, related_name="acquisitions")
    image = models.ForeignKey(Image, models.PROTECT, related_name="acquisitions")
    purpose = models.CharField(max_length=20, choices=Purpose)
    rank = models.PositiveIntegerField(help_text="0 = ask first.")
    reason = models.CharField(max_length=200, help_text="Why this image, in words.")
    prediction = models.ForeignKey(Prediction, models.PROTECT, null=True, blank=True, related_name="+")
    label = models.ForeignKey(Label, models.PROTECT, null=True, blank=True, related_name="+")
    skipped_at = models.DateTimeField(null=True, blank=True, help_text="People looked and could not say.")

    class Meta:
        ordering = ("stage", "rank")
        constraints = [
            models.UniqueConstraint(fields=("campaign", "image", "purpose"), name="acquired_once_per_purpose"),
            models.UniqueConstraint(fields=("stage", "rank"), name="one_acquisition_per_rank"),
        ]

    def __str__(self) -> str:
        return f"ask about {self.image}"


class Evaluation(models.Model):
    """Confusion counts of a model on a fixed split, summed over the whole split, and the figures read from them."""

    stage = models.ForeignKey(Stage, models.CASCADE, related_name="evaluations")
    model = models.ForeignKey(ModelVersion, models.CASCADE, related_name="evaluations")
    split = models.CharField(max_length=5, choices=Split)
    images = models.PositiveIntegerField()
    confusion = models.JSONField(help_text="K x K pixel counts, rows = truth, background first.")
    miou = models.FloatField(help_text="Mean IoU over classes present in truth or prediction, background included.")
    miou_foreground = models.FloatField(null=True, help_text="The same without background.")
    iou = models.JSONField(help_text="Per class, null where absent from truth and prediction.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=("model", "split"), name="one_evaluation_per_model_split")]

    def __str__(self) -> str:
        return f"{self.model} on {self.split}: mIoU {self.miou:.3f}"
