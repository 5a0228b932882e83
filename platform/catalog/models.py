"""What exists: projects, classes, images, scenes, splits, given truth and people's labels.

Nearly everything is insert-only. A file named by a row is written once (`catalog/files.py`) and its sha256 stands
beside its path; paths are relative to `settings.DATA_DIR`. An index mask is a PNG of mode L, uint8 (H, W):
0 = background, i = the class with that index, 255 = ignore.
"""

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import Q


class Split(models.TextChoices):
    TRAIN = "train", "training"
    VAL = "val", "validation"
    TEST = "test", "test"


class Project(models.Model):
    """One product line."""

    name = models.CharField(max_length=50, unique=True)
    description = models.TextField(blank=True)
    benchmark = models.BooleanField(
        default=False,
        help_text="Masks that come with the images are known truth: kept for validation, evaluation and the scripted "
        "annotator, never shown to a training. Leave off for your own images: then such masks are labels.",
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    def class_names(self) -> list[str]:
        """Names of the defect classes in the order of their indices, background left out."""
        return list(self.classes.values_list("name", flat=True))


class DefectClass(models.Model):
    """One kind of defect, with its index in the masks and the guide annotators read."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="classes")
    index = models.PositiveSmallIntegerField(
        validators=[MinValueValidator(1), MaxValueValidator(254)], help_text="Value in the index masks: 1, 2, 3 ..."
    )
    name = models.CharField(max_length=50)
    colour = models.CharField(
        max_length=7, default="#e6194b", validators=[RegexValidator(r"^#[0-9a-fA-F]{6}$", "Expected #rrggbb.")]
    )
    guide = models.TextField(blank=True, help_text="What counts as this defect, where it ends, what it is not.")

    class Meta:
        ordering = ("project", "index")
        verbose_name_plural = "defect classes"
        constraints = [
            models.UniqueConstraint(fields=("project", "index"), name="one_class_per_index"),
            models.UniqueConstraint(fields=("project", "name"), name="one_class_per_name"),
        ]

    def __str__(self) -> str:
        return self.name


class Scene(models.Model):
    """Images that show the same piece of surface. A split never cuts through one, so the split is decided here.

    Grows, and takes in another of the same split where a later image shows both.
    """

    project = models.ForeignKey(Project, models.CASCADE, related_name="scenes")
    split = models.CharField(max_length=5, choices=Split)

    def __str__(self) -> str:
        return f"scene {self.pk}"


class Image(models.Model):
    """One imported file. Fixed once it is in."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="images")
    scene = models.ForeignKey(Scene, models.PROTECT, related_name="images")
    name = models.CharField(max_length=500, help_text="Path inside the imported folder.")
    sha256 = models.CharField(max_length=64, help_text="Of the file as it came.")
    original = models.CharField(max_length=200, help_text="The file as it came, untouched.")
    view = models.CharField(
        max_length=200, help_text="Oriented 8-bit PNG: what people see, thumbnails come from and training reads."
    )
    view_sha256 = models.CharField(max_length=64)
    width = models.PositiveIntegerField(help_text="Of the view, pixels.")
    height = models.PositiveIntegerField(help_text="Of the view, pixels.")
    split = models.CharField(max_length=5, choices=Split)
    kept_out = models.CharField(
        max_length=300, blank=True, help_text="Why the image takes part in nothing (its scene meets another split)."
    )
    source = models.JSONField(default=dict, blank=True, help_text="Line, camera, lot, time, as far as known.")
    provenance = models.JSONField(
        default=dict, blank=True, help_text="Format, file name and split with which the image first came."
    )
    descriptor = models.BinaryField(help_text="Of ml.scenes: finds rotated copies among images that arrive later.")
    imported_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("project", "name")
        constraints = [models.UniqueConstraint(fields=("project", "name"), name="one_image_per_name")]
        indexes = [
            models.Index(fields=("project", "sha256"), name="image_by_content"),
            models.Index(fields=("project", "split"), name="image_by_split"),
        ]

    def __str__(self) -> str:
        return self.name


class Landmarks(models.Model):
    """What ml.landmarks finds an image's surface again by. Not in the image's row: pages read that, and this is larger.

    Images older than this table have none until a worker has looked (`catalog.surfaces.describe_older`).
    """

    image = models.OneToOneField(Image, models.CASCADE, primary_key=True, related_name="landmarks")
    described = models.BinaryField(help_text="Of ml.landmarks: empty where nothing stands out.")

    class Meta:
        verbose_name_plural = "landmarks"

    def __str__(self) -> str:
        return f"landmarks of {self.image}"


class SharedSurfaces(models.QuerySet["SharedSurface"]):
    def leaking(self) -> "SharedSurfaces":
        """Those whose images both take part."""
        return self.filter(one__kept_out="", other__kept_out="")


class SharedSurface(models.Model):
    """Two images of different splits that show the same surface.

    One of them is kept out; or it was found when both took part already, and neither is moved, for models have been
    trained and judged on them: then every score says what it leaks.
    """

    one = models.ForeignKey(Image, models.CASCADE, related_name="+")
    other = models.ForeignKey(Image, models.CASCADE, related_name="+")
    found_at = models.DateTimeField(auto_now_add=True)

    objects = SharedSurfaces.as_manager()

    class Meta:
        ordering = ("pk",)
        constraints = [models.UniqueConstraint(fields=("one", "other"), name="shared_surface_noted_once")]

    def __str__(self) -> str:
        return f"{self.one} and {self.other} show the same surface"


def _classes_shown() -> "ArrayField[list[int] | None, list[int] | None]":
    """Read from the mask when it is written. Empty: no defect; null: of rows older than this column, until a worker
    has looked (`catalog.describing`), and of withdrawals.
    """
    return ArrayField(models.PositiveSmallIntegerField(), null=True, blank=True, help_text="Indices the mask shows.")


def _mask_provenance() -> "models.JSONField[dict[str, str], dict[str, str]]":
    return models.JSONField(default=dict, blank=True, help_text="What the source says of the mask: kind, by, file.")


class ReferenceMask(models.Model):
    """Given truth of a benchmark image. Read by validation, evaluation and the scripted annotator only.

    Whoever may see rows of it sees it in the data set's pages too: annotators may not.
    """

    image = models.OneToOneField(Image, models.CASCADE, related_name="reference")
    path = models.CharField(max_length=200)
    sha256 = models.CharField(max_length=64)
    classes = _classes_shown()
    provenance = _mask_provenance()

    class Meta:
        indexes = [GinIndex(fields=("classes",), name="reference_by_class")]

    def __str__(self) -> str:
        return f"truth of {self.image}"


class LabelQuerySet(models.QuerySet["Label"]):
    def that_count(self) -> "LabelQuerySet":
        """The latest label of each image among these, where that is not a withdrawal."""
        latest = self.order_by("image_id", "-created_at", "-pk").distinct("image_id")
        return Label.objects.filter(pk__in=latest.values("pk"), withdrawn=False)

    def by_people(self) -> "LabelQuerySet":
        """Without the answers of scripted annotators, which count in their own campaign only."""
        return self.filter(scripted=False)


class Label(models.Model):
    """An answer for one image. Never edited: a correction is a new Label, a deletion a withdrawing one."""

    image = models.ForeignKey(Image, models.CASCADE, related_name="labels")
    annotator = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="labels",
        help_text="Empty for masks that came with an import.",
    )  # fmt: skip
    scripted = models.BooleanField(default=False, help_text="Answered by a script from the given truth.")
    path = models.CharField(max_length=200, blank=True, help_text="Index mask; empty for a withdrawal.")
    sha256 = models.CharField(max_length=64, blank=True)
    withdrawn = models.BooleanField(default=False, help_text="Takes the image's earlier label back.")
    seconds = models.FloatField(null=True, blank=True, help_text="Working time, as the editor measured it.")
    origins = models.JSONField(
        default=dict, help_text="Regions by origin: manual, prediction, prediction-changed -> count."
    )
    classes = _classes_shown()
    provenance = _mask_provenance()
    # "label-studio:<annotation>:<updated_at>" or "import:<image>": the same answer heard twice is stored once.
    external_key = models.CharField(max_length=120, unique=True)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = LabelQuerySet.as_manager()

    class Meta:
        ordering = ("-created_at",)
        indexes = [
            models.Index(fields=("image", "-created_at"), name="label_latest_first"),
            GinIndex(fields=("classes",), name="label_by_class"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(withdrawn=True, path="") | (Q(withdrawn=False) & ~Q(path="")),
                name="a_label_has_a_mask_unless_it_withdraws",
            )
        ]

    def __str__(self) -> str:
        return f"label {self.pk} of {self.image}"


