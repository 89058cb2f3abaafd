"""The outbox's recipes for frameworks, as docs/outbox.md prints them, against a server of the test's own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tasks_server.testing import TestServer
from tests.tidy.documents import ROOT

pytestmark = pytest.mark.process

SETTINGS = """
SECRET_KEY = "of tests"
INSTALLED_APPS = ["shop"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "shop.sqlite"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
"""
OTHER = 'url="https://shop.example/other", idempotency_key="ship-1"'
"""A task that the server refuses for good: the key stands for another one."""
SQLALCHEMY = f"""
import shop
from tasks_server.client import Client
from sqlalchemy import text
shop.buy("lamp")
try:
    shop.buy(None)
except Exception as error:
    print(type(error).__name__)
try:
    with shop.Session(shop.engine) as session, session.begin():
        shop.outbox.add(session.connection().connection, url="https://shop.example/lost")
        raise KeyError
except KeyError:
    pass
with Client() as client:
    print("sent", shop.drain(client))
    with shop.engine.begin() as connection:
        shop.outbox.add(connection.connection, {OTHER})
    print("sent", shop.drain(client))
shop.engine.dispose()
"""
FASTAPI = """
import asyncio, httpx, shop, shop_api
from tasks_server.client import Client
async def main():
    async with shop_api.lifespan(shop_api.app):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(shop_api.app), base_url="http://shop") as http:
            answer = await http.post("/orders", params={"item": "lamp"})
            print(answer.status_code, answer.json())
        with Client() as client:
            while not list(client.tasks.list()):
                await asyncio.sleep(0.02)
asyncio.run(main())
shop.engine.dispose()
"""
DJANGO = f"""
import django
django.setup()
from django.core.management import call_command
from django.db import connection, transaction
call_command("makemigrations", "shop", "--name", "initial", verbosity=0)
from pathlib import Path
Path("0002_outbox.py").rename("shop/migrations/0002_outbox.py")
call_command("migrate", verbosity=0)
from shop.models import buy, outbox
buy("lamp")
try:
    with transaction.atomic():
        buy("lost")
        raise KeyError
except KeyError:
    pass
call_command("drain_outbox", "--once")
outbox.add(connection, {OTHER})
call_command("drain_outbox", "--once")
connection.close()
"""


def printed(folder: Path) -> None:
    """Writes each file of the page where its first line says."""
    for block in re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "outbox.md").read_text(), re.S):
        path = folder / block.partition("\n")[0].removeprefix("# ")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block)


def run(server: TestServer, folder: Path, program: str) -> "subprocess.CompletedProcess[str]":
    environment = {
        **os.environ,
        "TASKS_SERVER_URL": server.url,
        "TASKS_SERVER_KEY": server.key,
        "DJANGO_SETTINGS_MODULE": "settings",
    }
    command = [sys.executable, "-W", "error", "-c", program]
    ran = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert [task.url for task in server.client.tasks.list()] == ["https://shop.example/ship"]
    return ran


def test_sqlalchemy(tasks_server: TestServer, tmp_path: Path) -> None:
    printed(tmp_path)
    ran = run(tasks_server, tmp_path, SQLALCHEMY)
    assert ran.stdout == "IntegrityError\nsent 1\nsent 0\n"
    assert "task ship-1 will not be sent: " in ran.stderr


def test_fastapi(tasks_server: TestServer, tmp_path: Path) -> None:
    printed(tmp_path)
    assert run(tasks_server, tmp_path, FASTAPI).stdout == "201 {'order': 1}\n"


def test_django(tasks_server: TestServer, tmp_path: Path) -> None:
    printed(tmp_path)
    (tmp_path / "shop.py").unlink()  # the other recipe's module has the name of this one's package
    for folder in ("shop", "shop/migrations", "shop/management", "shop/management/commands"):
        (tmp_path / folder / "__init__.py").touch()
    (tmp_path / "shop/migrations/0002_outbox.py").rename(tmp_path / "0002_outbox.py")  # its first one is made before
    (tmp_path / "settings.py").write_text(SETTINGS)
    ran = run(tasks_server, tmp_path, DJANGO)
    assert "ship-1 will not be sent: " in ran.stderr
