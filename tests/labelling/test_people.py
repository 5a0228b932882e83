import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db.models import ProtectedError

from annotation.client import LabelStudioError
from labelling import people, tasks
from labelling.models import Annotator

pytestmark = pytest.mark.django_db
PASSWORD = "a long enough secret"


def test_an_annotator_has_a_login_and_is_known_by_the_number_in_label_studio(remote):
    annotator = people.add_annotator("Bert@Example.org ", PASSWORD)

    user = User.objects.get(username="bert@example.org")
    assert user.check_password(PASSWORD)
    assert [group.name for group in user.groups.all()] == ["annotator"]
    assert not user.is_staff
    assert annotator == Annotator.objects.get(user=user, remote_id=remote.sign_up("bert@example.org", PASSWORD))


def test_adding_the_same_person_twice_is_harmless(remote):
    assert people.add_annotator("bert@example.org", PASSWORD) == people.add_annotator("bert@example.org", PASSWORD)


def test_a_password_is_never_changed_behind_a_persons_back(remote):
    people.add_annotator("bert@example.org", PASSWORD)

    with pytest.raises(people.NoLogin, match="another password"):
        people.add_annotator("bert@example.org", "quite another secret")

    assert User.objects.get().check_password(PASSWORD)


@pytest.mark.parametrize(("email", "password"), [("bert", PASSWORD), ("bert@example.org", "password")])
def test_what_one_system_would_refuse_reaches_neither(remote, email, password):
    with pytest.raises(people.NoLogin):
        people.add_annotator(email, password)

    assert remote.calls == []
    assert not User.objects.exists()


def test_a_refusal_of_label_studio_leaves_no_half_login(remote, monkeypatch):
    def refuse(*_: str) -> int:
        raise LabelStudioError("Label Studio did not accept the form to log in as bert.", status=403)

    monkeypatch.setattr(remote, "sign_up", refuse)

    with pytest.raises(people.NoLogin, match="did not accept the form"):
        people.add_annotator("bert@example.org", PASSWORD)

    assert not User.objects.exists()


def test_the_command_prints_the_password_it_made(remote, capsys):
    call_command("add_annotator", "bert@example.org")

    password = capsys.readouterr().out.split("Password: ")[1].strip()
    assert User.objects.get().check_password(password)


def test_the_command_says_why_not(remote):
    remote.down = True

    with pytest.raises(CommandError, match="could not be reached"):
        call_command("add_annotator", "bert@example.org", "--password", PASSWORD)


def test_the_admin_form_makes_a_login(remote, admin_client):
    values = {"email": "bert@example.org", "password": PASSWORD}

    response = admin_client.post("/admin/labelling/annotator/add/", values)

    assert response.status_code == 302
    assert Annotator.objects.get().user.username == "bert@example.org"


def test_the_admin_form_shows_why_not(remote, admin_client):
    remote.down = True

    response = admin_client.post(
        "/admin/labelling/annotator/add/", {"email": "bert@example.org", "password": PASSWORD}
    )  # fmt: skip

    assert "could not be reached" in response.content.decode()
    assert not Annotator.objects.exists()


def test_the_administrators_own_answers_count(campaign, ask, remote):
    admin = User.objects.create_superuser("admin@burnish.example", "admin@burnish.example", PASSWORD)
    ask(campaign, 1)

    from labelling import outbox

    outbox.push(campaign)

    assert admin.annotator.remote_id == 1


def test_a_scripts_login_is_derived_and_its_user_cannot_log_in(campaign, remote):
    campaign.scripted = True
    email, password = people.script_login(campaign)

    annotator = people.script_account(campaign)

    assert people.script_login(campaign) == (email, password)
    assert annotator.user.username == email
    assert not annotator.user.has_usable_password()
    campaign.refresh_from_db()
    assert campaign.script_user == annotator.user


def test_who_is_removed_is_shut_out_of_both_systems_and_let_in_again(remote, admin_client):
    annotator = people.add_annotator("bert@example.org", PASSWORD)

    for action, active in (("remove", False), ("let_in_again", True)):
        admin_client.post("/admin/labelling/annotator/", {"action": action, "_selected_action": [annotator.pk]})

        annotator.refresh_from_db()
        assert (annotator.let_in, User.objects.get(annotator=annotator).is_active) == (active, active)
        assert remote.calls[-1] == f"let {annotator.remote_id} in: {active}"


def test_who_is_made_inactive_by_other_means_is_shut_out_within_a_minute_even_if_label_studio_was_down(remote, db):
    annotator = people.add_annotator("bert@example.org", PASSWORD)
    User.objects.update(is_active=False)
    remote.down = True
    tasks.reconcile_all()
    annotator.refresh_from_db()
    assert annotator.let_in

    remote.down = False
    tasks.reconcile_all()

    annotator.refresh_from_db()
    assert not annotator.let_in
    assert remote.calls == ["sign up", f"let {annotator.remote_id} in: False"]


def test_a_login_is_never_deleted_and_so_never_forgotten_in_label_studio(remote):
    annotator = people.add_annotator("bert@example.org", PASSWORD)

    with pytest.raises(ProtectedError):
        annotator.user.delete()


def test_who_was_removed_is_not_added_again_but_let_in_again(remote):
    people.add_annotator("bert@example.org", PASSWORD)
    User.objects.update(is_active=False)

    with pytest.raises(people.NoLogin, match="was removed"):
        people.add_annotator("bert@example.org", PASSWORD)
