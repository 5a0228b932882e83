"""Kill anything, lose nothing: campaigns run while their services are killed, stopped and flushed at random.

`make storm` runs it for longer: STORM_KILLS kills, seed STORM_SEED.
"""

import os
import random
import signal
import statistics
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
import redis
from django.conf import settings
from django.db import InterfaceError, OperationalError, connection

from config import processes, programs, supervision
from config.supervision import Program
from labelling import audit
from labelling.models import RemoteAnnotation
from rounds import campaigns, doorbell, report, transitions
from rounds.models import Campaign, ModelVersion, Prediction, Snapshot, Stage, StageEvent, Status

KILLS = int(os.environ.get("STORM_KILLS", "20"))
SEED = int(os.environ.get("STORM_SEED", time.time_ns() % 10**6))
CAMPAIGNS = 2 if KILLS > 20 else 1  # at once; others follow until all blows have fallen
PAUSE = (0.3, 2.0)  # seconds between two kills
STOPPED = (2.0, 8.0)  # seconds a process stands still
STANDS = ", stopped"
# Trainings long enough to be hit.
TRAINING = {"network": {"name": "half_unet", "channels": 1, "width": 8}, "crop": 64, "steps": 60, "batch": 4,
            "learning_rate": 0.003, "optimiser": "adamw"}  # fmt: skip
RECIPES = ("ppl", "supervised")  # of campaigns that follow the first, which is a whole ppl
CAMPAIGN = {"scripted": True, "label_trigger": 4, "max_rounds": 1, "overrides": TRAINING}

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(1200 + 20 * KILLS)]


# --- what is hit --------------------------------------------------------------------------------------------------


def program(name: str) -> Callable[[], list[int]]:
    """The main process of a program."""
    return lambda: [pid for pid in [supervision.states()[name].pid] if pid]


def child(name: str, words: str) -> Callable[[], list[int]]:
    """A process under a program whose command line holds some words."""

    def find() -> list[int]:
        family = processes.with_descendants(supervision.states()[name].pid)[1:]
        return [process.pid for process in family if words in process.command]

    return find


TARGETS: dict[str, Callable[[], list[int]]] = {
    "gpu worker": program("worker-gpu"),
    "its child": child("worker-gpu", "celery"),
    "training": child("worker-gpu", "-m ml"),
    "default worker": program("worker-default"),
    "beat": program("beat"),
    "web": program("web"),
    "valkey": program("valkey"),
    "Label Studio": program("label-studio"),
    "proxy": program("proxy"),
}
WEIGHTS = {"training": 3, "gpu worker": 2, "its child": 2, "Label Studio": 2}


def go_on(pid: int) -> None:
    if processes.read(pid):
        os.kill(pid, signal.SIGCONT)


def flush() -> None:
    redis.Redis(unix_socket_path=str(settings.SOCKET_DIR / "valkey.sock"), socket_timeout=STOPPED[1] + 2).flushall()


def restart_postgres() -> None:
    supervision.server().stopProcess("postgres", True)
    supervision.server().startProcess("postgres", True)


DEEDS: dict[str, Callable[[], None]] = {"flush of valkey": flush, "restart of postgres": restart_postgres}


@dataclass
class Storm:
    """Strikes at random; remembers what it did and how long each thing took to answer again."""

    rng: random.Random
    done: Counter[str] = field(default_factory=Counter)
    waiting: dict[str, float] = field(default_factory=dict)
    recovered: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    stopped: list[threading.Timer] = field(default_factory=list)
    next_strike: float = 0.0
    owed: list[str] = field(default_factory=lambda: [*TARGETS, *DEEDS])  # hit once before anything is hit by chance

    def strike_when_due(self) -> None:
        """Hit something, then leave it alone for a while."""
        if time.monotonic() > self.next_strike:
            self.strike()
            self.next_strike = time.monotonic() + self.rng.uniform(*PAUSE)

    def strike(self) -> None:
        """Hit one thing, if it is there to be hit."""
        names = [*TARGETS, *DEEDS]
        name = self.rng.choice(self.owed or self.rng.choices(names, [WEIGHTS.get(name, 1) for name in names]))
        if name in DEEDS:
            DEEDS[name]()
            self.note(name)
        elif pids := TARGETS[name]():
            self.hit(name, self.rng.choice(pids))

    def hit(self, name: str, pid: int) -> None:
        """Kill a process, or stop it for a while."""
        if self.rng.random() < 0.25:
            os.kill(pid, signal.SIGSTOP)
            # By a thread: whoever looks after the rest may itself wait for what stands still.
            self.stopped.append(threading.Timer(self.rng.uniform(*STOPPED), go_on, [pid]))
            self.stopped[-1].start()
            self.note(name + STANDS)
        else:
            os.kill(pid, signal.SIGKILL)
            self.note(name)

    def note(self, name: str) -> None:
        """Count it, and begin to wait for its recovery."""
        self.done[name] += 1
        self.owed = [one for one in self.owed if one != name.removesuffix(STANDS)]
        self.waiting.setdefault(name, time.monotonic())

    def look_after(self) -> None:
        """Note what answers again."""
        now = time.monotonic()
        for name, since in list(self.waiting.items()):
            if now - since > 1 and answers(name):
                self.recovered[name].append(time.monotonic() - since)
                del self.waiting[name]

    def in_words(self) -> str:
        """A table: how often each thing was hit, and the seconds until it answered again."""
        rows = [f"| {'hit':<24} | times | median s | worst s |", "|---|---|---|---|"]
        for name, times in sorted(self.done.items()):
            took = self.recovered[name] or [float("nan")]
            rows.append(f"| {name:<24} | {times:>5} | {statistics.median(took):>8.1f} | {max(took):>7.1f} |")
        return "\n".join(rows)


