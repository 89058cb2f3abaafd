"""The gates that lie in the engines: whether one is there, takes such tasks, and has room."""

from collections.abc import Iterator, Sequence

from tasks_server.domain import dates
from tasks_server.domain.gate import Gate
from tasks_server.domain.situation import Load, Situation
from tasks_server.domain.task import HANDLER_MARK


def there(situation: Situation) -> Iterator[Gate]:
    """Whether any engine takes tasks, such ones, and reaches the database."""
    alive = situation.alive()
    yield _engine(situation, len(alive))
    if not alive:
        return
    loads = situation.loads()
    yield _takes(situation, len(loads), len(alive))
    if loads:
        yield _database(loads)


def _engine(situation: Situation, alive: int) -> Gate:
    last = situation.engines[0] if situation.engines else None
    facts: dict[str, object] = {"alive": alive, "lastSeenAt": last.seen_at if last else None}
    if alive:
        return Gate("engine", False, f"{_many(alive, 'engine')} running", None, facts)
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


def _takes(situation: Situation, takers: int, alive: int) -> Gate:
    target = situation.task.target
    running = f"{_many(alive, 'engine')} running"
    facts: dict[str, object] = {"alive": alive, "takers": takers}
    if target.startswith(HANDLER_MARK):
        name = target.removeprefix(HANDLER_MARK)
        facts |= {"handler": name, "engines": [situation.named(engine.number) for engine in situation.alive()]}
        text = f"{takers} of them know the handler {name}" if takers else f"none of them knows the handler {name}"
        return Gate("handler", not takers, f"{running}, {text}", None, facts)
    text = f"{takers} of them send HTTP requests" if takers else "none of them sends HTTP requests"
    return Gate("http", not takers, f"{running}, {text}", None, facts)


def _database(loads: Sequence[Load]) -> Gate:
    trouble = [load.engine.facts.trouble for load in loads if load.engine.facts.trouble is not None]
    codes = sorted({one.code for one in trouble})
    facts = {"engines": len(loads), "inTrouble": len(trouble), "codes": codes}
    if trouble and len(trouble) == len(loads):
        return Gate("database", True, f"the database refuses the engines: {', '.join(codes)}", None, facts)
    return Gate("database", False, "the engines reach the database", None, facts)


def roomy(situation: Situation) -> Iterator[Gate]:
    """Whether an engine that takes such tasks has room for one more."""
    loads = situation.loads()
    if not loads:
        return
    full = not any(room(situation, load) for load in loads)
    taken, most = sum(load.total for load in loads), sum(load.engine.facts.slots for load in loads)
    closed = full and any(not load.engine.facts.limits().free(load.total) for load in loads)
    yield Gate("slots", closed, f"{taken} of {most} slots are taken", None, {"taken": taken, "slots": most})
    taken, most = sum(load.of_owner for load in loads), sum(load.engine.facts.owner_max for load in loads)
    closed = full and any(not load.engine.facts.limits().owner_room(load.of_owner) for load in loads)
    text = f"{taken} of the {most} slots that one owner may have are taken by tasks of this owner"
    yield Gate("owner_share", closed, text, None, {"taken": taken, "ownerMax": most})
    yield _target(situation, loads, full)


def _target(situation: Situation, loads: Sequence[Load], full: bool) -> Gate:
    target = situation.task.target
    taken = sum(load.to_target for load in loads)
    most = sum(load.engine.facts.limits().of_target(target) for load in loads)
    if not target.startswith(HANDLER_MARK):
        closed = full and any(not _target_room(situation, load) for load in loads)
        text = f"{taken} of at most {most} calls to {target} are in work"
        return Gate("host", closed, text, None, {"host": target, "taken": taken, "hostMax": most})
    closed = full and any(_target_room(situation, load) == 0 or _runs_room(situation, load) == 0 for load in loads)
    name = target.removeprefix(HANDLER_MARK)
    facts: dict[str, object] = {"handler": name, "taken": taken, "handlerMax": most}
    text = f"{taken} of at most {most} runs of the handler {name} are in work"
    runs_max = [load.engine.facts.runs_max for load in loads if _runs_room(situation, load) is not None]
    if runs_max:
        runs, all_max = sum(load.runs for load in loads), sum(one or 0 for one in runs_max)
        facts |= {"runs": runs, "runsMax": all_max}
        text += f", and {runs} of at most {all_max} of all handlers"
    return Gate("handler_limit", closed, text, None, facts)


def room(situation: Situation, load: Load) -> int:
    """How many more tasks like this one an engine would begin now."""
    limits = load.engine.facts.limits()
    rooms = [
        limits.free(load.total),
        limits.owner_room(load.of_owner),
        _target_room(situation, load),
        _runs_room(situation, load),
    ]
    return min(each for each in rooms if each is not None)


def _target_room(situation: Situation, load: Load) -> int:
    return load.engine.facts.limits().target_room(situation.task.target, load.to_target)


def _runs_room(situation: Situation, load: Load) -> int | None:
    """None: runs are not limited together, or this is none of them."""
    limits = load.engine.facts.limits()
    return limits.runs_room(load.runs) if situation.task.target in limits.target_maxes else None


def _many(count: int, what: str) -> str:
    return f"1 {what} is" if count == 1 else f"{count} {what}s are"
