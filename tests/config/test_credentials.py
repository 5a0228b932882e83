from config import credentials
from config.environment import read_env_file


def test_secrets_are_made_once_and_kept(tmp_path):
    assert credentials.write_missing(tmp_path, {})
    first = read_env_file(tmp_path / "secrets.env")

    assert not credentials.write_missing(tmp_path, {})
    assert read_env_file(tmp_path / "secrets.env") == first
    assert set(first) == set(credentials.GENERATED)


def test_nobody_else_reads_them(tmp_path):
    credentials.write_missing(tmp_path, {})

    assert (tmp_path / "secrets.env").stat().st_mode & 0o777 == 0o600


def test_what_the_installation_gives_is_not_generated(tmp_path):
    credentials.write_missing(tmp_path, {"BURNISH_ADMIN_PASSWORD": "chosen by hand"})

    assert "BURNISH_ADMIN_PASSWORD" not in read_env_file(tmp_path / "secrets.env")


def test_one_that_went_missing_is_made_again_beside_the_others(tmp_path):
    credentials.write_missing(tmp_path, {})
    path = tmp_path / "secrets.env"
    kept = [line for line in path.read_text().splitlines() if "WEBHOOK" not in line]
    path.write_text("\n".join(kept))

    assert credentials.write_missing(tmp_path, {})
    assert set(kept) < set(path.read_text().splitlines())
