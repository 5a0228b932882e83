"""What an engineer and an annotator do, in a real browser."""

import io
import re

import numpy as np
import pytest
from django.conf import settings
from PIL import Image as Picture
from playwright.sync_api import Page, expect

from annotation.browser import Browser
from catalog.models import Label
from config import celery_app
from labelling import people, script, studio
from labelling.models import LabellingProject, Task
from labelling.shards import predicted_masks
from rounds.models import Acquisition, Stage, Status

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(900)]
PASSWORD = "burnish-this-surface"
NEVER = "0 0 29 2 *"  # a clock that does not strike during the test: the next round waits for a click


@pytest.fixture
def annotator(on_the_stack):
    return people.add_annotator("ida@example.org", PASSWORD)


def log_in(page: Page, stack) -> None:
    page.goto(f"{stack.url}/admin/")
    page.fill("input[name=username]", settings.ADMIN_EMAIL)
    page.fill("input[name=password]", settings.ADMIN_PASSWORD)
    page.click("button[type=submit], input[type=submit]")


def test_an_engineer_starts_a_round_in_the_admin_and_watches_it_finish(stack, begin, finish, wait_for, page):
    campaign = begin(scripted=True, recipe_name="supervised", clock=NEVER, max_rounds=1, overrides=STEADY)
    answered = Stage.objects.filter(round__campaign=campaign, kind="annotate", status=Status.DONE)
    wait_for(answered.exists, why="the answers of round 0")

    log_in(page, stack)
    page.goto(f"{stack.url}/admin/rounds/campaign/")
    page.locator(f"input.action-select[value='{campaign.pk}']").check()
    page.locator("select[name=action]").select_option("start_round")
    page.locator("button[name=index], button[title*='Run']").first.click()
    wait_for(lambda: campaign.rounds.filter(number=1).exists(), why="round 1")
    page.goto(f"{stack.url}/rounds/{campaign.rounds.get(number=1).pk}/")
    bar = page.locator("li[data-kind=train] [role=progressbar]")
    expect(bar).to_be_visible(timeout=120_000)
    first = int(bar.get_attribute("aria-valuenow") or 0)
    page.wait_for_function(
        "first => { const bar = document.querySelector('li[data-kind=train] [role=progressbar]');"
        " return !bar || Number(bar.getAttribute('aria-valuenow')) > first }",
        arg=first,
        timeout=120_000,
    )

    for kind in ("train", "evaluate"):
        expect(page.locator(f"li[data-kind={kind}]")).to_have_attribute("data-status", "done", timeout=120_000)
    finish(campaign)


def test_an_annotator_corrects_a_pre_drawn_mask_and_the_label_comes_home(
    stack, begin, wait_for, annotator, page
):  # fmt: skip
    campaign = begin(scripted=False, recipe_name="supervised", first_batch=8, batch=2, overrides=STEADY)
    answer_round_zero(campaign, wait_for)
    asked = Acquisition.objects.filter(campaign=campaign, stage__round__number=1).order_by("rank")
    wait_for(lambda: Task.objects.filter(acquisition__in=asked).count() == 2, why="round 1's questions", seconds=240)
    remote = LabellingProject.objects.get(campaign=campaign).remote_id

    # The first one comes home by the webhook.
    page.goto(f"{stack.public_label_studio_url}/user/login/")
    page.fill("input[name=email]", annotator.user.username)
    page.fill("input[name=password]", PASSWORD)
    page.click("button[type=submit]")
    page.wait_for_load_state()
    page.goto(f"{stack.public_label_studio_url}/projects/{remote}/data?labeling=1")
    assert any(sum(one.prediction.class_pixels[1:]) for one in asked), "a model that predicts no defect proves nothing"
    assert_the_mask_is_drawn(page, asked[0])
    submit(page)
    wait_for(lambda: Label.objects.filter(image=asked[0].image, annotator=annotator.user).exists(), why="the webhook")

    # The second one with the webhook cut off: the poll that beat rings every minute finds it.
    with studio.client() as client:
        client.ensure_webhook(remote, url="http://127.0.0.1:9/", secret="nobody listens there")
    page.reload()
    assert_the_mask_is_drawn(page, asked[1])
    submit(page)
    celery_app.send_task("labelling.tasks.reconcile_all")
    wait_for(lambda: Label.objects.filter(image=asked[1].image, annotator=annotator.user).exists(), why="the poll")
    label = Label.objects.get(image=asked[1].image, annotator=annotator.user)
    assert label.seconds
    assert label.seconds > 0
    assert set(label.origins) <= {"prediction", "prediction-changed", "manual"}


