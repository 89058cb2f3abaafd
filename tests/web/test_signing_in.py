"""Who is let in to the pages, as whom, and for how long."""

import pytest

from tasks_server.clock import ManualClock
from tasks_server.store.sqlite.store import SqliteStore
from tasks_server.web.routes import UiConfig
from tasks_server.web.session import LINK_MS, SESSION_MS

from .conftest import ADMIN_KEY, WATCHER_KEY, Site, Visitor, text_of


def pages(site: Site, method: str) -> list[str]:
    """The paths of all pages for which somebody must have signed in."""
    open_to_all = ("/ui/login", "/ui/logout", "/ui/assets/")
    return [
        route.path.replace("{id}", "0" * 24).replace("{name}", "mail").replace("{key}", "nightly")
        for route in site.app.table
        if route.path.startswith("/ui") and route.method == method and not route.path.startswith(open_to_all)
    ]


async def test_no_page_opens_without_a_session(site: Site) -> None:
    visitor = site.visitor()
    assert len(pages(site, "GET")) > 10
    for path in pages(site, "GET"):
        answer = await visitor.http.get(path, follow_redirects=False)
        assert (answer.status_code, answer.headers["location"][:14]) == (303, "/ui/login?next"), path
    for path in pages(site, "POST"):
        answer = await visitor.http.post(path, headers={"Sec-Fetch-Site": "same-origin"}, follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (303, "/ui/login"), path


async def test_after_signing_in_the_page_that_was_asked_for_comes(site: Site, key: str) -> None:
    visitor = site.visitor()
    form = await visitor.see("/ui/tasks?q=state:error")
    assert 'name="next" value="/ui/tasks?q=state:error"' in form.text
    answer = await visitor.send("/ui/login", {"key": key, "next": "/ui/tasks?q=state:error"})
    assert str(answer.url) == "http://localhost:9420/ui/tasks?q=state:error"


@pytest.mark.parametrize("onward", ["https://evil.test/ui", "//evil.test", "/ui\\evil", "javascript:alert(1)", "/v1"])
async def test_nobody_is_led_elsewhere(site: Site, key: str, onward: str) -> None:
    visitor = site.visitor()
    answer = await visitor.send("/ui/login", {"key": key, "next": onward})
    assert str(answer.url) == "http://localhost:9420/ui"


async def test_a_wrong_key_is_told_and_guessing_is_stopped(site: Site) -> None:
    visitor = site.visitor()
    answers = [await visitor.sign_in("x" * 64) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [401, 401, 401, 401, 401, 429]
    assert "This is no key of this server" in answers[0].text
    assert "try again in" in answers[5].text


async def test_the_operator_sees_what_is_everyones_and_an_owner_its_own(site: Site, visitor: Visitor, key: str) -> None:
    other = await site.owner("other-shop")
    mine, others = await site.task(key), await site.task(other)
    operator = site.visitor()
    await operator.sign_in(ADMIN_KEY)
    assert mine in (seen := (await operator.see("/ui/tasks")).text)
    assert others in seen
    assert mine in (seen := (await visitor.see("/ui/tasks")).text)
    assert others not in seen
    assert (await visitor.see(f"/ui/tasks/{others}")).status_code == 404
    answer = await visitor.send(f"/ui/tasks/{others}/delete")
    assert "failed=" in str(answer.url)
    await visitor.send("/ui/tasks/act", {"action": "revoke", "id": [others]})
    assert (await site.api(other).get(f"/v1/queues/{others}")).json()["state"] == "RUNNING"


@pytest.mark.parametrize("way", ["tick", "watcher", "setting"])
async def test_who_may_only_look_changes_nothing(
    site: Site, key: str, way: str, store: SqliteStore, clock: ManualClock
) -> None:
    if way == "setting":
        site = Site(store, clock, UiConfig(read_only=True))
    task = await site.task(key)
    visitor = site.visitor()
    await visitor.sign_in(WATCHER_KEY if way == "watcher" else key, only_look=way == "tick")
    assert (await visitor.see(f"/ui/tasks/{task}")).status_code == 200
    for path in pages(site, "POST"):
        answer = await visitor.send(path.replace("0" * 24, task))
        assert answer.status_code == 403, path
        assert "may only look" in answer.text
    assert (await site.api(key).get(f"/v1/queues/{task}")).json()["state"] == "RUNNING"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost:9420"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "http://evil.test"},
        {"Origin": "null"},
    ],
)
async def test_what_no_page_of_ours_sent_does_nothing(
    site: Site, visitor: Visitor, key: str, headers: dict[str, str]
) -> None:
    task = await site.task(key)
    answer = await visitor.http.post(f"/ui/tasks/{task}/revoke", headers=headers)
    assert answer.status_code == 403
    assert (await site.api(key).get(f"/v1/queues/{task}")).json()["state"] == "RUNNING"