class Import(models.Model):
    """One import, running or past: its progress and what became of each file."""

    class Status(models.TextChoices):
        PENDING = "pending"
        RUNNING = "running"
        DONE = "done"
        FAILED = "failed"
        CANCELLED = "cancelled"

    project = models.ForeignKey(Project, models.CASCADE, related_name="imports")
    source = models.CharField(max_length=500, help_text="Folder or zip, on the server.")
    format = models.CharField(max_length=20, default="detect", help_text="How the source is read (annotation.formats).")
    split_file = models.CharField(max_length=500, blank=True)
    status = models.CharField(max_length=9, choices=Status, default=Status.PENDING)
    total = models.PositiveIntegerField(default=0)
    imported = models.PositiveIntegerField(default=0)
    already_there = models.PositiveIntegerField(default=0)
    error = models.TextField(blank=True)
    warnings = models.JSONField(default=list, blank=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    heartbeat_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-created_at",)

    def __str__(self) -> str:
        return f"import {self.pk} into {self.project}"


class RefusedFile(models.Model):
    """A file that did not go in, with the reason: expected what, got what, do what."""

    of = models.ForeignKey(Import, models.CASCADE, related_name="refused")
    name = models.CharField(max_length=500)
    reason = models.TextField()

    class Meta:
        ordering = ("name",)
        constraints = [models.UniqueConstraint(fields=("of", "name"), name="refused_once_per_import")]

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


class Statistics(models.Model):
    """What a project's data set held at a moment, and what its splits leak: computed by a worker, shown by pages."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="statistics")
    state = models.CharField(max_length=120, help_text="Of the rows it was computed over (catalog.describing.state).")
    figures = models.JSONField(help_text="As catalog.describing.describe leaves them.")
    seconds = models.FloatField(help_text="That the computing took.")
    computed_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("-computed_at",)
        verbose_name_plural = "statistics"
        constraints = [models.UniqueConstraint(fields=("project", "state"), name="described_once_per_state")]

    def __str__(self) -> str:
        return f"statistics of {self.project}, {self.computed_at:%Y-%m-%d %H:%M}"
