"""The whole of Burnish in small: generated surfaces, tiny trainings, the real services and a real browser."""

import time
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, sync_playwright

from catalog.models import Project
from ml.synthetic import generate
from rounds import campaigns
from rounds.models import Campaign, Stage, Status

# Debian's browser, without the traffic a browser makes of its own accord.
CHROMIUM = "/usr/bin/chromium"
QUIET = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync")  # fmt: skip
TINY = {"network": {"name": "half_unet", "channels": 1, "width": 8}, "crop": 64, "steps": 24, "learning_rate": 0.003,
        "optimiser": "adamw"}  # fmt: skip


@pytest.fixture(scope="session")
def surfaces(tmp_path_factory):
    """Forty-eight generated surfaces of 64 pixels."""
    folder = tmp_path_factory.mktemp("surfaces")
    generate(folder, images=48, size=64, seed=1)
    return folder


@pytest.fixture
def project(stack, on_the_stack, surfaces) -> Project:
    """The surfaces, imported by the command a user would type; truth known, as in a benchmark."""
    stack.manage("import_images", "Surfaces", str(surfaces), "--benchmark")
    return Project.objects.get(name="Surfaces")


@pytest.fixture
def begin(project) -> Iterator[Callable[..., Campaign]]:
    """Create a campaign on the surfaces, or on another `project`.

    What is still open at the end is closed, so that nothing goes on computing.
    """
    made: list[Campaign] = []

    def create(**settings) -> Campaign:
        settings = {
            "recipe_name": "ppl", "overrides": TINY, "select": {"may_be_background": True}, "first_batch": 6, "batch": 4,
            "max_rounds": 2, **settings,
        }  # fmt: skip
        settings.setdefault("budget", settings["first_batch"] + settings["batch"])
        made.append(
            campaigns.create_campaign(settings.pop("project", project), name=f"campaign {time.time_ns()}", **settings)
        )
        return made[-1]

    yield create
    for campaign in made:
        campaigns.close(campaign, "the test")


@pytest.fixture
def page(monkeypatch) -> Iterator[Page]:
    """A laptop's window in a browser of its own."""
    # Playwright keeps an event loop in this thread; nothing awaits here, so rows can be read all the same.
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        page = browser.new_page(viewport={"width": 1280, "height": 860})
        page.set_default_timeout(120_000)  # a busy machine
        yield page
        browser.close()


@pytest.fixture
def wait_for() -> Callable[..., None]:
    """Return once `what()` is true; fail with `why` after so many seconds."""

    def wait(what: Callable[[], object], *, why: str, seconds: float = 240) -> None:
        deadline = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < deadline, f"still waiting after {seconds} s for {why}"
            time.sleep(0.3)

    return wait


@pytest.fixture
def finish(wait_for) -> Callable[[Campaign], None]:
    """Wait until the campaign came to its end; a failed stage ends the wait at once, with its reason."""

    def closed(campaign: Campaign) -> bool:
        failed = Stage.objects.filter(round__campaign=campaign, status=Status.FAILED).first()
        assert failed is None, f"{failed} failed: {failed.error}\n{failed.log_tail}"
        campaign.refresh_from_db()
        return campaign.closed_at is not None

    return lambda campaign: wait_for(lambda: closed(campaign), why="the end of the campaign", seconds=600)
