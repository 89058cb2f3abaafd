"""Rules of `httpRequest.cookie`, and the lines of a cookie file. Asked through `rules_options`.

What is accepted is sent: of cookies that are too many or too long together, libcurl would leave some out in silence.
"""

import base64
import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

from tasks_server.domain import limits, referrer, urls
from tasks_server.domain.errors import Fault
from tasks_server.domain.request import HttpRequest
from tasks_server.domain.rules import CONTROL, is_named

_FIELD: Final = "httpRequest.cookie"
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_LINE_FIELDS: Final = 7
_HTTP_ONLY: Final = "#HttpOnly_"
_SEPARATOR: Final = "; "
SECURE_COOKIES: Final = ("__secure-", "__host-")
"""How names of cookies begin, in lower case, that go by https only, or to this machine."""


def cookie_lines(text: str) -> list[str]:
    """The cookies of a Netscape cookie file in base64, one line each. Raises `ValueError` saying what is wrong."""
    try:
        content = base64.b64decode(text, validate=True).decode()
    except (ValueError, UnicodeError):
        raise ValueError("is not base64 of a text file") from None
    lines = []
    for number, line in enumerate(content.splitlines(), 1):
        if not line.strip() or (line.startswith("#") and not line.startswith(_HTTP_ONLY)):
            continue
        if len(line.split("\t")) != _LINE_FIELDS or CONTROL.search(line.replace("\t", "")):
            raise ValueError(f"has a line {number} that is not seven fields between tabs")
        lines.append(line)
    if not lines:
        raise ValueError("holds no cookie")
    return lines


def judge_cookie(request: HttpRequest, faults: list[Fault]) -> None:
    cookie = request.cookie
    if cookie is None:
        return
    if is_named(request, "cookie"):
        faults.append(Fault(_FIELD, "cannot be given together with a Cookie header", allowed="one of both"))
    if isinstance(cookie, str):
        try:
            lines = cookie_lines(cookie)
        except ValueError as error:
            faults.append(Fault(_FIELD, str(error), allowed="base64 of a Netscape cookie file, or an array"))
        else:
            _judge_together(_sent(lines, request.url), faults)
        return
    _judge_together([f"{one.name}={one.value}" for one in cookie], faults)
    for index, one in enumerate(cookie):
        if not _TOKEN.fullmatch(one.name):
            faults.append(Fault(f"{_FIELD}.{index}.name", "holds a character that no cookie's name may hold"))
        is_insecure = urls.is_url(request.url) and not referrer.is_trustworthy(request.url)
        if is_insecure and one.name.lower().startswith(SECURE_COOKIES):
            faults.append(
                Fault(f"{_FIELD}.{index}.name", "has a prefix that goes by https only", one.name, "an https URL")
            )
        if ";" in one.value:
            faults.append(Fault(f"{_FIELD}.{index}.value", "must not hold a semicolon"))


def _sent(lines: Sequence[str], url: str) -> list[str]:
    """The cookies of a file that fit a URL, as they are sent, those that have expired among them.

    >>> _sent(["a.test\\tFALSE\\t/\\tFALSE\\t0\\tone\\t1", ".a.test\\tTRUE\\t/x\\tFALSE\\t0\\ttwo\\t2"], "http://b.a.test/x/y")
    ['two=2']
    """
    if not urls.is_url(url):
        return []
    parts = urlsplit(url)
    host, path = (parts.hostname or "").lower(), parts.path or "/"
    found = []
    for line in lines:
        domain, is_tail, prefix, _, _, name, value = line.removeprefix(_HTTP_ONLY).split("\t")
        domain, prefix = domain.lstrip(".").lower(), prefix.rstrip("/")
        of_host = host == domain or (is_tail == "TRUE" and host.endswith(f".{domain}"))
        if of_host and (path == prefix or path.startswith(f"{prefix}/")):
            found.append(f"{name}={value}")
    return found


def _judge_together(sent: Sequence[str], faults: list[Fault]) -> None:
    length = len(_SEPARATOR.join(sent).encode())
    if length > limits.COOKIES_LENGTH_MAX:
        allowed = f"at most {limits.COOKIES_LENGTH_MAX} bytes"
        faults.append(Fault(_FIELD, "is too long as it is sent, all cookies in one line", f"{length} bytes", allowed))
    if len(sent) > limits.COOKIES_SENT_MAX:
        allowed = f"at most {limits.COOKIES_SENT_MAX}"
        faults.append(Fault(_FIELD, "holds too many cookies for this URL", len(sent), allowed))
