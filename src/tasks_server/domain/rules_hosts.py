"""Brings every host of a task's options into the ASCII form in which it is judged and called. Asked before any other
rule of the options, and only for tasks that have one; the URL itself is brought there by `rules`.
"""

import msgspec

from tasks_server.domain import shapes, urls
from tasks_server.domain.errors import Fault
from tasks_server.domain.hosts import ascii_host
from tasks_server.domain.options import REFERER_AUTO, Resolve
from tasks_server.domain.request import TaskConfig


def settle_hosts(config: TaskConfig, faults: list[Fault]) -> None:
    """Rewrites proxy, `resolve`, `dohUrl` and `refererUrl`. What cannot be rewritten stays, with a fault."""
    if config.proxy is not None and not config.proxy.host.isascii():
        host = _settled("config.proxy.host", config.proxy.host, faults)
        config.proxy = msgspec.structs.replace(config.proxy, host=host)
    if config.resolve is not None:
        config.resolve = [_resolve(index, entry, faults) for index, entry in enumerate(config.resolve)]
    if config.doh_url is not None:
        config.doh_url = _url("config.dohUrl", config.doh_url, urls.FORMS, faults)
    if config.referer_url is not None:
        config.referer_url = _referer(config.referer_url, faults)


def _referer(text: str, faults: list[Fault]) -> str:
    """Whether it is a URL or that one word, which is understood in any case."""
    if text.upper() == REFERER_AUTO:
        return REFERER_AUTO
    return _url("config.refererUrl", text, f"{urls.FORMS}, or {REFERER_AUTO}", faults)


def _resolve(index: int, entry: Resolve, faults: list[Fault]) -> Resolve:
    if entry.host.isascii():
        return entry
    return msgspec.structs.replace(entry, host=_settled(f"config.resolve.{index}.host", entry.host, faults))


def _settled(field: str, host: str, faults: list[Fault]) -> str:
    try:
        return ascii_host(host)
    except ValueError as error:
        faults.append(Fault(field, str(error), shapes.shown(host)))
        return "unknown"


def _url(field: str, text: str, forms: str, faults: list[Fault]) -> str:
    try:
        return urls.read_url(text)[0]
    except ValueError as error:
        faults.append(Fault(field, str(error), None, forms))
        return text
