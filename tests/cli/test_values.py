"""What users send reaches the target or the handler byte for byte, whichever way it came in: a real server, a real
target, a real runner.
"""

import base64
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.cli.conftest import DEADLINE_SECONDS, Cli, Serve, until
from tests.domain import json_texts

pytestmark = pytest.mark.process

HANDLERS = """
from pathlib import Path
import msgspec
from tasks_server import Context, handlers

@handlers.register("keep")
def keep(payload: msgspec.Raw, context: Context):
    part = Path(f"{context.task_id}.part")
    part.write_bytes(bytes(payload))
    part.rename(f"{context.task_id}.json")

@handlers.register("any")
def any_(payload):
    return repr(payload)
"""
JSON = {"Content-Type": "application/json"}
PATCH = {"Content-Type": "application/merge-patch+json"}


class Made(msgspec.Struct):
    """What is read of an answer: the numbers in it need not be any that Python has."""

    id: str = ""
    tasks: "list[Made]" = []


MADE = msgspec.json.Decoder(Made)


@dataclass
class Shop:
    """An owner at a running server, the target of its requests, and where its handlers leave what they got."""

    http: httpx.Client
    target: str
    folder: Path
    received: dict[str, bytes] = field(default_factory=dict)

    def post(self, path: str, body: bytes, method: str = "POST", headers: dict[str, str] = JSON) -> str:
        """Sends it; gives the id in the answer, that of the last task if there are several."""
        answer = self.http.request(method, path, content=body, headers=headers)
        assert answer.status_code in (200, 201), (answer.text, body)
        made = MADE.decode(answer.content)
        return made.tasks[-1].id if made.tasks else made.id

    def got(self, task_id: str) -> bytes:
        """What the target or the handler got of a task."""
        kept = self.folder / f"{task_id}.json"
        until(lambda: task_id in self.received or kept.exists(), f"what {task_id} sends")
        return self.received[task_id] if task_id in self.received else kept.read_bytes()

    def request(self, data: bytes, more: bytes = b"") -> bytes:
        return b'{"httpRequest":{"url":"%s","data": %s ,"method":"POST"}%s}' % (self.target.encode(), data, more)


@pytest.fixture
def shop(serve: Serve, tmp_path: Path) -> Iterator[Shop]:
    (tmp_path / "shop_tasks.py").write_text(HANDLERS)
    received: dict[str, bytes] = {}

    class Target(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            received[self.headers["X-Tasks-Queue-Id"]] = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    target = ThreadingHTTPServer(("127.0.0.1", 0), Target)
    thread = threading.Thread(target=target.serve_forever, args=(0.01,))
    thread.start()
    server = serve("--handlers", "shop_tasks", folder=tmp_path)
    key = httpx.post(f"{server.url}/v1/owners/register", json={"name": "small-shop"}).json()["key"]
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=server.url, headers=headers, timeout=DEADLINE_SECONDS) as http:
        yield Shop(http, f"http://127.0.0.1:{target.server_port}/", tmp_path, received)
    target.shutdown()
    thread.join()
    target.server_close()


# Each way in gives the id of the task that sends what it was given.


def registered(shop: Shop, data: bytes) -> str:
    return shop.post("/v1/queues/register", shop.request(data))


def registered_in_other_forms(shop: Shop, data: bytes) -> str:
    return shop.post("/v1/queues/register", shop.request(data, b',"config":{"timeout":"30s"}'))


def in_a_batch(shop: Shop, data: bytes) -> str:
    return shop.post("/v1/queues/batch", b'{"tasks":[%s]}' % shop.request(data))


def in_a_batch_with_others(shop: Shop, data: bytes) -> str:
    other = b'{"handler":{"name":"default"}}'
    return shop.post("/v1/queues/batch", b'{"tasks":[%s,%s]}' % (other, shop.request(data)))


def put_in_by_a_patch(shop: Shop, data: bytes) -> str:
    task = shop.post("/v1/queues/register", shop.request(b'"-"', b',"config":{"executionDelay":"1h"}'))
    shop.post(f"/v1/queues/{task}", b'{"httpRequest":{"data":%s}}' % data, "PATCH", PATCH)
    return executed(shop, task)


def left_alone_by_a_patch(shop: Shop, data: bytes) -> str:
    task = shop.post("/v1/queues/register", shop.request(data, b',"config":{"executionDelay":3600000}'))
    shop.post(f"/v1/queues/{task}", b'{"config":{"retry":1},"httpRequest":{"method":"POST","data":{}}}', "PATCH", PATCH)
    return executed(shop, task)


def executed(shop: Shop, task: str) -> str:
    assert shop.http.post(f"/v1/queues/{task}/execute").status_code == 200
    return task


def by_a_schedule(shop: Shop, data: bytes) -> str:
    body = b'{"every":"1h","task":%s}' % shop.request(data)
    shop.post("/v1/schedules/hourly", body, "PUT")
    shop.post("/v1/schedules/hourly", b'{"every":"2h"}', "PATCH", PATCH)
    return shop.post("/v1/schedules/hourly/run", b"")