PROGRAMS = {"default worker": "worker-default", "Label Studio": "label-studio", "flush of valkey": "valkey",
            "restart of postgres": "postgres", "gpu worker": "worker-gpu", "its child": "worker-gpu",
            "training": "worker-gpu"}  # fmt: skip


def answers(name: str) -> bool:
    """Whether what was hit works again."""
    name = name.removesuffix(STANDS)
    wanted = PROGRAMS.get(name, name)
    try:
        return supervision.states()[wanted].running and ready(wanted)
    except (OSError, KeyError, redis.RedisError):
        return False


def ready(name: str) -> bool:
    every: list[Program] = [*programs.stores(), *programs.servers()]
    return next(one for one in every if one.name == name).ready()


# --- what must hold afterwards ------------------------------------------------------------------------------------


def assert_done_once(stage: Stage) -> None:
    """It was finished once, by one attempt, and left its rows once."""
    events = StageEvent.objects.filter(stage=stage)
    assert events.filter(after=Status.DONE).count() == 1, f"{stage} was finished more than once"
    claims = list(events.filter(after=Status.RUNNING).values_list("attempt", flat=True))
    assert len(claims) == len(set(claims)), f"{stage}: two workers held one attempt"
    models = ModelVersion.objects.filter(stage=stage).count()
    assert models == (stage.kind == "train"), f"{stage} left {models} models"
    assert Snapshot.objects.filter(stage=stage).count() == models
    predicted = list(Prediction.objects.filter(stage=stage).values_list("image", flat=True))
    assert len(predicted) == len(set(predicted)), f"{stage} predicted an image twice"


def assert_no_label_is_lost(campaign: Campaign) -> None:
    """What the script submitted is counted alike in Label Studio, in our rows and among the labels; no task is twice."""
    ours, theirs = audit.counts(campaign)
    asked = campaign.acquisitions.count()
    assert ours == theirs == {"tasks": asked, "predictions": asked, "annotations": asked}
    answered = campaign.acquisitions.exclude(label=None)
    assert answered.count() == answered.values("label").distinct().count() == asked
    assert RemoteAnnotation.objects.filter(task__project__campaign=campaign).count() == asked


def orphans() -> list[str]:
    """Processes of `ml` with a folder of ours that no worker of today has started."""
    daemon = supervision.daemon_pid()
    assert daemon is not None
    family = set(processes.with_descendants(daemon))
    state = str(settings.STATE_DIR)
    return [
        one.command for one in processes.everyone()
        if "-m ml" in one.command and state in one.command and one not in family
    ]  # fmt: skip


# --- the tests ----------------------------------------------------------------------------------------------------


@pytest.fixture
def storm(stack, on_the_stack) -> Iterator[Storm]:
    """A storm that leaves nothing standing still."""
    print(f"\nstorm: {KILLS} kills, seed {SEED} (STORM_SEED={SEED})")
    one = Storm(random.Random(SEED))
    yield one
    for timer in one.stopped:
        timer.join()
    wait_until_all_answer()


def wait_until_all_answer(seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not all(answers(name) for name in supervision.states()):
        assert time.monotonic() < deadline, f"not all back after {seconds} s: {supervision.states()}"
        time.sleep(0.5)


def not_closed(every: list[Campaign]) -> bool:
    """Whether a campaign still goes on. A stage that was killed too often is retried, as an engineer would."""
    try:
        for stage in Stage.objects.filter(round__campaign__in=every, status=Status.FAILED).select_related("round"):
            assert stage.attempt >= transitions.ATTEMPTS, f"{stage} failed: {stage.error}\n{stage.log_tail}"
            transitions.retry(stage, "an engineer")
            doorbell.ring_advance(stage.round.campaign_id)
        return Campaign.objects.filter(pk__in=[one.pk for one in every], closed_at=None).exists()
    except (OperationalError, InterfaceError):  # PostgreSQL restarts
        connection.close()
        return True


def test_a_storm_loses_nothing(storm, begin, stack):
    every = [begin(**CAMPAIGN) for _ in range(CAMPAIGNS)]
    while storm.done.total() < KILLS or not_closed(every):
        if storm.done.total() < KILLS:
            storm.strike_when_due()
            if not not_closed(every):
                every.append(begin(recipe_name=storm.rng.choice(RECIPES), **CAMPAIGN))
        storm.look_after()
        time.sleep(0.2)

    for campaign in every:
        assert report.all_stages_done(campaign)
        for stage in Stage.objects.filter(round__campaign=campaign):
            assert_done_once(stage)
        assert_no_label_is_lost(campaign)
    # Mended, because other tests of the session leave files here whose rows were only in their own database.
    checked = stack.manage("check_integrity", "--mend", check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert not orphans()
    print(storm.in_words())


def test_without_the_guard_of_updates_the_same_check_fails(on_the_stack, begin, monkeypatch):
    campaign = begin(scripted=False)
    campaigns.close(campaign, "the test")  # so that no worker takes its stage
    stage = Stage.objects.create(
        round=campaign.rounds.create(number=9, opened_because="test"), position=0, kind="prepare"
    )
    zombie = transitions.claim(stage.pk)
    assert transitions.lose_worker(zombie)
    transitions.finish(transitions.claim(stage.pk), lambda: None, {})

    with pytest.raises(transitions.StaleClaim):
        transitions.finish(zombie, lambda: None, {})
    assert_done_once(stage)

    monkeypatch.setattr(transitions, "_mine", lambda stage: Stage.objects.filter(pk=stage.pk))
    transitions.finish(zombie, lambda: None, {})
    with pytest.raises(AssertionError, match="finished more than once"):
        assert_done_once(stage)
