"""Registration and edit refuse what the engine cannot do, and certificates that are not there."""

from functools import partial
from pathlib import Path

import pytest

from tasks_server.api.app import ApiConfig
from tasks_server.domain.abilities import Abilities
from tasks_server.engine.certificates.paths import path_fault
from tests.api.conftest import ADMIN_KEY, Api, task

LIBCURL = "is not possible here: this server's libcurl was built without HTTP/3"
NOT_THERE = "is not base64 of PEM, DER or P12, and no file below CERTIFICATES_DIR has this path"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "outside.pem").write_text("x")
    made = tmp_path / "certificates"
    made.mkdir()
    (made / "ca.pem").write_text("x")
    return made


@pytest.fixture
def config(folder: Path) -> ApiConfig:
    abilities = Abilities(frozenset({"HTTP/3"}), True, partial(path_fault, folder))
    return ApiConfig(admin_key=ADMIN_KEY, registration="open", abilities=abilities)


async def test_a_version_that_libcurl_does_not_speak(api: Api) -> None:
    client, _ = await api.owner()
    answer = await client.post("/v1/queues/register", json=task(httpVersion="3", timeout=1))
    assert answer.status_code == 400
    by_field = {fault["field"]: fault for fault in answer.json()["errors"]}
    assert by_field.keys() == {"config.httpVersion", "config.timeout"}
    found = by_field["config.httpVersion"]
    assert (found["message"], found["given"]) == (LIBCURL, "3")
    assert found["allowed"] == "0.9, 1.0, 1.1, 2, 2-prior-knowledge"
    assert (await client.post("/v1/queues/register", json=task(httpVersion="2"))).status_code == 201


@pytest.mark.parametrize("path", ["gone.pem", "../outside.pem", ".", "{outside}"])
async def test_a_certificate_that_is_not_there(api: Api, folder: Path, path: str) -> None:
    client, _ = await api.owner()
    given = path.replace("{outside}", str(folder.parent / "outside.pem"))
    answer = await client.post("/v1/queues/register", json=task(ca=given))
    assert answer.status_code == 400
    (fault,) = answer.json()["errors"]
    assert (fault["field"], fault["given"], fault["message"]) == ("config.ca", given, NOT_THERE)
    assert fault["allowed"] == "base64 of PEM, DER or P12, or the path of a file below CERTIFICATES_DIR"
    assert (await client.post("/v1/queues/register", json=task(ca="ca.pem"))).status_code == 201


async def test_a_batch_names_the_task(api: Api) -> None:
    client, _ = await api.owner()
    answer = await client.post("/v1/queues/batch", json={"tasks": [task(), task(ca="gone.pem")]})
    assert [fault["field"] for fault in answer.json()["errors"]] == ["tasks.1.config.ca"]


async def test_a_task_cannot_be_edited_to_what_is_refused(api: Api) -> None:
    client, _ = await api.owner()
    answer = await client.post("/v1/queues/register", json=task(executionDelay=60_000))
    path = f"/v1/queues/{answer.json()['id']}"
    for config, message in (({"httpVersion": "3"}, LIBCURL), ({"ca": "gone.pem"}, NOT_THERE)):
        answer = await client.patch(path, json={"config": config})
        assert answer.status_code == 400
        assert [fault["message"] for fault in answer.json()["errors"]] == [message]
    assert (await client.patch(path, json={"config": {"ca": "ca.pem"}})).status_code == 200
    assert (await client.get(f"{path}/config")).json()["config"]["ca"] == "ca.pem"
