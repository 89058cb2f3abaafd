"""The pages in a real browser: accessible in both themes and at both widths, without a fault in the console, kept up to
date, steered by keys; and the main ways through them without scripts.
"""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.cli.conftest import Serve, data_dir, serve, until  # noqa: F401  # fixtures

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (Debian: apt-get install chromium)"),
]
WAIT_MS = 30_000


class Shop:
    """A server with an owner and things to see."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.key = str(httpx.post(f"{url}/v1/owners/register", json={"name": "small-shop"}).json()["key"])
        self.http = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {self.key}"})

    def task(self, url: str, **more: Any) -> str:
        body = {"httpRequest": {"url": url, "method": "POST", "data": {"big": 12345678901234567890}}, **more}
        return str(self.http.post("/v1/queues/register", json=body).json()["id"])

    def state(self, task: str) -> str:
        return str(self.http.get(f"/v1/queues/{task}").json()["state"])

    def fill(self) -> dict[str, str]:
        """Something for every page; the paths of pages by name."""
        failed = self.task("http://127.0.0.1:1/charge?token=t0p", metadata={"order": "42"})
        self.task(f"{self.url}/status", config={"executionDelay": "2h"})
        self.http.put("/v1/lanes/mail", json={"ratePerSecond": 5, "maxConcurrent": 2, "paused": True})
        self.task(f"{self.url}/status", config={"lane": "mail"})
        rule = {"cron": "30 2 * * *", "timezone": "Europe/Berlin"}
        self.http.put("/v1/schedules/nightly", json=rule | {"task": {"handler": {"name": "default"}}})
        bulk = self.http.post("/v1/bulk", json={"action": "pause", "filter": {"lane": "mail"}}).json()["id"]
        until(lambda: self.state(failed) == "ERROR", "a failed task")
        names = (
            "tasks",
            "lanes",
            "lanes/mail",
            "schedules",
            "schedules/nightly",
            "bulk",
            "log",
            "engines",
            "new",
            "help",
        )
        paths = {name: f"/ui/{name}" for name in names}
        return paths | {
            "overview": "/ui",
            "task": f"/ui/tasks/{failed}",
            "bulk work": f"/ui/bulk/{bulk}",
            "bulk work asked for": "/ui/bulk/new?action=retry&q=state:error",
            "new schedule": "/ui/new?kind=schedule",
            "a search line with faults": "/ui/tasks?q=stat:error",
            "no such task": f"/ui/tasks/{'0' * 24}",
        }


@pytest.fixture
def shop(serve: Serve) -> Iterator[Shop]:  # noqa: F811
    shop = Shop(serve().url)
    yield shop
    shop.http.close()


@pytest.fixture
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@contextlib.contextmanager
def looking(chromium: Any, shop: Shop, **how: Any) -> Iterator[Any]:
    """A page whose owner has signed in; whatever the console complains of fails the test."""
    context = chromium.new_context(timezone_id="Europe/Berlin", **how)
    context.set_default_timeout(WAIT_MS)
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda told: complaints.append(told.text) if told.type == "error" else None)
    page.goto(f"{shop.url}/ui/login")
    page.fill("input[name=key]", shop.key)
    page.click("button:has-text('Sign in')")
    page.wait_for_url("**/ui")
    yield page
    # That a page answers 404 is what it was asked for.
    assert [text for text in complaints if "status of 4" not in text] == []
    context.close()


@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 1280), ("light", 390), ("dark", 390)])
def test_every_page_is_accessible_and_fits(shop: Shop, chromium: Any, theme: str, width: int, tmp_path: Path) -> None:
    from axe_playwright_python.sync_playwright import Axe

    paths = shop.fill()
    with looking(chromium, shop, color_scheme=theme, viewport={"width": width, "height": 900}) as page:
        for name, path in paths.items():
            page.goto(shop.url + path)
            for part in page.query_selector_all("details:not([open]) > summary"):
                part.click()
            found = Axe().run(page).response["violations"]
            told = [(one["id"], [node["html"][:150] for node in one["nodes"][:3]]) for one in found]
            assert told == [], name
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name


def test_a_failed_task_is_found_understood_mended_and_retried(shop: Shop, chromium: Any) -> None:
    shop.fill()
    with looking(chromium, shop) as page:
        page.click("nav >> text=Tasks")
        page.click("text=Error 1")
        page.click("tbody a")
        assert "connection refused" in page.inner_text("main")
        assert "12345678901234567890" in page.inner_text("#spec-text"), "no number passes through JavaScript"
        page.click("button:has-text('Retry')")
        page.wait_for_selector("text=The task runs again.")
        assert "done=" not in page.url


def test_what_changes_shows_by_itself_and_not_under_a_hand(shop: Shop, chromium: Any) -> None:
    with looking(chromium, shop) as page:
        page.goto(f"{shop.url}/ui/tasks")
        page.select_option("[data-do=live]", "2")
        first = shop.task(f"{shop.url}/status", config={"executionDelay": "2h"})
        page.wait_for_selector(f"text={first}")
        page.check("input[name=id]")
        page.wait_for_selector("text=paused: 1 selected")
        second = shop.task(f"{shop.url}/status", config={"executionDelay": "2h"})
        page.wait_for_selector("button:has-text('Pause 1 task')")
        assert page.query_selector(f"text={second}") is None
        page.uncheck("input[name=id]")
        page.wait_for_selector(f"text={second}")


def test_what_cannot_be_undone_is_asked_first_and_keys_lead_around(shop: Shop, chromium: Any) -> None:
    task = shop.task(f"{shop.url}/status", config={"executionDelay": "2h"})
    with looking(chromium, shop) as page:
        page.keyboard.press("g")
        page.keyboard.press("t")
        page.wait_for_url("**/ui/tasks")
        page.keyboard.press("j")
        page.keyboard.press("Enter")
        page.wait_for_url(f"**/ui/tasks/{task}")
        page.click("button:has-text('Revoke')")
        page.click("dialog >> text=Cancel")
        assert shop.state(task) == "RUNNING"
        page.click("main button:has-text('Revoke')")
        page.click("dialog >> button:has-text('Revoke')")
        page.wait_for_selector("text=The task is revoked.")
        assert shop.state(task) == "REVOKED"


def test_the_main_ways_go_without_scripts(shop: Shop, chromium: Any) -> None:
    paths = shop.fill()
    with looking(chromium, shop, java_script_enabled=False) as page:
        page.goto(f"{shop.url}/ui/tasks?q=state:error")
        page.click("tbody a")
        assert "connection refused" in page.inner_text("main")
        page.click("button:has-text('Retry')")
        assert "The task runs again." in page.inner_text(".notice")
        page.goto(f"{shop.url}{paths['lanes/mail']}")
        page.click("button:has-text('Resume')")
        assert "It goes on." in page.inner_text(".notice")
        page.goto(f"{shop.url}/ui/new?kind=schedule")
        page.fill("[name=name]", "hourly")
        page.fill("[name=every]", "1h")
        page.fill("[name=url]", f"{shop.url}/status")
        page.click("button:has-text('Store')")
        assert "When it fires next" in page.inner_text("main")
        failed = shop.task("http://127.0.0.1:1/charge")
        until(lambda: shop.state(failed) == "ERROR", "another failed task")
        page.goto(f"{shop.url}/ui/bulk/new?action=retry&q=state:error")
        page.click("section button")
        assert "piece by piece" in page.inner_text(".notice")
