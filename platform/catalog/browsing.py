"""The images of a project by the masks they have. Rows in, query sets out; no file is read."""

from collections.abc import Collection

from django.db.models import Count, Exists, OuterRef, Q

from catalog.models import Image, Label, LabelQuerySet, ReferenceMask, Split

NO_DEFECT = 0  # asked for as a class: masks that show none
LAST_INDEX = 254  # no class has a higher one
KEPT_OUT = "out"  # asked for as a split


def counting(*, scripted: bool) -> LabelQuerySet:
    """The labels that count, of people and imports or of scripts: none is newer.

    The same rows as `that_count`, in a form that a database can join: that one sorts all labels first.
    """
    same_moment = Q(created_at=OuterRef("created_at"), pk__gt=OuterRef("pk"))
    newer = Label.objects.filter(
        Q(created_at__gt=OuterRef("created_at")) | same_moment, image=OuterRef("image"), scripted=scripted
    )
    return Label.objects.filter(~Exists(newer), scripted=scripted, withdrawn=False)


def shows(index: int | None) -> Q:
    """Of labels and given truth: those that show this class; None: any."""
    if index is None:
        return Q()
    return Q(classes=[]) if index == NO_DEFECT else Q(classes__contains=[index])


def with_truth(project_id: int, showing: int | None) -> Q:
    """Of images: those with given truth that shows this."""
    return Q(pk__in=ReferenceMask.objects.filter(shows(showing), image__project=project_id).values("image"))


def truth_of(images: Collection[int]) -> dict[int, ReferenceMask]:
    """The given truth of these images, by image."""
    return {one.image_id: one for one in ReferenceMask.objects.filter(image__in=images)}


def in_split(split: str) -> Q:
    """Of images: those that take part in a split, or those that are kept out."""
    if split == KEPT_OUT:
        return ~Q(kept_out="")
    return Q(split=Split(split), kept_out="")


def with_company(project_id: int) -> Q:
    """Of images: those whose surface another image shows too."""
    crowded = Image.objects.filter(project=project_id).values("scene").annotate(images=Count("pk")).filter(images__gt=1)
    return Q(scene__in=crowded.values("scene"))
