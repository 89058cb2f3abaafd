"""Where settings come from, what is refused, and what `tasks-server settings` shows."""

import os
from pathlib import Path

import pytest

from tasks_server import wiring
from tasks_server.domain.errors import SettingsError
from tasks_server.settings import resolve
from tasks_server.settings.layers import secret_variables
from tasks_server.settings.table import PLANNED, Settings
from tests.cli.conftest import Cli

Env = pytest.MonkeyPatch


def fault_of(flags: dict[str, object] | None = None, config: Path | None = None) -> str:
    with pytest.raises(SettingsError) as caught:
        resolve(flags, config)
    return caught.value.message


def test_without_anything_set_all_are_defaults(monkeypatch: Env) -> None:
    monkeypatch.delenv("TASKS_SERVER_DATA_DIR")
    resolved = resolve()
    assert resolved.settings == Settings()
    assert set(resolved.origins.values()) == {"default"}
    assert (resolved.settings.host, resolved.settings.port) == ("127.0.0.1", 9_420)


def test_each_layer_overrules_the_one_below(monkeypatch: Env, tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("port = 1\nhost = '::1'\nswagger_ui = false\n")
    assert resolve({}, file).settings.port == 1
    monkeypatch.setenv("PORT", "2")
    assert resolve({}, file).settings.port == 2
    monkeypatch.setenv("TASKS_SERVER_PORT", "3")
    assert resolve({}, file).settings.port == 3
    resolved = resolve({"port": 4, "host": None}, file)
    assert resolved.settings.port == 4
    assert resolved.settings.host == "::1"
    assert resolved.origins["port"] == "--port"
    assert resolved.origins["host"] == str(file)
    assert resolved.origins["log_level"] == "default"


def test_the_file_may_be_named_by_the_environment(monkeypatch: Env, tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("port = 77\n")
    monkeypatch.setenv("TASKS_SERVER_CONFIG", str(file))
    assert resolve().settings.port == 77


def test_a_byte_order_mark_says_nothing(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("port = 77\n", encoding="utf-8-sig")
    assert resolve({}, file).settings.port == 77


def test_an_empty_variable_is_not_set(monkeypatch: Env) -> None:
    monkeypatch.setenv("PORT", "")
    monkeypatch.setenv("BACKUP_METHOD_SQLITE", "")
    assert resolve().settings.port == 9_420


def test_short_names_are_only_those_documented(monkeypatch: Env) -> None:
    monkeypatch.setenv("ROLE", "nonsense of another program")
    assert resolve().settings.role == "all"


def test_all_faults_are_told_at_once_with_their_origin(monkeypatch: Env, tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("retention_days = -1\nretenton_days = 3\n")
    monkeypatch.setenv("PORT", "65536")
    monkeypatch.setenv("TASKS_SERVER_PROT", "1")
    monkeypatch.setenv("LOG_LEVEL", "loud")
    monkeypatch.setenv("TZ", "Mars/Olympus")
    message = fault_of({"api_workers": 0}, file)
    assert message.startswith("7 settings are wrong:\n")
    assert "TASKS_SERVER_PROT: there is no such setting; did you mean TASKS_SERVER_PORT?" in message
    assert f"retenton_days in {file}: there is no such setting; did you mean retention_days?" in message
    assert "PORT: input should be less than or equal to 65535; given: '65536'" in message
    assert "--api-workers: input should be greater than or equal to 1; given: 0" in message
    assert "LOG_LEVEL: input should be 'debug', 'info', 'warning' or 'error'; given: 'loud'" in message
    assert f"retention_days in {file}" in message
    assert "TZ: must be a name of the IANA time zone database" in message


def test_words_are_taken_in_any_case(monkeypatch: Env) -> None:
    monkeypatch.setenv("LOG_LEVEL", "WARN")
    monkeypatch.setenv("TZ", ":Europe/Berlin")
    settings = resolve().settings
    assert (settings.log_level, settings.tz) == ("warning", "Europe/Berlin")


@pytest.mark.parametrize("url", ["postgres://me:s3cret@db/x", "postgresql://me:s3cret@db:5432/x?sslmode=require"])
def test_the_url_of_a_database_is_a_secret(monkeypatch: Env, cli: Cli, url: str) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    settings = resolve().settings
    assert settings.database_url is not None
    assert settings.database_url.get_secret_value() == url
    for arguments in ((), ("--json",)):
        result = cli("settings", *arguments)
        assert "s3cret" not in result.out + result.err + repr(settings)
        assert "(hidden)" in result.out


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://me:s3cret@db/x", "must be postgresql://USER:PASSWORD@HOST:PORT/DATABASE, sqlite:///"),
        ("sqlite:///", "must be postgresql://USER:PASSWORD@HOST:PORT/DATABASE, sqlite:///"),
        ("postgresql://me:s3cret@more@db/x", "write @ as %40"),
        ("postgresql://me:s3cret/more@db/x", "write @ as %40"),
        ("postgresql://me:s3cret#more@db/x", "write @ as %40"),
        ("postgresql://me:s3cret?more@db/x", "a port of 1 to 65535"),
        ("postgresql://me:s3cret more@db/x", "write @ as %40"),
        ("postgresql://me:s3cret%more@db/x", "% as %25"),
        ("postgresql://me:s3cret:more@db/x", ": as %3A"),
        ("postgresql://me:s3cret@db:many/x", "a port of 1 to 65535"),
        ("postgresql://me:s3cret@db:65536/x", "a port of 1 to 65535"),
        ("postgresql://me:s3cret@db/x?sslmode", "must be name=value"),
    ],
)
def test_a_wrong_url_is_refused_without_showing_the_password(monkeypatch: Env, url: str, said: str) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    message = fault_of()
    assert said in message
    assert "s3cret" not in message
    assert "more" not in message


@pytest.mark.parametrize("name", ["ADMIN_KEY", "ADMIN_KEY_READ_ONLY"])
@pytest.mark.parametrize(
    "key",
    [
        "short",
        "with space in the middle",
        "with-ümlaut-in-the-middle",
        "one-that-is-long-enough,",
        "one-that-is-long-enough,short",
    ],
)
def test_an_admin_key_must_fit_a_header_and_is_never_shown(monkeypatch: Env, name: str, key: str) -> None:
    monkeypatch.setenv(name, key)
    message = fault_of()
    assert f"{name}: must be at least 16 visible ASCII characters" in message
    assert key not in message


def test_a_key_may_not_both_do_everything_and_only_look(monkeypatch: Env) -> None:
    monkeypatch.setenv("ADMIN_KEY", "one-that-is-long-enough, another-that-is-long-enough")
    monkeypatch.setenv("ADMIN_KEY_READ_ONLY", "another-that-is-long-enough")
    message = fault_of()
    assert "ADMIN_KEY_READ_ONLY: has a key that ADMIN_KEY has, too" in message
    assert "long-enough" not in message


def test_two_names_for_one_thing_are_refused(monkeypatch: Env) -> None:
    monkeypatch.setenv("DATABASE_URL", "sqlite:///a.sqlite")
    monkeypatch.setenv("PATH_SQLITE", "b.sqlite")
    monkeypatch.setenv("CIPHER_KEY", "0" * 64)
    monkeypatch.setenv("CIPHER_KEY_FILE", "key")
    monkeypatch.setenv("MAX_THROTTLE_REQUEST", "5")
    message = fault_of()
    assert message.startswith("3 settings are wrong:")
    assert "both name the database" in message
    assert "both give the key" in message
    assert "MAX_THROTTLE_REQUEST and MAX_THROTTLE_TIME_WINDOW: set both, or neither" in message


@pytest.mark.parametrize("name", [name for name, refused in PLANNED.items() if refused])
def test_protection_that_is_not_there_is_refused(monkeypatch: Env, name: str) -> None:
    monkeypatch.setenv(name, "x")
    assert f"{name}: has no effect in this version" in fault_of()


@pytest.mark.parametrize("name", [name for name, refused in PLANNED.items() if not refused])
def test_what_has_no_effect_is_told(monkeypatch: Env, name: str) -> None:
    monkeypatch.setenv(name, "x")
    assert resolve().warnings == [f"{name} is set, but has no effect in this version"]


@pytest.mark.parametrize("name", PLANNED)
def test_with_our_prefix_what_has_no_effect_is_refused(monkeypatch: Env, tmp_path: Path, name: str) -> None:
    monkeypatch.setenv(f"TASKS_SERVER_{name}", "x")
    file = tmp_path / "settings.toml"
    file.write_text(f"{name.lower()} = 1\n")
    message = fault_of({}, file)
    assert f"TASKS_SERVER_{name}: has no effect in this version" in message
    assert f"{name.lower()} in {file}: has no effect in this version" in message


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot read"),
        (b"port = ", "is no TOML"),
        (b"port = \xe9", "byte 7 is 0xe9"),
        ("port = 1".encode("utf-16"), "is text in UTF-16"),
        (b"\x1f\x8b\x08", "is compressed (gzip)"),
    ],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, content: bytes | None, said: str) -> None:
    file = tmp_path / "settings.toml"
    if content is not None:
        file.write_bytes(content)
    message = fault_of({}, file)
    assert message.startswith("one setting is wrong:\n  --config: ")
    assert said in message


