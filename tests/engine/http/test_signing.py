"""Every signed call is accepted by the public verifier of Standard Webhooks, over the very bytes that arrived."""

import base64
import hashlib
import hmac
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from tasks_server.domain.request import FormPart
from tasks_server.domain.signing import SigningSecret

from .driver import Driver, call
from .target import Received, Target, redirect

OLD, NEW, OTHER = (SigningSecret(name, 0, name.encode() * 8) for name in ("olds", "news", "else"))
FORMS: dict[str, dict[str, Any]] = {
    "nothing": {"method": "POST"},
    "get": {"method": "GET"},
    "delete with data": {"method": "DELETE", "data": "is not sent"},
    "text": {"method": "POST", "data": "grüße,\r\n two. lines\n"},
    "empty text": {"method": "POST", "data": ""},
    "json": {"method": "PUT", "json": '{"z": [1.0, 1e400, null],\n "a": "ü"}'.encode()},
    "raw bytes": {"method": "PATCH", "data_base64": base64.b64encode(b"a\0b\r\nc").decode()},
    "form": {"method": "POST", "data": [FormPart("a", "@file"), FormPart('b"', "x\r\n--y")]},
    "form with a boundary": {
        "method": "POST",
        "data": [FormPart("a", "1")],
        "headers": {"Content-Type": 'multipart/form-data; boundary="mine"'},
    },
    "large": {"method": "POST", "data": "0123456789" * 30_000},
}


@pytest.fixture
def target() -> Iterator[Target]:
    with Target() as target:
        yield target


@pytest.fixture
def driver() -> Iterator[Driver]:
    with Driver() as driver:
        yield driver


def send(driver: Driver, target: Target, *secrets: SigningSecret, path: str = "/", **request: Any) -> Received:
    """What the target got of a call that is signed with these secrets."""
    one = call(target.url(path), start_at=int(time.time() * 1_000), **request)
    one.signing, one.message = tuple(secret.key for secret in secrets), "01TASK-2"
    driver.run(one)
    return target.last


def verify(secret: SigningSecret, received: Received) -> None:
    Webhook(secret.text).verify(received.body, dict(received.headers), json_parse=False)


@pytest.mark.parametrize("form", FORMS)
def test_the_public_verifier_accepts_every_form_of_data(driver: Driver, target: Target, form: str) -> None:
    received = send(driver, target, OLD, **FORMS[form])
    verify(OLD, received)
    assert received.header("webhook-id") == "01TASK-2"
    with pytest.raises(WebhookVerificationError):
        verify(OTHER, received)
    received.body += b" "
    with pytest.raises(WebhookVerificationError):
        verify(OLD, received)


def test_while_two_secrets_are_valid_either_verifies(driver: Driver, target: Target) -> None:
    received = send(driver, target, NEW, OLD, method="POST", json=b'{"a":1}')
    verify(OLD, received)
    verify(NEW, received)
    assert len((received.header("webhook-signature") or "").split(" ")) == 2
    with pytest.raises(WebhookVerificationError):
        verify(OTHER, received)


def test_bytes_that_are_no_text_are_signed_as_they_are(driver: Driver, target: Target) -> None:
    """The Python verifier takes UTF-8 only; the rule itself knows bytes."""
    body = bytes(range(256))
    received = send(driver, target, OLD, method="POST", data_base64=base64.b64encode(body).decode())
    assert received.body == body
    signed = f"01TASK-2.{received.header('webhook-timestamp')}.".encode() + body
    expected = base64.b64encode(hmac.new(OLD.key, signed, hashlib.sha256).digest()).decode()
    assert received.header("webhook-signature") == f"v1,{expected}"


def test_what_the_documentation_says_to_do_verifies(driver: Driver, target: Target) -> None:
    page = (Path(__file__).parents[3] / "docs" / "signing.md").read_text()
    (code,) = re.findall(r"```python\n(.+?)```", page, re.S)
    named: dict[str, Any] = {}
    exec(code, named)
    received = send(driver, target, NEW, OLD, method="POST", json=b'{"a":1}')
    assert named["is_genuine"](OLD.text, received.body, dict(received.headers))
    assert not named["is_genuine"](OTHER.text, received.body, dict(received.headers))


def test_what_is_not_signed_carries_no_such_headers(driver: Driver, target: Target) -> None:
    received = send(driver, target, method="POST", data="x", headers={"webhook-id": "mine"})
    assert received.header("webhook-id") == "mine"
    assert received.header("webhook-signature") is None


def test_the_callers_own_give_way_to_ours(driver: Driver, target: Target) -> None:
    """They were allowed when the task was registered, with signing off."""
    given = {"Webhook-Id": "x", "webhook-signature": "v1,x", "Webhook-Else": "x"}
    received = send(driver, target, OLD, method="POST", data="x", headers=given)
    verify(OLD, received)
    assert received.header("Webhook-Else") is None


def test_a_handle_that_signed_does_not_sign_the_next_call(driver: Driver, target: Target) -> None:
    send(driver, target, OLD)
    assert send(driver, target).header("webhook-signature") is None


def test_redirects_that_keep_the_body_keep_the_signature(driver: Driver, target: Target) -> None:
    target.scripts["/from"] = redirect(307, "/to")
    received = send(driver, target, OLD, path="/from", method="POST", json=b'{"a":1}')
    assert received.path == "/to"
    verify(OLD, received)


def test_redirects_to_another_host_carry_the_signature_too(driver: Driver, target: Target) -> None:
    """It tells nothing but that the owner sent this body; docs/signing.md says so."""
    with Target() as other:
        target.scripts["/from"] = redirect(307, other.url("/to", host="localhost"))
        send(driver, target, OLD, path="/from", method="POST", json=b'{"a":1}')
        verify(OLD, other.last)
