"""What the pages show, with nothing, with something and with trouble; and what their forms do."""

import re

import pytest

from tasks_server.clock import ManualClock
from tasks_server.domain.attempt import Outcome, OutcomeKind
from tests.api.conftest import worked

from .conftest import ADMIN_KEY, Site, Visitor, text_of

EVIL = "<script>alert(1)</script>"


async def all_pages(site: Site, key: str) -> list[str]:
    """Every page, with something on it."""
    task = await site.task(key, metadata={"note": EVIL})
    api = site.api(key)
    await api.put("/v1/lanes/mail", json={"ratePerSecond": 5, "maxConcurrent": 2})
    body = {"cron": "30 2 * * *", "timezone": "Europe/Berlin"}
    await api.put("/v1/schedules/nightly", json=body | {"task": {"handler": {"name": "default"}}})
    bulk = (await api.post("/v1/bulk", json={"action": "pause", "filter": {"lane": "mail"}})).json()["id"]
    fixed = [
        "",
        "/tasks",
        "/lanes",
        "/schedules",
        "/bulk",
        "/bulk/new?q=lane:mail",
        "/log",
        "/engines",
        "/new",
        "/help",
    ]
    more = [f"/tasks/{task}", "/lanes/mail", "/schedules/nightly", f"/bulk/{bulk}", f"/new?from={task}"]
    return [f"/ui{path}" for path in fixed + more] + ["/ui/new?kind=schedule", "/ui/tasks?q=nonsense"]


@pytest.mark.parametrize("who", ["owner", "operator"])
async def test_every_page_is_whole_and_keeps_to_its_policy(site: Site, visitor: Visitor, key: str, who: str) -> None:
    if who == "operator":
        await visitor.sign_in(ADMIN_KEY)
    for path in await all_pages(site, key):
        answer = await visitor.see(path)
        assert answer.status_code == 200, path
        assert "script-src 'self'; style-src 'self'" in answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "no-store"
        assert answer.text.rstrip().endswith("</html>")
        assert answer.text.count("<h1") == 1, path
        assert EVIL not in answer.text, path
        assert not re.search(r"<[^>]*\s(style|on\w+)=", answer.text), path
        assert not re.search(r"<script(?![^>]*src=)", answer.text), path
        for link in re.findall(r'href="(/ui/[^"#]*)', answer.text):
            found = await visitor.see(link.replace("&amp;", "&"))
            assert found.status_code == 200, (path, link)


async def test_pages_say_what_to_do_where_there_is_nothing(visitor: Visitor) -> None:
    assert "No tasks yet." in text_of(await visitor.see("/ui"))
    assert "curl -X POST http://localhost:9420/v1/queues/register" in text_of(await visitor.see("/ui/tasks"))
    assert "No task fits." not in text_of(await visitor.see("/ui/tasks"))
    assert "No lane has been used." in text_of(await visitor.see("/ui/lanes"))
    assert "There is no schedule." in text_of(await visitor.see("/ui/schedules"))
    assert "There is no bulk work." in text_of(await visitor.see("/ui/bulk"))
    assert "No attempt has ended yet." in text_of(await visitor.see("/ui/log"))
    assert "No engine has ever run." in text_of(await visitor.see("/ui/engines"))


async def test_a_task_is_found_understood_and_retried(
    site: Site, visitor: Visitor, key: str, clock: ManualClock
) -> None:
    task = await site.task(key, "https://target.test/hook?token=t0p", metadata={"order": "42"})
    await worked(site.store, clock, Outcome(OutcomeKind.HTTP_ERROR, 503, "down", b'{"why": 12345678901234567890}'))
    found = await visitor.see("/ui/tasks?q=state:error+metadata.order:42")
    assert task in found.text
    seen = text_of(page := await visitor.see(f"/ui/tasks/{task}"))
    assert "It failed" in seen
    assert '"why": 12345678901234567890' in seen, "no number passes through anything that rounds it"
    assert "token=***" in seen
    assert "t0p" not in page.text
    done = await visitor.send(f"/ui/tasks/{task}/retry")
    assert "The task runs again." in text_of(done)
    again = await visitor.send(f"/ui/tasks/{task}/retry")
    assert "can be retried" in text_of(again) or "only" in text_of(again)


async def test_the_same_is_done_to_ticked_tasks_and_what_became_of_each_is_told(
    site: Site, visitor: Visitor, key: str
) -> None:
    ids = [await site.task(key, config={"executionDelay": "1h"}) for _ in range(3)]
    await visitor.send(f"/ui/tasks/{ids[0]}/revoke")
    answer = await visitor.send("/ui/tasks/act", {"action": "pause", "id": ids, "back": "/ui/tasks?q=lane:default"})
    told = text_of(answer)
    assert "2 of 3 tasks are paused." in told
    assert f"{ids[0]}: the task is revoked" in told
    assert "q=lane%3Adefault" in str(answer.url) or "q=lane:default" in str(answer.url)
    async with site.api(key) as client:
        (own,) = (await client.get("/v1/owners/small-shop/keys")).json()
        record = (await client.get("/v1/audit?kind=task")).json()
    told_of = [(entry["via"], entry["by"], entry["key"], entry["action"]) for entry in record]
    assert told_of == [("ui", "owner", own["keyId"], action) for action in ("pause", "pause", "revoke")]
    assert "tick tasks first" in text_of(await visitor.send("/ui/tasks/act", {"action": "pause"}))