def test_what_the_environment_sets_is_utf8(monkeypatch: Env) -> None:
    monkeypatch.setenv("TASKS_SERVER_HANDLERS", os.fsdecode(b"caf\xe9"))
    monkeypatch.setenv("TZ", os.fsdecode(b"\xe9"))
    assert "TASKS_SERVER_HANDLERS: is no text in UTF-8: byte 3 is 0xe9; send it in UTF-8\n" in fault_of({}) + "\n"
    assert "TZ: is no text in UTF-8: byte 0 is 0xe9; send it in UTF-8" in fault_of({})


# The command


def test_settings_shows_values_and_origins(cli: Cli, monkeypatch: Env, data_dir: Path) -> None:
    monkeypatch.setenv("PORT", "1234")
    result = cli("settings")
    assert result.code == 0
    rows = {line.split()[0]: line.split()[1:] for line in result.out.splitlines() if line.split()}
    assert rows["port"] == ["1234", "PORT"]
    assert rows["host"] == ["127.0.0.1", "default"]
    assert rows["path_sqlite"] == [str(data_dir / "tasks.sqlite"), "default"]
    assert "2 of" in result.out
    assert not data_dir.exists()


def test_variables_with_secrets_are_known_by_all_their_names(monkeypatch: Env) -> None:
    assert {"CIPHER_KEY", "ADMIN_KEY", "DATABASE_URL", "TASKS_SERVER_DATABASE_URL"} <= secret_variables()
    monkeypatch.setenv("TASKS_SERVER_DATABASE_URL", "postgresql://ours")
    assert "TASKS_SERVER_DATABASE_URL" in secret_variables()
    assert "DATABASE_URL" not in secret_variables(), "it is somebody else's then"


