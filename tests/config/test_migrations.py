from django.core.management import call_command


def test_no_model_is_ahead_of_its_migrations(db, capsys):
    call_command("makemigrations", check=True, dry_run=True)

    assert capsys.readouterr().out.strip() == "No changes detected"
