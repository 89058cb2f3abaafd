"""Every way in which libcurl can fail has a kind and a plain reason."""

import pycurl
import pytest

from tasks_server.domain.attempt import OutcomeKind
from tasks_server.domain.limits import ERROR_LENGTH_MAX
from tasks_server.engine.http.errors import FAILURES, Circumstances, failed

# Answers of libcurl's functions to their caller; no transfer ends with them.
NO_ENDINGS = {"E_OK", "E_CALL_MULTI_PERFORM", "E_ALREADY_COMPLETE"}
CODES = sorted(
    {
        getattr(pycurl, name)
        for name in dir(pycurl)
        if name.startswith("E_") and not name.startswith("E_MULTI_") and name not in NO_ENDINGS
    }
)


def about(**changes: object) -> Circumstances:
    values: dict[str, object] = {
        "url": "https://me:secret@host.example/path?token=secret",
        "message": "words of libcurl",
        "os_errno": 0,
        "redirects": 0,
        "redirects_max": 8,
        "timeout_ms": 100,
        "response_max_bytes": 10,
    }
    return Circumstances(**(values | changes))  # type: ignore[arg-type]  # the fields of one


def test_every_code_that_pycurl_names_is_mapped() -> None:
    assert [code for code in CODES if code not in FAILURES] == []
    assert len(CODES) > 80


@pytest.mark.parametrize("code", sorted(FAILURES))
def test_every_code_ends_in_a_plain_reason_without_secrets(code: int) -> None:
    outcome = failed(code, about(message="Protocol words of libcurl"))
    assert outcome.status_code in (408, 422, 500)
    assert outcome.error
    assert "{" not in outcome.error
    assert "secret" not in outcome.error
    assert FAILURES[code].retryable == (outcome.kind is not OutcomeKind.UNSENDABLE)


def test_a_code_that_nobody_knows_is_a_failure_all_the_same() -> None:
    outcome = failed(999, about())
    assert (outcome.kind, outcome.status_code) == (OutcomeKind.CONNECTION, 500)
    assert outcome.error == "the HTTP library failed: words of libcurl"


@pytest.mark.parametrize("code", [pycurl.E_URL_MALFORMAT, pycurl.E_UNSUPPORTED_PROTOCOL, pycurl.E_NOT_BUILT_IN])
def test_what_lies_in_the_request_is_permanent_unless_a_redirect_led_there(code: int) -> None:
    message = 'Protocol "x" not supported'
    assert failed(code, about(message=message)).kind is OutcomeKind.UNSENDABLE
    assert failed(code, about(message=message, redirects=1)).kind is OutcomeKind.CONNECTION


def test_reasons_are_bounded() -> None:
    outcome = failed(pycurl.E_SSL_CONNECT_ERROR, about(message="x" * 10_000))
    assert outcome.error is not None
    assert len(outcome.error) == ERROR_LENGTH_MAX


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://a.example", "a.example:80"),
        ("https://a.example/", "a.example:443"),
        ("http://[::1]:8080/", "[::1]:8080"),
        ("http://a.example:bad/", "the target"),
        ("", ":80"),
    ],
)
def test_reasons_name_host_and_port(url: str, host: str) -> None:
    assert failed(pycurl.E_COULDNT_RESOLVE_HOST, about(url=url)).error == f"unknown host {host}"
