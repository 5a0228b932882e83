"""Prepares Label Studio, run by Label Studio's own Python: migrations, administrator, organisation, API token.

Every step may run again on a prepared database. The administrator's password is set only when the account is made:
later it is the administrator's own. The token is ours: it is set each time.
"""

import os
from typing import Any

import django


def main() -> None:
    django.setup()
    from django.core.management import call_command

    call_command("migrate", interactive=False, verbosity=0)
    user = administrator(os.environ["BOOTSTRAP_EMAIL"], os.environ["BOOTSTRAP_PASSWORD"])
    join_organization(user)
    set_token(user, os.environ["BOOTSTRAP_TOKEN"])


def administrator(email: str, password: str) -> Any:
    from users.models import User

    user = User.objects.filter(email__iexact=email).first()
    return user or User.objects.create_superuser(email=email, username=email, password=password)


def join_organization(user: Any) -> None:
    from organizations.models import Organization

    organization = Organization.objects.order_by("pk").first()
    if organization is None:
        organization = Organization.create_organization(created_by=user, title="Burnish")
    organization.add_user(user)
    user.active_organization = organization
    user.save(update_fields=["active_organization"])
    organization.jwt.legacy_api_tokens_enabled = True
    organization.jwt.save()


def set_token(user: Any, token: str) -> None:
    from rest_framework.authtoken.models import Token

    if not Token.objects.filter(user=user, key=token).exists():
        # The key is the primary key: a changed one is another row.
        Token.objects.filter(user=user).delete()
        Token.objects.create(user=user, key=token)


if __name__ == "__main__":
    main()
