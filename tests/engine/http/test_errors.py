"""Every way in which libcurl can fail has a kind and a plain reason."""

import errno

import pycurl
import pytest

from tasks_server.domain.attempt import OutcomeKind
from tasks_server.domain.limits import ERROR_LENGTH_MAX
from tasks_server.engine.http.errors import FAILURES, Circumstances, failed

# pycurl has no name for the newest codes; libcurl has words for each that it knows, and these for the others.
NO_WORDS = pycurl.easy_strerror(9_999)
CODES = [code for code in range(1, 1_000) if pycurl.easy_strerror(code) != NO_WORDS]


def about(**changes: object) -> Circumstances:
    values: dict[str, object] = {
        "url": "https://me:secret@host.example/path?token=secret",
        "message": "words of libcurl",
        "os_errno": 0,
        "redirects": 0,
        "redirects_max": 8,
        "timeout_ms": 1_000,
        "elapsed_ms": 1_000,
        "sent": False,
        "heard": False,
    }
    return Circumstances(**(values | changes))  # type: ignore[arg-type]  # the fields of one


def test_every_code_that_libcurl_knows_is_mapped() -> None:
    assert [code for code in CODES if code not in FAILURES] == []
    assert len(CODES) > 80


@pytest.mark.parametrize("sent", [False, True])
@pytest.mark.parametrize("code", sorted(FAILURES))
def test_every_code_ends_in_a_plain_reason_without_secrets(code: int, sent: bool) -> None:
    outcome = failed(code, about(sent=sent))
    kinds = (OutcomeKind.CONNECTION, OutcomeKind.TIMEOUT, OutcomeKind.UNSENDABLE)
    assert outcome.kind in kinds
    assert outcome.error
    assert "{" not in outcome.error
    assert "secret" not in outcome.error
    assert (outcome.kind is OutcomeKind.TIMEOUT) == (code == pycurl.E_OPERATION_TIMEDOUT)


@pytest.mark.parametrize("code", sorted(FAILURES))
def test_what_was_sent_can_be_sent(code: int) -> None:
    """Once it went out, nothing is the request's fault: another attempt may get another answer."""
    assert failed(code, about(sent=True)).kind is not OutcomeKind.UNSENDABLE
    assert failed(code, about(heard=True, proxy="proxy.test:1")).kind is not OutcomeKind.UNSENDABLE


def test_what_the_system_gives_up_is_no_timeout() -> None:
    gave_up = failed(pycurl.E_OPERATION_TIMEDOUT, about(os_errno=errno.ETIMEDOUT, elapsed_ms=10, sent=True))
    assert gave_up.kind is OutcomeKind.CONNECTION
    assert gave_up.error == "no answer from host.example:443 to the attempt to connect"
    late = failed(pycurl.E_OPERATION_TIMEDOUT, about(os_errno=errno.ETIMEDOUT, elapsed_ms=990))
    assert (late.kind, late.error) == (OutcomeKind.TIMEOUT, "no answer from host.example:443 within 1000 ms")


def test_a_code_that_nobody_knows_is_a_failure_all_the_same() -> None:
    outcome = failed(999, about())
    assert (outcome.kind, outcome.status_code) == (OutcomeKind.CONNECTION, 0)
    assert outcome.error == "the HTTP library failed: words of libcurl"


@pytest.mark.parametrize("code", [pycurl.E_URL_MALFORMAT, pycurl.E_UNSUPPORTED_PROTOCOL, pycurl.E_NOT_BUILT_IN])
def test_what_lies_in_the_request_is_permanent_unless_a_redirect_led_there(code: int) -> None:
    assert failed(code, about()).kind is OutcomeKind.UNSENDABLE
    assert failed(code, about(redirects=1)).kind is OutcomeKind.CONNECTION


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


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM])
def test_what_this_machine_lacks_is_no_failure_of_the_task(number: int) -> None:
    outcome = failed(pycurl.E_COULDNT_CONNECT, about(os_errno=number))
    assert (outcome.kind, outcome.status_code) == (OutcomeKind.INTERRUPTED, 0)
    assert outcome.lacking is not None
    assert outcome.error == f"given back: the server has run out of {outcome.lacking}"
    after = failed(pycurl.E_COULDNT_CONNECT, about(os_errno=number, sent=True))
    assert (after.kind, after.lacking) == (OutcomeKind.CONNECTION, None), "a target may have seen it"


def test_without_ipv6_its_addresses_cannot_be_called() -> None:
    outcome = failed(pycurl.E_COULDNT_CONNECT, about(os_errno=errno.EADDRNOTAVAIL, by_ipv4=False))
    assert (outcome.kind, outcome.lacking) == (OutcomeKind.CONNECTION, None)


@pytest.mark.parametrize("code", [pycurl.E_COULDNT_RESOLVE_HOST, 77])
def test_a_name_or_the_authorities_may_lack_a_descriptor_too(code: int) -> None:
    assert failed(code, about(os_errno=errno.EMFILE)).lacking is not None
    assert failed(code, about()).lacking is None