async def test_a_search_line_passes_nothing_over(visitor: Visitor) -> None:
    seen = text_of(await visitor.see("/ui/tasks?q=stat:error+hello+lane:"))
    assert "stat is not a known field; did you mean state?" in seen
    assert "a word without a colon" in seen
    assert "lane has no value behind the colon" in seen
    assert "must be one or more of RUNNING" in text_of(await visitor.see("/ui/tasks?q=state:late"))


async def test_an_id_leads_to_its_task(site: Site, visitor: Visitor, key: str) -> None:
    task = await site.task(key)
    assert str((await visitor.see(f"/ui/tasks?q={task.lower()}")).url).endswith(f"/ui/tasks/{task}")


async def test_a_form_makes_one_task_however_often_it_is_sent(site: Site, visitor: Visitor, key: str) -> None:
    fields: dict[str, str | list[str]] = {
        "kind": "task",
        "once": "0a1b2c",
        "do": "send",
        "url": "https://target.test/hook",
        "method": "POST",
        "headers": "X-A: 1\nX-B: 2",
        "data": '{"amount": 12.50}',
        "executionDelay": "2h",
        "retry": "3",
        "metadata": "order=42",
    }
    first, second = await visitor.send("/ui/new", fields), await visitor.send("/ui/new", fields)
    assert first.url.path == second.url.path
    spec = (await site.api(key).get(f"/v1/queues/{first.url.path.rpartition('/')[2]}/config")).text
    assert '"data":{"amount": 12.50}' in spec
    assert '"retry":3' in spec
    assert len((await site.api(key).get("/v1/queues")).json()) == 1


async def test_a_form_with_faults_comes_back_with_each_at_its_field(site: Site, visitor: Visitor, key: str) -> None:
    fields: dict[str, str | list[str]] = {"kind": "task", "do": "send", "url": "htp:/x", "retry": "many", "lane": "a b"}
    answer = await visitor.send("/ui/new", fields)
    assert answer.status_code == 400
    for name in ("url", "retry", "lane"):
        assert f'aria-describedby="fault-{name}"' in answer.text, name
    assert 'value="htp:/x"' in answer.text
    assert (await site.api(key).get("/v1/queues")).json() == []


async def test_a_look_stores_nothing_and_shows_what_would_be_sent(site: Site, visitor: Visitor, key: str) -> None:
    answer = await visitor.send("/ui/new", {"kind": "task", "do": "look", "url": "https://a.test/", "method": "GET"})
    seen = text_of(answer)
    assert "It can be sent like this." in seen
    assert '"url": "https://a.test/"' in seen
    assert (await site.api(key).get("/v1/queues")).json() == []


async def test_a_curl_command_fills_the_form(visitor: Visitor) -> None:
    command = "curl -X PUT 'https://a.test/x' -H 'X-A: 1' --data '{\"n\": 1.0}' -u me:secret -k --data @file"
    answer = await visitor.send("/ui/new", {"kind": "task", "do": "paste", "curl": command})
    assert 'value="https://a.test/x"' in answer.text
    assert "<option selected>PUT" in answer.text
    seen = text_of(answer)
    assert "X-A: 1" in seen
    assert '{"n": 1.0}' in seen
    assert "Left out: -k, the file file" in seen
    assert "names no URL" in text_of(await visitor.send("/ui/new", {"kind": "task", "do": "paste", "curl": "curl -v"}))


async def test_a_schedule_is_made_shown_changed_and_removed(site: Site, visitor: Visitor, key: str) -> None:
    fields: dict[str, str | list[str]] = {
        **{"kind": "schedule", "do": "send", "name": "nightly", "cron": "30 2 * * *", "timezone": "Europe/Berlin"},
        **{"url": "https://target.test/", "method": "GET", "overlap": "skip", "missed": "once"},
    }
    made = await visitor.send("/ui/new", fields)
    assert made.url.path == "/ui/schedules/nightly"
    seen = text_of(made)
    assert "leaves out a fire time while the one before is not done" in seen
    assert "02:30:00 CET" in seen
    edited = await visitor.send("/ui/schedules/nightly/edit", {"cron": "61 * * * *", "timezone": "Mars"})
    assert edited.status_code == 400
    assert 'aria-describedby="fault-cron"' in edited.text
    edited = await visitor.send("/ui/schedules/nightly/edit", {"every": "15m", "overlap": "allow", "missed": "skip"})
    assert "every 15min" in text_of(edited) or "every 15 min" in text_of(edited)
    form = {"every": "15 min", "timezone": "Europe/Berlin", "overlap": "allow", "missed": "once"}
    edited = await visitor.send("/ui/schedules/nightly/edit", form)
    assert "It is changed" in text_of(edited), "a zone that a cron left in the form is in nobody's way"
    assert "fires no more until" in text_of(await visitor.send("/ui/schedules/nightly/pause"))
    assert "goes on from now" in text_of(await visitor.send("/ui/schedules/nightly/resume"))
    assert (await visitor.send("/ui/schedules/nightly/run")).url.path.startswith("/ui/tasks/")
    assert "There is no schedule." in text_of(await visitor.send("/ui/schedules/nightly/delete"))