def test_settings_hides_secrets(cli: Cli, monkeypatch: Env) -> None:
    monkeypatch.setenv("ADMIN_KEY", "a-very-secret-admin-key")
    monkeypatch.setenv("CIPHER_KEY", "5" * 64)
    monkeypatch.setenv("WORKER_ID", "7")
    for arguments in ((), ("--json",)):
        result = cli("settings", *arguments)
        assert "very-secret" not in result.out + result.err
        assert "55555" not in result.out + result.err
        assert "(hidden)" in result.out
    assert "WORKER_ID is set, but has no effect" in cli("settings").err


def test_settings_as_json(cli: Cli) -> None:
    shown = cli("settings", "--json").json()
    assert isinstance(shown, dict)
    assert set(shown) == set(Settings.model_fields)
    assert shown["swagger_ui"] == {"value": True, "from": "default"}


def test_wrong_settings_end_a_command_with_status_2(cli: Cli, monkeypatch: Env) -> None:
    monkeypatch.setenv("PORT", "many")
    result = cli("owner", "list")
    assert result.code == 2
    assert result.err.startswith("tasks-server: one setting is wrong:\n  PORT: ")
    assert "Traceback" not in result.err


def test_what_the_engine_can_do_reaches_every_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert wiring.abilities_plan(resolve().settings).build().paths is False
    (tmp_path / "ca.pem").write_text("x")
    monkeypatch.setenv("CERTIFICATES_DIR", str(tmp_path))
    monkeypatch.setattr("tasks_server.engine.http.abilities.lacking", lambda: frozenset({"HTTP/3"}))
    abilities = wiring.abilities_plan(resolve().settings).build()
    assert abilities.lacking == {"HTTP/3"}
    assert abilities.paths is True
    assert abilities.path_fault is not None
    assert abilities.path_fault("ca.pem") is None
    assert abilities.path_fault("gone.pem") is not None


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("ADMIN_KEYS", "ADMIN_KEY"),
        ("DATABSE_URL", "DATABASE_URL"),
        ("worker_max_concurrent_task", "WORKER_MAX_CONCURRENT_TASKS"),
    ],
)
def test_a_misspelt_short_name_is_told(monkeypatch: Env, variable: str, meant: str) -> None:
    monkeypatch.setenv(variable, "1")
    assert f"{variable} is set, and no setting; did you mean {meant}?" in resolve().warnings


@pytest.mark.parametrize("variable", ["HOSTNAME", "POST", "PORTS", "DATABASE", "PATH", "SQLITE_PATH", "TZDIR"])
def test_what_belongs_to_other_programs_is_not(monkeypatch: Env, variable: str) -> None:
    monkeypatch.setenv(variable, "1")
    assert not any(variable in warning for warning in resolve().warnings)


def test_a_file_with_secrets_that_others_can_read_is_told(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text(f'admin_key = "{"k" * 40}"\nport = 9\n')
    for mode, what in ((0o644, "read"), (0o622, "change")):
        path.chmod(mode)
        (told,) = resolve(None, path).warnings
        assert f"{path} holds admin_key and has mode {mode:04o}, so that others can {what} it; `chmod 600" in told
        assert "kkk" not in told
        assert path.stat().st_mode & 0o777 == mode
    path.chmod(0o600)
    assert resolve(None, path).warnings == []
    path.write_text("port = 9\n")
    path.chmod(0o644)
    assert resolve(None, path).warnings == []