def by_an_edited_schedule(shop: Shop, data: bytes) -> str:
    shop.post("/v1/schedules/edited", b'{"every":"1h","task":%s}' % shop.request(b'"-"'), "PUT")
    shop.post("/v1/schedules/edited", b'{"task":{"httpRequest":{"data":%s}}}' % data, "PATCH", PATCH)
    return shop.post("/v1/schedules/edited/run", b"")


def handled(shop: Shop, payload: bytes) -> str:
    return shop.post("/v1/queues/register", b'{"handler":{"payload":%s,"name":"keep"}}' % payload)


def handled_in_other_forms(shop: Shop, payload: bytes) -> str:
    body = b'{"handler":{"name":"keep","payload":%s},"config":{"timeout":"30s"}}' % payload
    return shop.post("/v1/queues/register", body)


def handled_by_name(shop: Shop, payload: bytes) -> str:
    return shop.post("/tasks", b'{"task_name":"keep","payload":%s}' % payload)


def handled_by_name_in_other_forms(shop: Shop, payload: bytes) -> str:
    return shop.post("/tasks", b'{"task_name":"keep","payload":%s,"priority":1.0}' % payload)


def handled_in_a_batch(shop: Shop, payload: bytes) -> str:
    body = b'{"tasks":[{"handler":{"name":"keep","payload":%s}}]}' % payload
    return shop.post("/v1/queues/batch", body)


def handled_after_a_patch(shop: Shop, payload: bytes) -> str:
    body = b'{"handler":{"name":"keep","payload":[1]},"config":{"executionDelay":3600000}}'
    task = shop.post("/v1/queues/register", body)
    shop.post(f"/v1/queues/{task}", b'{"handler":{"payload":%s}}' % payload, "PATCH", PATCH)
    return executed(shop, task)


def handled_by_a_schedule(shop: Shop, payload: bytes) -> str:
    body = b'{"every":"1h","task":{"task_name":"keep","payload":%s}}' % payload
    shop.post("/v1/schedules/handler", body, "PUT")
    return shop.post("/v1/schedules/handler/run", b"")


def handled_by_a_recurring_task(shop: Shop, payload: bytes) -> str:
    name = f"r-{base64.b16encode(payload[:8]).decode()}"
    shop.http.delete(f"/v1/schedules/{name}")
    body = b'{"type":"recurring","task_name":"keep","schedule":"@daily","name":"%s","payload":%s}'
    made = shop.post("/tasks", body % (name.encode(), payload))
    return shop.post(f"/v1/schedules/{made}/run", b"")


SENDING = (
    *(registered, registered_in_other_forms, in_a_batch, in_a_batch_with_others, left_alone_by_a_patch),
    by_a_schedule,
)
MERGING = (put_in_by_a_patch, by_an_edited_schedule, handled_after_a_patch)
"""To a merge patch, null is no value: it removes (RFC 7396)."""
HANDLING = (
    *(handled, handled_in_other_forms, handled_by_name, handled_by_name_in_other_forms, handled_in_a_batch),
    *(handled_by_a_schedule, handled_by_a_recurring_task),
)

AWKWARD = b'{"n":12345678901234567.89, "tiny" : 1e-400,\n "huge":1e400,"long":123456789012345678901234567890,"n":-0,' \
    b'"t":"\\u00e9\\/","deep":[[{}]] }'  # fmt: skip


def test_what_is_sent_arrives_byte_for_byte(shop: Shop) -> None:
    """Every way in, and many texts."""
    for text in (AWKWARD, json_texts.nested(32), b'{"a":%s}' % (b"9" * 25_000)):
        tasks = [way(shop, text) for way in (*SENDING, *HANDLING, *MERGING)]
        assert [shop.got(task) for task in tasks] == [text] * len(tasks)
        assert text in shop.http.get(f"/v1/queues/{tasks[0]}/config").content

    @settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])
    @given(
        st.lists(st.tuples(st.sampled_from(SENDING), json_texts.objects), max_size=8),
        st.lists(st.tuples(st.sampled_from(HANDLING), json_texts.values), max_size=8),
    )
    def arrives(sent: list[tuple[Any, bytes]], handled: list[tuple[Any, bytes]]) -> None:
        tasks = [(way(shop, text), text) for way, text in [*sent, *handled]]
        for task, text in tasks:
            assert shop.got(task) == text

    arrives()


def test_the_command_line_leaves_it_as_it_is(shop: Shop, cli: Cli) -> None:
    text = AWKWARD.decode()
    request = cli("task", "submit", shop.target, "--owner", "small-shop", "--json-data", text, "--json")
    handler = cli("task", "submit", "--owner", "small-shop", "--handler", "keep", "--payload", text, "--json")
    made = cli("schedule", "create", "--owner", "small-shop", "--name", "s", "--every", "1h", "--handler", "keep",
               "--payload", text, "--json")  # fmt: skip
    run = cli("schedule", "run", "s", "--owner", "small-shop", "--json")
    assert [result.code for result in (request, handler, made, run)] == [0] * 4
    assert {shop.got(result.json()["id"]) for result in (request, handler, run)} == {AWKWARD}
