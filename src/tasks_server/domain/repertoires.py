"""What engines together can run, and what to tell whoever names a handler that none of them knows."""

from collections.abc import Iterable
from difflib import get_close_matches

from tasks_server.domain.engines import Engine
from tasks_server.domain.task import HANDLER_MARK


def handlers_of(engines: Iterable[Engine]) -> frozenset[str]:
    """The names of all handlers that these engines know."""
    return frozenset(known.name for engine in engines for known in engine.facts.repertoire.handlers)


def meant(name: str, known: Iterable[str]) -> str | None:
    """The handler that was probably meant.

    >>> meant("send_mail", ["send-email", "ship"]), meant("Ship", ["send-email", "ship"]), meant("refund", ["ship"])
    ('send-email', 'ship', None)
    """
    by_form = {_form(each): each for each in sorted(known)}
    return next((by_form[near] for near in get_close_matches(_form(name), by_form, n=1, cutoff=0.7)), None)


def _form(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


def unknown_handler(target: str, known: frozenset[str]) -> str | None:
    """What to tell of a task whose handler no engine knows; None: one does, or it runs none."""
    name = target.removeprefix(HANDLER_MARK)
    if name == target or name in known:
        return None
    near = meant(name, known)
    asked = f"; did you mean {near}?" if near else ""
    return f"no engine that is running knows the handler {name}, so it waits until one does{asked}"
