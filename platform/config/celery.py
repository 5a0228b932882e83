"""The Celery application. Tasks carry an id and nothing else; losing every message costs a minute, never a result."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

app = Celery("burnish")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
app.conf.task_routes = {"rounds.tasks.run_training_stage": {"queue": "gpu"}}
app.conf.beat_schedule = {
    "sweep": {"task": "rounds.tasks.sweep", "schedule": 60.0, "options": {"expires": 60}},
    "reconcile": {"task": "labelling.tasks.reconcile_all", "schedule": 60.0, "options": {"expires": 60}},
}