async def test_a_foreign_name_of_this_server_opens_nothing(site: Site, visitor: Visitor) -> None:
    answer = await visitor.http.get("/ui", headers={"Host": "evil.test:9420"})
    assert answer.status_code == 403
    assert "host_unknown" in answer.text


async def test_a_session_ends_by_itself_with_its_key_and_by_signing_out(
    site: Site, key: str, clock: ManualClock
) -> None:
    visitor = site.visitor()
    await visitor.sign_in(key)
    clock.advance(SESSION_MS - 1)
    assert str((await visitor.see("/ui")).url).endswith("/ui")
    clock.advance(1)
    assert "/ui/login" in str((await visitor.see("/ui")).url)
    await visitor.sign_in(key)
    owner = (await site.api(key).post("/v1/owners/small-shop/keys")).json()
    known = (await site.api(key).get("/v1/owners/small-shop")).json()
    (first,) = [one["keyId"] for one in known["keys"] if one["keyId"] != owner["keyId"]]
    await site.api(owner["key"]).delete(f"/v1/owners/small-shop/keys/{first}")
    assert "/ui/login" in str((await visitor.see("/ui")).url)
    await visitor.sign_in(owner["key"])
    await visitor.send("/ui/logout")
    assert "/ui/login" in str((await visitor.see("/ui")).url)


async def test_a_link_opens_once_for_the_operator_and_for_ten_minutes(site: Site, clock: ManualClock) -> None:
    token, late = site.sessions.token(b"one"), site.sessions.token(b"two")
    visitor = site.visitor()
    form = await visitor.see(f"/ui/login?token={token}")
    assert f'value="{token}"' in form.text
    assert "/ui/login" in str((await visitor.see("/ui")).url), "looking at the form uses nothing up"
    await visitor.send("/ui/login", {"token": token})
    assert "operator" in text_of(await visitor.see("/ui"))
    second = await site.visitor().send("/ui/login", {"token": token})
    assert "was used before" in second.text
    clock.advance(LINK_MS)
    third = await site.visitor().send("/ui/login", {"token": late})
    assert "older than ten minutes" in third.text


async def test_cookies_are_for_this_server_alone(site: Site, key: str) -> None:
    visitor = site.visitor()
    answer = await visitor.http.post(
        "/ui/login", data={"key": key}, headers={"Origin": "http://localhost:9420"}, follow_redirects=False
    )
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("tasks_session_9420=")
    assert cookie.endswith("Path=/ui; Max-Age=43200; HttpOnly; SameSite=Strict")
    answer = await visitor.http.post(
        "/ui/login",
        data={"key": key},
        headers={"Sec-Fetch-Site": "same-origin", "X-Forwarded-Proto": "https"},
        follow_redirects=False,
    )
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-tasks_session_9420=")
    assert "Path=/; Secure;" in cookie
    for forged in ("x", "A" * 200, "A" * 5_000, cookie.split("=", 1)[1].split(";")[0][:-4] + "AAAA"):
        other = site.visitor()
        seen = await other.http.get("/ui", headers={"Cookie": f"tasks_session_9420={forged}"})
        assert "/ui/login" in str(seen.url)
