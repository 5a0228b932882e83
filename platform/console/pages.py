"""The pages: each reads rows and hands them to its template. Nothing here changes anything."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth.views import LoginView
from django.core.paginator import Paginator
from django.db.models import Count, Prefetch, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django_htmx.http import HttpResponseClientRefresh

from catalog import describing
from catalog.models import Import, Project
from console import curves, leaks, selections, steps, tables
from labelling.models import LabellingProject, RemoteAnnotation, Task
from rounds.models import Acquisition, Campaign, Evaluation, ModelVersion, Round, Stage, Status
from rounds.promotion import succession

ASKED = 24  # acquisitions shown on a round's page
PROBLEMS = 5  # of annotations, shown at once
REFUSED_PAGE = 50
LIVE_IMPORT = (Import.Status.PENDING, Import.Status.RUNNING)
FRESH = timedelta(minutes=10)  # of an import, whose page waits for the statistics
# The poll runs every minute: three missed ones are worth a word.
SILENT = timedelta(minutes=4)


class Login(LoginView):
    """The login page. A page that still polls after its session has ended is told to load itself again."""

    template_name = "console/login.html"
    redirect_authenticated_user = True

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if request.headers.get("HX-Request"):
            return HttpResponseClientRefresh()
        return super().get(request, *args, **kwargs)


@dataclass(frozen=True)
class CampaignCard:
    campaign: Campaign
    state: Status | None
    labels: int
    step: steps.Step


@dataclass(frozen=True)
class ProjectCard:
    project: Project
    champion: ModelVersion | None
    evaluation: Evaluation | None
    campaigns: list[CampaignCard]
    leak: leaks.Leak | None
    past: list[Campaign]


def home(request: HttpRequest) -> HttpResponse:
    """Every project with its champion, its open campaigns and the next step of each."""
    projects = list(_projects())
    shared = leaks.leaks_of(projects)
    cards = [_project_card(project, shared[project.pk]) for project in projects]
    states = {one.state for card in cards for one in card.campaigns if one.state}
    imports = Import.objects.select_related("project").filter(status__in=LIVE_IMPORT)
    context = {
        "cards": cards,
        "imports": imports,
        "without_proxy": settings.NO_PROXY_NOTE.is_file(),
        "services": LabellingProject.objects.exclude(error="").select_related("campaign__project"),
        **_reports(Task.objects.all()),
        "poll_seconds": 5 if imports or any(steps.poll_seconds(state) for state in states) else None,
    }
    return render(request, "console/home.html", context)


def campaign(request: HttpRequest, pk: int) -> HttpResponse:
    """One campaign: its rounds in a table, its learning curve, its triggers."""
    found = get_object_or_404(Campaign.objects.select_related("project", "labelling_project"), pk=pk)
    rounds = list(found.rounds.order_by("number").prefetch_related(_stages(), *tables.with_results("stages__")))
    rows = tables.round_rows(rounds)
    context = {
        "campaign": found,
        "labels": found.labels().count(),
        "step": steps.step_of(found, rounds[-1] if rounds else None),
        "rows": rows,
        "curve": curves.learning_curve(rows),
        "over": tables.measured_over(one for row in rows for one in row.models),
        "leaks": leaks.of_project(found.project),
        "triggers": steps.triggers(found),
        "enough": steps.enough(found),
        "silent": _is_silent(found),
        **_reports(Task.objects.filter(project__campaign=found)),
        "poll_seconds": steps.poll_seconds(rows[-1].state) if rows and not found.closed_at else None,
    }
    return render(request, "console/campaign.html", context)


def round_(request: HttpRequest, pk: int) -> HttpResponse:
    """One round: its stages as they run, and what they left."""
    rounds = Round.objects.select_related("campaign__project", "campaign__labelling_project")
    found = get_object_or_404(rounds.prefetch_related("stages", *tables.with_results("stages__")), pk=pk)
    stages = list(found.stages.all())
    state = steps.state_of(stages)
    asked = Acquisition.objects.filter(stage__round=found)
    answers = tables.answers(asked)
    models = tables.model_rows(stages)
    context = {
        "round": found,
        "campaign": found.campaign,
        "state": state,
        "step": steps.step_of(found.campaign, found),
        "rows": [tables.stage_row(stage, answers) for stage in stages],
        "models": models,
        "over": tables.measured_over(models),
        "leaks": leaks.of_project(found.campaign.project),
        "selections": selections.selections(stages, {one.index: one for one in found.campaign.project.classes.all()}),
        "asked": asked.select_related("image", "prediction", "task__project")[:ASKED],
        "answers": answers,
        "newer": found.campaign.rounds.filter(number__gt=found.number).first(),
        "poll_seconds": steps.poll_seconds(state),
    }
    return render(request, "console/round.html", context)


def model(request: HttpRequest, pk: int) -> HttpResponse:
    """One model version: its figures per split and class, and where it comes from."""
    versions = ModelVersion.objects.select_related("project", "stage__round__campaign", "stage__snapshot")
    found = get_object_or_404(versions.prefetch_related("evaluations", "parents", "children", "promotions__by"), pk=pk)
    evaluations = [one for one in tables.in_order(found.evaluations.all()) if one]
    classes = list(found.project.classes.all())
    names = ["background", *(one.name for one in classes)]
    context = {
        "model": found,
        "evaluations": evaluations,
        "names": names,
        "leaks": leaks.of_project(found.project),
        "classes": tables.class_rows(classes, evaluations),
        "confusion": tables.confusion_rows(names, evaluations[0]) if evaluations else None,
        "champion": found.project.models.filter(champion=True).first(),
        "promotions": found.promotions.all(),
        "can_roll_back": found.champion and len(succession(found.project)) > 1,
    }
    return render(request, "console/model.html", context)


def import_(request: HttpRequest, pk: int) -> HttpResponse:
    """One import: how far it is, and every refused file with its reason."""
    found = get_object_or_404(Import.objects.select_related("project", "created_by"), pk=pk)
    refused = Paginator(found.refused.all(), REFUSED_PAGE)
    done = found.imported + found.already_there + refused.count
    is_done = found.status == Import.Status.DONE
    described = is_done and not describing.is_outdated(found.project)
    fresh = is_done and timezone.now() - (found.finished_at or found.created_at) < FRESH
    context = {
        "import": found,
        "leaks": leaks.of_project(found.project) if described else None,
        "is_done": is_done,
        "refused": refused.get_page(request.GET.get("page")),
        "done": done,
        "percent": min(100, 100 * done // found.total) if found.total else None,
        "seconds_left": _seconds_left(found, done),
        "running": found.status in LIVE_IMPORT,
        "poll_seconds": 2 if found.status in LIVE_IMPORT else 5 if fresh and not described else None,
    }
    return render(request, "console/import.html", context)


def _projects() -> QuerySet[Project]:
    champions = ModelVersion.objects.filter(champion=True).prefetch_related("evaluations")
    newest_first = Round.objects.order_by("-number").prefetch_related(_stages())
    campaigns = Campaign.objects.select_related("labelling_project").order_by("-created_at")
    newest_rounds = Prefetch("rounds", newest_first, to_attr="newest_rounds")
    still_open = campaigns.filter(closed_at=None).prefetch_related(newest_rounds)
    return Project.objects.annotate(image_count=Count("images")).prefetch_related(
        Prefetch("models", champions, to_attr="champions"),
        Prefetch("campaigns", still_open, to_attr="open_campaigns"),
        Prefetch("campaigns", campaigns.exclude(closed_at=None), to_attr="past_campaigns"),
    )


def _stages() -> "Prefetch[str]":
    # Logs and loss curves are long, and only a round's own page shows them.
    return Prefetch("stages", Stage.objects.defer("log_tail", "progress", "result"))


def _project_card(project: Any, shared: list[leaks.Leak] | None) -> ProjectCard:
    champion = next(iter(project.champions), None)
    evaluations = tables.in_order(champion.evaluations.all()) if champion else ()
    evaluation = next((one for one in evaluations if one), None)
    return ProjectCard(
        project=project,
        champion=champion,
        evaluation=evaluation,
        leak=next(
            (one for one in shared or () if evaluation and one.split == evaluation.split and not one.given), None
        ),
        campaigns=[_campaign_card(one) for one in project.open_campaigns],
        past=project.past_campaigns,
    )


def _campaign_card(one: Any) -> CampaignCard:
    latest = next(iter(one.newest_rounds), None)
    return CampaignCard(
        campaign=one,
        state=steps.state_of(latest.stages.all()) if latest else None,
        labels=one.labels().count(),
        step=steps.step_of(one, latest),
    )


def _reports(tasks: QuerySet[Task]) -> dict[str, Any]:
    """The latest annotations that could not be read, and questions whose task was deleted before it was answered."""
    unread = RemoteAnnotation.objects.filter(task__in=tasks).exclude(problem="")
    gone = tasks.filter(acquisition__label=None).exclude(deleted_at=None)
    return {
        "problems": unread.select_related("task__project", "task__acquisition__image").order_by("-updated_at")[
            :PROBLEMS
        ],
        "gone": gone.select_related("acquisition__image").order_by("-deleted_at")[:PROBLEMS],
    }


def _is_silent(one: Campaign) -> bool:
    """Whether nobody has looked into Label Studio for a while: the workers or beat are down."""
    found: LabellingProject | None = getattr(one, "labelling_project", None)
    if found is None or one.closed_at or found.polled_at is None:
        return False
    return timezone.now() - found.polled_at > SILENT


def _seconds_left(found: Import, done: int) -> float | None:
    if found.heartbeat_at is None or not done or found.status not in LIVE_IMPORT:
        return None
    return (found.heartbeat_at - found.created_at).total_seconds() / done * max(0, found.total - done)