STEADY = {
    "network": {"name": "half_unet", "channels": 1, "width": 8}, "crop": 64, "steps": 150, "batch": 16,
    "optimiser": "adamw", "learning_rate": 0.005,
}  # fmt: skip


def answer_round_zero(campaign, wait_for) -> None:
    """As a second annotator's browser would, from the known truth: round 0 only stands in the way here."""
    tasks = Task.objects.filter(project__campaign=campaign)
    wait_for(lambda: tasks.count() == campaign.first_batch, why="round 0's questions")
    bert = people.add_annotator("otto@example.org", PASSWORD)
    remote = LabellingProject.objects.get(campaign=campaign).remote_id
    with Browser(settings.LABEL_STUDIO_PUBLIC_URL, bert.user.username, PASSWORD) as browser:
        while task := browser.next_task(remote):
            script._answer_one(browser, task, campaign, campaign.project.class_names())


def assert_the_mask_is_drawn(page: Page, acquisition: Acquisition) -> None:
    """The coloured pixels on the canvas lie where the predicted mask has defects: the surface itself is grey."""
    surface = page.locator(".lsf-image > canvas")  # exactly over the image
    surface.wait_for()
    if page.get_by_label("Close modal").is_visible():  # the instructions, at a person's first task
        page.get_by_label("Close modal").click()
    page.wait_for_timeout(2500)  # image and regions are drawn one after the other
    shot = Picture.open(io.BytesIO(page.screenshot(clip=surface.bounding_box()))).convert("RGB")
    shown = np.asarray(shot.resize((acquisition.image.width, acquisition.image.height)), dtype=int)
    coloured = shown.max(axis=2) - shown.min(axis=2) > 30
    with predicted_masks() as mask_of:
        predicted = mask_of(acquisition.prediction) > 0
    if predicted.any():
        assert iou(coloured, predicted) > 0.6
    else:
        assert not coloured.any()


def iou(one, other) -> float:
    return (one & other).sum() / (one | other).sum()


def submit(page: Page) -> None:
    with page.expect_response(re.compile(r"/api/tasks/\d+/annotations")) as answer:
        page.get_by_role("button", name="Submit", exact=False).first.click()
    assert answer.value.status == 201


def test_images_are_looked_through_by_keyboard(stack, project, page):
    page.goto(f"{stack.url}/projects/{project.pk}/images/")
    page.fill("input[name=username]", settings.ADMIN_EMAIL)
    page.fill("input[name=password]", settings.ADMIN_PASSWORD)
    page.click("#log-in")
    names = page.locator(".tile .name")
    expect(names).to_have_count(48)
    columns = page.evaluate("columns()")

    for key in ("ArrowRight", "ArrowRight", "ArrowDown", "ArrowLeft", "Enter"):
        page.keyboard.press(key)
    expect(page.locator("dialog h2")).to_have_text(names.nth(columns).inner_text())
    layer = page.locator("dialog .layer").first
    expect(layer).to_be_visible()
    page.keyboard.press("m")
    expect(layer).to_be_hidden()
    page.keyboard.press("ArrowRight")
    expect(page.locator("dialog h2")).to_have_text(names.nth(columns + 1).inner_text())
    page.keyboard.press("Escape")

    expect(page.locator("dialog")).to_be_hidden()
    masked = page.locator(".tile img").first.get_attribute("src")
    page.keyboard.press("m")
    expect(page.locator(".tile img").first).not_to_have_attribute("src", masked or "")
    expect(page.locator(".tile > a:focus .name")).to_have_text(names.nth(columns + 1).inner_text())
