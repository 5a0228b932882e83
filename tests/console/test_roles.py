"""Every address of the web server against every role. What is missing in the table below fails."""

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

pytestmark = pytest.mark.django_db

ROLES = ("nobody", "annotator", "lead", "engineer", "administrator")
PUBLIC = {"health", "login", "admin:login"}
# Logging out is for everyone; the others refuse or lead away before they ask who it is, because nothing was asked for.
NEUTRAL = {"admin:logout", "admin:autocomplete", "admin:auth_user_history", "admin:auth_group_history"}
HOOK = "label-studio-hook"  # asks for its secret header, of which these requests know nothing
TRUTH = {"truth-overlay", "truth-mask"}  # an annotator who could look answers up would measure memory
STEERING = {"start-round", "cancel-round", "retry-round", "promote-model", "roll-back-model", "cancel-import"}
ENGINEERS = {"engineer", "administrator"}
# Who may change what in the admin; what is not here nobody may change there.
CHANGERS = {
    "password_change": {"lead", *ENGINEERS},
    "labelling_annotator_add": {"lead", *ENGINEERS},
    "catalog_project_add": ENGINEERS,
    "catalog_project_change": ENGINEERS,
    "catalog_project_import_images": ENGINEERS,
    "rounds_campaign_add": ENGINEERS,
    "rounds_campaign_change": ENGINEERS,
} | {
    f"auth_{model}_{what}": {"administrator"}
    for model in ("user", "group") for what in ("add", "change", "delete", "password_change")
}  # fmt: skip


def walk(patterns, prefix="/", space="") -> Iterator[tuple[str, str]]:
    """(name, address) of every route, with 1 in the place of every argument."""
    for one in patterns:
        text = prefix + str(one.pattern).removeprefix("^").removesuffix("$")
        if isinstance(one, URLResolver):
            yield from walk(one.url_patterns, text, f"{one.namespace}:" if one.namespace else space)
        elif isinstance(one, URLPattern):
            yield space + (one.name or one.lookup_str), text


ADDRESSES = sorted(set(walk(get_resolver().url_patterns)))


def filled(address: str) -> str:
    for argument in ("<int:pk>", "<int:prediction>", "<int:label>", "<path:object_id>", "<id>", "<int:content_type_id>",
                     "<path:content_type_id>", "<int:project>"):  # fmt: skip
        address = address.replace(argument, "1")
    return address


@pytest.fixture
def as_role(db):
    """Somebody of a role, who logs in again for every request: some of them log out."""

    def make(role: str):
        client = Client(raise_request_exception=False)
        if role == "nobody":
            return client.generic
        user = User.objects.create_user(role, is_superuser=role == "administrator", is_staff=role != "annotator")
        if role != "administrator":
            user.groups.add(Group.objects.get(name=role))

        def ask(method: str, address: str):
            client.force_login(user)
            return client.generic(method, address)

        return ask

    return make


def is_refused(answer) -> bool:
    return answer.status_code == 403 or (answer.status_code == 302 and "/login/?next=" in answer["Location"])


def may(role: str, name: str, *, post: bool) -> bool:
    """The rule, in words of its own."""
    if name in PUBLIC or name == HOOK:
        return name != HOOK or not post
    if role == "nobody":
        return False
    if name in TRUTH:
        return role != "annotator"
    if not name.startswith("admin:"):
        return name not in STEERING or role in ENGINEERS or not post  # following a link does nothing, for anybody
    return role != "annotator" and may_in_admin(role, name, post=post)


def may_in_admin(role: str, name: str, *, post: bool) -> bool:
    place = name.removeprefix("admin:")
    if place in CHANGERS or place.endswith(("_add", "_delete")) or (place.endswith("_change") and post):
        return role in CHANGERS.get(place, set()) or (place.endswith("_change") and not post and "auth_" not in place)
    return role == "administrator" or not place.startswith("auth_")


def test_every_route_is_seen():
    names = {name for name, _ in ADDRESSES}
    assert len(ADDRESSES) > 100
    assert names > PUBLIC | STEERING | {f"admin:{place}" for place in CHANGERS if "group_password" not in place}


@pytest.mark.parametrize("role", ROLES)
def test_every_address_lets_in_just_who_may(as_role, role):
    ask = as_role(role)
    wrong = [
        f"{role} {'POST' if post else 'GET'} {address}"
        for name, address in ADDRESSES if name not in NEUTRAL for post in (False, True)
        if is_refused(ask("POST" if post else "GET", filled(address))) == may(role, name, post=post)
    ]  # fmt: skip
    assert not wrong, "\n".join(wrong)
