"""Who may do what, as groups that are always there. Leads and engineers need "staff status" too: the door to the admin.

annotator       labels; sees the pages
lead            beside that sees every row in the admin and adds annotators
engineer        beside that makes projects and campaigns, imports, and steers rounds and models
administrator   a superuser: users, groups and everything else
"""

from typing import Any

from django.apps import apps
from django.contrib.auth.management import create_permissions
from django.contrib.auth.models import Group, Permission
from django.db.models import Q

APPS = ("catalog", "rounds", "labelling")
_LEAD = {"add_annotator"}
_ENGINEER = _LEAD | {
    "add_project", "change_project", "add_defectclass", "change_defectclass", "delete_defectclass", "add_import",
    "change_import", "add_campaign", "change_campaign",
}  # fmt: skip
ROLES: dict[str, set[str]] = {"annotator": set(), "lead": _LEAD, "engineer": _ENGINEER}


def make_groups(**_: Any) -> None:
    """Make the groups and give them just these permissions; run after every migration."""
    for name in APPS:
        create_permissions(apps.get_app_config(name), verbosity=0)
    seen = Q(codename__startswith="view_")
    for role, names in ROLES.items():
        group, _new = Group.objects.get_or_create(name=role)
        wanted = Q(codename__in=names) | seen if names else Q(pk=None)
        group.permissions.set(Permission.objects.filter(wanted, content_type__app_label__in=APPS))