async def test_a_lane_is_set_up_paused_and_purged(site: Site, visitor: Visitor, key: str) -> None:
    made = await visitor.send("/ui/lanes", {"name": "mail", "ratePerSecond": "50"})
    assert made.url.path == "/ui/lanes/mail"
    for _ in range(3):
        await site.task(key, config={"lane": "mail"})
    assert "At 50 a second, the 3 that are due take 60 ms." in text_of(await visitor.see("/ui/lanes/mail"))
    assert "wait until it is resumed" in text_of(await visitor.send("/ui/lanes/mail/pause"))
    refused = await visitor.send("/ui/lanes/mail/settings", {"ratePerSecond": "fast"})
    assert refused.status_code == 400
    assert 'aria-describedby="fault-ratePerSecond"' in refused.text
    await visitor.send("/ui/lanes/mail/settings", {"maxConcurrent": "2"})
    lane = (await site.api(key).get("/v1/lanes/mail")).json()
    assert (lane["ratePerSecond"], lane["maxConcurrent"], lane["paused"]) == (None, 2, True)
    assert (await visitor.send("/ui/lanes/mail/purge")).url.path.startswith("/ui/bulk/")
    assert (await visitor.send("/ui/lanes/mail/delete")).status_code == 422


async def test_bulk_work_is_looked_at_before_it_is_done(
    site: Site, visitor: Visitor, key: str, clock: ManualClock
) -> None:
    for _ in range(4):
        await site.task(key)
    await worked(site.store, clock, Outcome(OutcomeKind.HTTP_ERROR, 503, "down"))
    looked = await visitor.see("/ui/bulk/new?action=retry&q=state:error+host:target.test")
    assert "Retry 4 tasks" in text_of(looked)
    made = await visitor.send("/ui/bulk/new", {"action": "retry", "q": "state:error host:target.test", "number": "4"})
    assert "The engines do it piece by piece" in text_of(made) or "piece by piece" in text_of(made)
    assert "state:ERROR" in text_of(made)
    assert "cancelled" in text_of(await visitor.send(f"{made.url.path}/cancel"))
    assert "did you mean" in text_of(await visitor.see("/ui/bulk/new?action=retry&q=hots:x"))


async def test_the_operator_says_of_which_owner(site: Site, visitor: Visitor, key: str) -> None:
    await site.owner("other-shop")
    await visitor.sign_in(ADMIN_KEY)
    asked = text_of(await visitor.see("/ui/lanes"))
    assert "of which owner?" in asked
    assert "other-shop" in asked
    await site.task(key, config={"lane": "mail"})
    seen = await visitor.see("/ui/lanes?owner=small-shop")
    assert "/ui/lanes/mail?owner=small-shop" in seen.text
    assert "there is no owner" in text_of(await visitor.see("/ui/lanes?owner=nobody-here")).lower()


async def test_times_are_of_the_browsers_zone_or_the_one_that_is_named(site: Site, visitor: Visitor, key: str) -> None:
    task = await site.task(key)
    assert "Times in UTC" in text_of(await visitor.see(f"/ui/tasks/{task}"))
    visitor.http.cookies.set("tasks_zone", "Asia%2FKolkata")
    seen = text_of(await visitor.see(f"/ui/tasks/{task}"))
    assert "Times in Asia/Kolkata" in seen
    assert "Times in UTC" in text_of(await visitor.see(f"/ui/tasks/{task}?tz=UTC"))
    assert "Times in Asia/Kolkata" in text_of(await visitor.see(f"/ui/tasks/{task}?tz=Mars/Base"))


async def test_bytes_of_a_target_are_shown_and_never_taken_for_a_page(
    site: Site, visitor: Visitor, key: str, clock: ManualClock
) -> None:
    task = await site.task(key)
    await worked(site.store, clock, Outcome(OutcomeKind.SUCCESS, 200, None, EVIL.encode()))
    page = await visitor.see(f"/ui/tasks/{task}")
    assert EVIL in text_of(page).replace("< ", "<") or "&lt;script&gt;" in page.text
    assert EVIL not in page.text
    other = await site.task(key)
    await worked(site.store, clock, Outcome(OutcomeKind.SUCCESS, 200, None, b"\x00\x01\xffabc"))
    assert "000000 00 01 ff 61 62 63" in text_of(await visitor.see(f"/ui/tasks/{other}"))
