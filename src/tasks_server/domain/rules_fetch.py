"""Rules of the options that are fetch's: `credentials`, `mode`, `referrerPolicy`. Asked through `rules_options`.

What `no-cors` allows is what the Fetch standard calls CORS-safelisted: what a plain form on a page could send.
"""

import re
from typing import Final

from tasks_server.domain.errors import Fault
from tasks_server.domain.request import BODILESS_METHODS, HttpRequest, TaskConfig

FETCH_MODE_HEADER: Final = "Sec-Fetch-Mode"
_SAFE_METHODS: Final = ("GET", "HEAD", "POST")
_SAFE_TYPES: Final = ("application/x-www-form-urlencoded", "multipart/form-data", "text/plain")
_SAFE_LENGTH_MAX: Final = 128
_UNSAFE: Final = re.compile(r'[\x00-\x08\x0a-\x1f"():<>?@\[\\\]{}\x7f]')
_LANGUAGE: Final = re.compile(r"[0-9A-Za-z *,.;=-]*")
_HEADERS: Final = "Accept, Accept-Language, Content-Language, Content-Type"


def judge_fetch(request: HttpRequest, config: TaskConfig, faults: list[Fault]) -> None:
    """Judges the options that only transport fetch has."""
    given = {"credentials": config.credentials, "mode": config.mode, "referrerPolicy": config.referrer_policy}
    named = [name for name, value in given.items() if value is not None]
    if request.transport == "curl":
        faults.extend(Fault(f"config.{name}", "is possible with transport fetch only", given[name]) for name in named)
        return
    headers = {name.lower() for name in request.headers or ()}
    if config.referrer_policy is not None and "referer" in headers:
        faults.append(Fault("config.referrerPolicy", "cannot be given together with a Referer header; use refererUrl"))
    if config.credentials in ("same-origin", "include") and "cookie" in headers:
        what = "cannot be given together with a Cookie header; give the cookies in httpRequest.cookie"
        faults.append(Fault("config.credentials", what))
    if config.location_trusted is not None and config.credentials in ("omit", "same-origin"):
        what = f"cannot be given together with credentials {config.credentials}, which is its opposite"
        faults.append(Fault("config.locationTrusted", what))
    if config.mode is not None and FETCH_MODE_HEADER.lower() in headers:
        faults.append(Fault("config.mode", f"cannot be given together with a {FETCH_MODE_HEADER} header"))
    if config.mode == "no-cors":
        _judge_no_cors(request, config, faults)


def _judge_no_cors(request: HttpRequest, config: TaskConfig, faults: list[Fault]) -> None:
    if request.method not in _SAFE_METHODS:
        faults.append(_refused("httpRequest.method", "is not allowed", ", ".join(_SAFE_METHODS)))
    if not config.location or not config.redirect_attempts:
        name = "redirectAttempts" if config.location else "location"
        faults.append(_refused(f"config.{name}", "must allow redirects"))
    for name, value in (request.headers or {}).items():
        _judge_header(name, value, faults)
    has_type = any(name.lower() == "content-type" for name in request.headers or ())
    if has_type or request.method in BODILESS_METHODS:
        return
    if request.json is not None:
        faults.append(_refused("httpRequest.data", "cannot be JSON unless a Content-Type header says text/plain"))
    elif request.data_base64 is not None:
        faults.append(_refused("httpRequest.dataBase64", "needs a Content-Type header", ", ".join(_SAFE_TYPES)))


def _judge_header(name: str, value: str, faults: list[Fault]) -> None:
    field, allowed = f"httpRequest.headers.{name.strip()}", f"at most {_SAFE_LENGTH_MAX} plain characters"
    match name.lower():
        case "accept":
            fits = _UNSAFE.search(value) is None
        case "accept-language" | "content-language":
            fits = _LANGUAGE.fullmatch(value) is not None
        case "content-type":
            fits = _UNSAFE.search(value) is None and value.partition(";")[0].strip().lower() in _SAFE_TYPES
            allowed = f"{', '.join(_SAFE_TYPES)}; {allowed}"
        case _:
            faults.append(_refused(field, "is not allowed", _HEADERS))
            return
    if not fits or len(value.encode()) > _SAFE_LENGTH_MAX:
        faults.append(_refused(field, "has a value that is not allowed", allowed))


def _refused(field: str, what: str, allowed: str | None = None) -> Fault:
    return Fault(field, f"{what} with mode no-cors", allowed=allowed)
