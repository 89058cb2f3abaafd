"""The marker in the data folder, and the settings that servers and commands find by themselves."""

from pathlib import Path

import pytest

from tasks_server.domain.errors import SettingsError
from tasks_server.settings import Resolved, layers, marker, resolve
from tasks_server.settings.places import Places, places

from .conftest import Cli

URL = "postgresql://me:secret-word@db.test:5432/tasks?sslmode=require"


def at(monkeypatch: pytest.MonkeyPatch, url: str | None) -> tuple[Resolved, Places]:
    """The settings of a shell with this DATABASE_URL."""
    if url is None:
        monkeypatch.delenv("DATABASE_URL", raising=False)
    else:
        monkeypatch.setenv("DATABASE_URL", url)
    resolved = resolve()
    return resolved, places(resolved.settings)


def test_it_holds_no_secret_and_others_may_read_it(monkeypatch: pytest.MonkeyPatch, data_dir: Path) -> None:
    assert marker.leave(at(monkeypatch, URL)[1]) is None
    left = data_dir / marker.NAME
    assert left.read_text() == '{"database":"postgresql://db.test:5432/tasks"}\n'
    assert left.stat().st_mode & 0o777 == 0o644
    assert [path.name for path in data_dir.iterdir()] == [marker.NAME]


@pytest.mark.parametrize(
    ("url", "same"),
    [
        (URL, True),
        ("postgresql://other@pooler.test:6432/tasks", True),
        ("postgres://one,two/tasks", True),
        ("postgresql://me@db.test/staging", False),
        ("sqlite:////elsewhere/tasks.sqlite", False),
        (None, False),
    ],
)
def test_which_databases_agree_with_it(monkeypatch: pytest.MonkeyPatch, url: str | None, same: bool) -> None:
    marker.leave(at(monkeypatch, URL)[1])
    if same:
        marker.refuse_other(*at(monkeypatch, url))
        return
    with pytest.raises(SettingsError, match=r"database\.json says .* postgresql://db\.test:5432/tasks, but "):
        marker.refuse_other(*at(monkeypatch, url))


def test_a_file_is_the_same_by_any_way_to_it(
    monkeypatch: pytest.MonkeyPatch, data_dir: Path, tmp_path: Path, cli: Cli
) -> None:
    marker.leave(at(monkeypatch, None)[1])
    (tmp_path / "link").symlink_to(data_dir)
    marker.refuse_other(*at(monkeypatch, f"sqlite:///{tmp_path}/link/tasks.sqlite"))
    monkeypatch.setenv("DATABASE_URL", "postgresql://shop@127.0.0.1/shop")  # of the shop, not of Tasks Server
    refused = cli("task", "list")
    assert refused.code == 2
    assert f"PATH_SQLITE={data_dir / 'tasks.sqlite'}, and no DATABASE_URL" in refused.err
    assert "DATABASE_URL says postgresql://127.0.0.1/shop" in refused.err


def test_a_server_that_names_another_database_moves_there(monkeypatch: pytest.MonkeyPatch) -> None:
    marker.leave(at(monkeypatch, "sqlite:////srv/tasks.sqlite")[1])
    with pytest.raises(SettingsError, match="nothing is set here, which means"):
        marker.refuse_unnamed(*at(monkeypatch, None))
    marker.refuse_unnamed(*at(monkeypatch, URL))
    marker.leave_first(at(monkeypatch, URL)[1])  # made ready for the move; the server is still there
    assert marker.leave(at(monkeypatch, URL)[1]) == "/srv/tasks.sqlite"
    assert marker.leave(at(monkeypatch, URL)[1]) is None
    with pytest.raises(SettingsError):
        marker.refuse_other(*at(monkeypatch, "sqlite:////srv/tasks.sqlite"))


def test_what_cannot_be_read_or_written_stops_nobody(monkeypatch: pytest.MonkeyPatch, data_dir: Path) -> None:
    data_dir.mkdir()
    (data_dir / marker.NAME).write_bytes(b"{")
    marker.refuse_other(*at(monkeypatch, None))
    marker.leave(at(monkeypatch, URL)[1])
    (data_dir / marker.NAME).unlink()
    (data_dir / marker.NAME).mkdir()
    marker.leave(at(monkeypatch, URL)[1])
    marker.refuse_other(*at(monkeypatch, None))
    assert [path.name for path in data_dir.iterdir()] == [marker.NAME]


def test_settings_of_the_system_are_found_by_themselves(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cli: Cli
) -> None:
    file = tmp_path / "tasks-server.toml"
    monkeypatch.setattr(layers, "SYSTEM_CONFIG", file)
    assert resolve().settings.port == 9_420
    file.write_text(f'port = 1234\ndatabase_url = "{URL}"\n')
    found = resolve()
    assert (found.settings.port, found.origins["port"]) == (1_234, str(file))
    assert cli("settings", "--json").json()["port"] == {"value": 1_234, "from": str(file)}
    monkeypatch.setenv("PORT", "2345")
    assert resolve().settings.port == 2_345
    named = tmp_path / "named.toml"
    named.write_text("host = '::1'\n")
    assert resolve(config=named).settings.database_url is None
    monkeypatch.setenv("TASKS_SERVER_CONFIG", "/dev/null")
    assert resolve().settings.database_url is None


def test_settings_of_the_system_that_cannot_be_read_are_not_passed_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(layers, "SYSTEM_CONFIG", tmp_path)
    with pytest.raises(SettingsError, match="the settings of this system: cannot read "):
        resolve()
