"""Logins that work in both systems, and the account of each scripted annotator."""

import hashlib
import hmac
import secrets

from django.conf import settings
from django.contrib.auth.models import Group, User
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction
from django.db.models import F

from annotation.client import LabelStudio, LabelStudioError
from labelling import studio
from labelling.models import Annotator, LabellingProject
from rounds.models import Campaign

GROUP = "annotator"


class NoLogin(ValueError):
    """A login that cannot be made; the message says what was expected, what came and what to do."""


def generated_password() -> str:
    """A new password, 16 characters."""
    return secrets.token_urlsafe(12)


def add_annotator(email: str, password: str) -> Annotator:
    """The annotator with this address, able to log in to both systems with this password. Twice is harmless.

    Raises:
        NoLogin: The address or the password is refused, or is taken in one of the systems with another password.
        LabelStudioError: Label Studio cannot be reached.
    """
    email = email.strip().lower()
    _check(email, password)
    user = User.objects.filter(username=email).first()
    if user and not user.check_password(password):
        raise NoLogin(f"{email} has a login in Burnish with another password. Give that password, or change it first.")
    if user and not user.is_active:
        raise NoLogin(f"{email} was removed. Let them in again: in the admin, under Annotators.")
    remote_id = _remote_account(email, password)
    with transaction.atomic():
        user = user or User.objects.create_user(email, email, password)
        user.groups.add(Group.objects.get_or_create(name=GROUP)[0])
        annotator, new = Annotator.objects.get_or_create(user=user, defaults={"remote_id": remote_id})
        if new:  # answers that came from an unknown person can be read now
            unread = LabellingProject.objects.filter(tasks__annotations__problem__gt="")
            LabellingProject.objects.filter(pk__in=unread.values("pk")).update(reconciled_to=None)
    return annotator


def settle_access() -> None:
    """Let exactly those into Label Studio who are active users here. Shut out, a person's tasks are free for others.

    Raises:
        LabelStudioError: Label Studio cannot be reached; the minute's round tries again.
    """
    differing = Annotator.objects.exclude(let_in=F("user__is_active")).select_related("user")
    if not differing:
        return
    with studio.client() as remote:
        for one in differing:
            remote.set_access(one.remote_id, active=one.user.is_active)
            Annotator.objects.filter(pk=one.pk).update(let_in=one.user.is_active)


def know_administrator(remote: LabelStudio) -> None:
    """Let answers of the administrator count: one person with one address, made in both systems by the first start."""
    owner = remote.current_user()
    user = User.objects.filter(username__iexact=owner.email).first()
    if user is not None:
        Annotator.objects.get_or_create(user=user, defaults={"remote_id": owner.id})


def script_login(campaign: Campaign) -> tuple[str, str]:
    """E-mail and password of a campaign's script in Label Studio: derived, so that neither is stored anywhere."""
    # The time tells campaigns of two databases apart that share one Label Studio.
    name = f"script of campaign {campaign.pk} of {campaign.created_at.isoformat()}"
    digest = hmac.new(settings.SECRET_KEY.encode(), name.encode(), hashlib.sha256).hexdigest()
    return f"script-{campaign.pk}-{digest[:8]}@burnish.example", digest[8:48]


def script_account(campaign: Campaign) -> Annotator:
    """The account of a campaign's script: Label Studio's login, and a user of ours that nobody can log in as."""
    if campaign.script_user:
        return campaign.script_user.annotator
    email, password = script_login(campaign)
    remote_id = _remote_account(email, password)
    with transaction.atomic():
        user, _ = User.objects.get_or_create(username=email, defaults={"email": email})
        user.set_unusable_password()
        user.save()
        annotator, _ = Annotator.objects.get_or_create(user=user, defaults={"remote_id": remote_id})
        campaign.script_user = user
        campaign.save(update_fields=["script_user"])
    return annotator


def _check(email: str, password: str) -> None:
    try:
        validate_email(email)
        validate_password(password, User(username=email, email=email))
    except ValidationError as error:
        raise NoLogin(" ".join(error.messages)) from error


def _remote_account(email: str, password: str) -> int:
    """Id of the Label Studio user with this login, signed up when missing. An account that exists has to open."""
    with studio.client() as remote:
        try:
            return remote.sign_up(email, password)
        except LabelStudioError as error:
            if error.status is None or error.status >= 500:
                raise
            raise NoLogin(f"No login for {email} in Label Studio: {error}") from error
