"""The gates that lie in the engines: whether one is there, takes such tasks, and has room."""

from collections.abc import Iterator, Sequence
from typing import Final

from tasks_server.domain import dates
from tasks_server.domain.engines import LATE_MS, Engine
from tasks_server.domain.gate import Gate
from tasks_server.domain.repertoires import handlers_of, meant
from tasks_server.domain.situation import Load, Situation
from tasks_server.domain.task import HANDLER_MARK

_TROUBLED_TOLD_MAX: Final = 3


def there(situation: Situation, loads: Sequence[Load]) -> Iterator[Gate]:
    """Whether any engine takes tasks, such ones, and reaches the database. `loads`: of all that take tasks."""
    yield _engine(situation, len(loads))
    if not loads:
        return
    takers = takers_of(situation, loads)
    yield _takes(situation, len(takers), loads)
    if takers:
        yield _database(takers)


def takers_of(situation: Situation, loads: Sequence[Load]) -> list[Load]:
    """Those of them that take tasks like this one."""
    return [load for load in loads if load.reach.has(situation.task.target)]


def _engine(situation: Situation, alive: int) -> Gate:
    last = situation.engines[0] if situation.engines else None
    facts: dict[str, object] = {"alive": alive, "lastSeenAt": last.seen_at if last else None}
    if alive:
        silent = [engine for engine in situation.engines if engine.silent(situation.now, LATE_MS)]
        text = "; ".join([f"{_many(alive, 'engine')} running", *(_silent(situation, engine) for engine in silent[:3])])
        return Gate("engine", False, text, None, facts | {"silent": [engine.number for engine in silent]})
    if last is None:
        return Gate("engine", True, "no engine has ever run on this database", None, facts)
    if last.facts.stopped_at:
        text = f"no engine is running since {dates.shown(last.facts.stopped_at)}, when the last one was stopped"
    elif last.lives and situation.now > last.seen_at:
        text = (
            f"no engine has been heard of since {dates.shown(last.seen_at)}; {situation.named(last.number)} may be "
            "there still, but cut off from the database or held up"
        )
    else:
        text = f"no engine is running since {dates.shown(last.seen_at)}"
    return Gate("engine", True, text, None, facts)


def _silent(situation: Situation, engine: Engine) -> str:
    return (
        f"{situation.named(engine.number)} has not been heard of since {dates.shown(engine.seen_at)}: it may hang, or "
        "be cut off from the database"
    )


def _takes(situation: Situation, takers: int, loads: Sequence[Load]) -> Gate:
    target, alive = situation.task.target, len(loads)
    facts: dict[str, object] = {"alive": alive, "takers": takers}
    name, does = "http", "sends HTTP requests"
    if target.startswith(HANDLER_MARK):
        handler = target.removeprefix(HANDLER_MARK)
        facts |= {"handler": handler, "engines": [situation.named(load.engine.number) for load in loads]}
        name, does = "handler", f"knows the handler {handler}"
    if takers:
        return Gate(name, False, f"{takers} of {alive} engines take such tasks", None, facts)
    text = f"no engine that is running {does} ({alive} running)"
    if name == "handler":
        near = meant(target.removeprefix(HANDLER_MARK), handlers_of(load.engine for load in loads))
        if near is not None:
            facts["didYouMean"] = near
            text += f"; did you mean {near}?"
        troubled = [load for load in loads if load.engine.facts.handlers_trouble is not None]
        facts["cannotImport"] = [situation.named(load.engine.number) for load in troubled]
        text = "; ".join([text, *(_cannot_import(situation, load.engine) for load in troubled[:_TROUBLED_TOLD_MAX])])
    return Gate(name, True, text, None, facts)


def _cannot_import(situation: Situation, engine: Engine) -> str:
    """Why an engine may know too few handlers. What the import said is the operator's business."""
    trouble = engine.facts.handlers_trouble
    assert trouble is not None
    said = f": {trouble.error.rstrip('.')}" if situation.operator else ""
    since = dates.shown(trouble.since)
    return f"{situation.named(engine.number)} cannot import its handlers since {since} and goes on trying{said}"


def _database(takers: Sequence[Load]) -> Gate:
    trouble = [load.engine.facts.trouble for load in takers if load.engine.facts.trouble is not None]
    codes = sorted({one.code for one in trouble})
    facts = {"engines": len(takers), "inTrouble": len(trouble), "codes": codes}
    if trouble and len(trouble) == len(takers):
        return Gate("database", True, f"the database refuses the engines: {', '.join(codes)}", None, facts)
    return Gate("database", False, "the engines reach the database", None, facts)


def roomy(situation: Situation, takers: Sequence[Load]) -> Iterator[Gate]:
    """Whether an engine that takes such tasks has room for one more."""
    if not takers:
        return
    target = situation.task.target
    full = not any(load.room(target) for load in takers)
    taken, most = sum(load.total for load in takers), sum(load.slots.total for load in takers)
    closed = full and any(not load.slots.free(load.total) for load in takers)
    yield Gate("slots", closed, f"{taken} of {most} slots are taken", None, {"taken": taken, "slots": most})
    yield _owner_share(takers, full)
    closed = full and any(not load.target_room(target) for load in takers)
    yield (_handler_limit if target.startswith(HANDLER_MARK) else _host)(target, takers, closed)


def _owner_share(takers: Sequence[Load], full: bool) -> Gate:
    taken, most = sum(load.of_owner for load in takers), sum(load.slots.owner_max for load in takers)
    kept = sum(load.slots.kept for load in takers)
    closed = full and any(
        load.slots.free(load.total) and not load.slots.owner_room(load.of_owner, load.total) for load in takers
    )
    text = f"{taken} slots are taken by tasks of this owner; owners may fill {most}"
    if kept:
        text += f", and {kept} more {'is' if kept == 1 else 'are'} kept for owners who hold few or none"
    return Gate("owner_share", closed, text, None, {"taken": taken, "ownerMax": most, "kept": kept})


def _host(target: str, takers: Sequence[Load], closed: bool) -> Gate:
    taken, most = _taken(target, takers)
    text = f"{taken} of at most {most} calls to {target} are in work"
    return Gate("host", closed, text, None, {"host": target, "taken": taken, "hostMax": most})


def _handler_limit(target: str, takers: Sequence[Load], closed: bool) -> Gate:
    taken, most = _taken(target, takers)
    name = target.removeprefix(HANDLER_MARK)
    facts: dict[str, object] = {"handler": name, "taken": taken, "handlerMax": most}
    text = f"{taken} of at most {most} runs of the handler {name} are in work"
    bounded = [load for load in takers if load.runs_room(target) is not None]
    if bounded:
        runs, all_max = sum(load.runs() for load in bounded), sum(load.slots.runs_max or 0 for load in bounded)
        facts |= {"runs": runs, "runsMax": all_max}
        text += f", and {runs} of at most {all_max} of all handlers"
    return Gate("handler_limit", closed, text, None, facts)


def _taken(target: str, takers: Sequence[Load]) -> tuple[int, int]:
    """How many tasks with this target are in work, of how many."""
    return sum(load.to_target(target) for load in takers), sum(load.slots.of_target(target) for load in takers)


def _many(count: int, what: str) -> str:
    return f"1 {what} is" if count == 1 else f"{count} {what}s are"
