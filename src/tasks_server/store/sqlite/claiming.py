"""Promotes and claims: one look is one transaction, and each of its steps does the whole batch."""

import itertools
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import apsw
import msgspec

from tasks_server.store.ports import Choose, Claim, Claimed, Group, Line, Look, Quota
from tasks_server.store.rooms import NO_ROOMS, Rooms, Spot, Walk, lines_cut, tell
from tasks_server.store.rows import NODE_SHIFT, facts_of
from tasks_server.store.sealed_texts import opened_error
from tasks_server.store.sealing import Sealer, spec_context
from tasks_server.store.sqlite.nodes import Nodes
from tasks_server.store.sqlite.rows import pack, single, unpack
from tasks_server.store.sqlite.statements import sql
from tasks_server.store.sqlite.tally import Tally

_PROMOTE_MAX: Final = 500
"""Tasks promoted by one look: a few ms of work, so that a look stays short in a burst."""
_SHARED_OWNERS_MAX: Final = 256
_SHARED_EACH_MAX: Final = 64
_SERIAL_MASK: Final = (1 << NODE_SHIFT) - 1


class _Row(msgspec.Struct, array_like=True):
    ref: int
    id: str
    owner: int
    lane: int
    target: str
    attempt: int
    created_at: int
    due_at: int
    failures: int
    repeats: int
    status_code: int
    error: str | None
    remaining_ms: int | None
    expire_at: int | None
    spec: str


_ROWS: Final = msgspec.json.Decoder(list[_Row])


class Claims:
    """The batch function that claims."""

    def __init__(self, nodes: Nodes, sealer: Sealer) -> None:
        self._nodes = nodes
        self._sealer = sealer
        self._serial = itertools.count(1)
        self._shared_after = -1
        self._walk = Walk()

    def claim(self, connection: apsw.Connection, items: Sequence[tuple[Look, Choose]]) -> Sequence[Claimed]:
        """Each item is one look."""
        return [self._look(connection, look, choose) for look, choose in items]

    def open(self, claimed: Claimed) -> Claimed:
        """The same with the specs opened. One that cannot be read is left empty, which nobody can send: the task fails
        by itself and the others of the look are not held up.
        """
        for claim in claimed.claims:
            claim.spec, claim.unreadable = self._sealer.look(claim.spec, spec_context(claim.id))
            if claim.error is not None:
                claim.error, _ = opened_error(claim.error, claim.id, self._sealer)
        return claimed

    def _look(self, connection: apsw.Connection, look: Look, choose: Choose) -> Claimed:
        promoted, next_due_at = self._promote(connection, look.horizon)
        groups, rooms, line_resume, cut = _groups(connection, look, self._walk.spot)
        groups_resume, hidden = rooms.resume(cut), self._walk.go_on(cut, rooms)
        quotas = rooms.trim(choose(groups, rooms.counts)) if groups else []
        claims = self._take(connection, quotas, look) if quotas else []
        buckets = rooms.take(claims)
        if buckets:
            connection.execute(sql("buckets_write"), {"rows": pack([(lane, after) for lane, _, after in buckets])})
        more = groups_resume is not None or line_resume is not None or promoted == _PROMOTE_MAX
        return tell(
            Claimed(claims, next_due_at, promoted, line_resume, groups_resume, more), rooms, quotas, hidden=hidden
        )

    def _promote(self, connection: apsw.Connection, horizon: int) -> tuple[int, int | None]:
        """The earliest due tasks go in line; when there are more than one look takes, owners share the look."""
        parameters = {"horizon": horizon, "count_max": _PROMOTE_MAX}
        found, next_due_at = single(connection, "due_find", parameters)
        due = {seq: (lane, state) for seq, lane, state in unpack(found)}
        if len(due) == _PROMOTE_MAX:
            shared = self._share_of_all(connection, horizon) | due
            due = dict(itertools.islice(shared.items(), _PROMOTE_MAX))
        if due:
            connection.execute(sql("promote"), {"seqs": pack(list(due))})
            tally = Tally()
            for (lane, state), count in Counter(due.values()).items():
                tally.leave(0, lane, state, count)
                tally.enter(0, lane, "available", count)  # the same owner before and after: nothing to add
            tally.write(connection)
        return len(due), next_due_at

    def _share_of_all(self, connection: apsw.Connection, horizon: int) -> dict[int, tuple[int, str]]:
        """Some due tasks of each of many owners, first the earliest of each: a burst of one is no wait for others."""
        parameters = {
            "owner": self._shared_after,
            "owners_max": _SHARED_OWNERS_MAX,
            "each_max": _SHARED_EACH_MAX,
            "horizon": horizon,
        }
        found = unpack(single(connection, "due_share", parameters)[0])
        self._shared_after = found[-1][0] if len(found) == _SHARED_OWNERS_MAX else -1
        rounds = itertools.zip_longest(*(due for _, due in found))
        return {row[0]: (row[1], row[2]) for turn in rounds for row in turn if row is not None}

    def _take(self, connection: apsw.Connection, quotas: Sequence[Quota], look: Look) -> list[Claim]:
        seqs = _pick(connection, quotas)
        if not seqs:
            return []
        lease = (self._nodes.number << NODE_SHIFT) | (next(self._serial) & _SERIAL_MASK)
        packed = pack(seqs)
        taking = {"seqs": packed, "lease": lease, "lease_until": look.lease_until, "now": look.now}
        connection.execute(sql("claim"), taking)
        (text,) = single(connection, "claimed", {"seqs": packed})
        rows = _ROWS.decode(text)
        tally = Tally()
        for (owner, lane), count in Counter((row.owner, row.lane) for row in rows).items():
            tally.leave(owner, lane, "available", count)
            tally.enter(owner, lane, "running", count)
        tally.write(connection)
        return [
            Claim(
                row.ref, lease, row.id, row.owner, row.lane, row.target, row.attempt, row.created_at, row.due_at,
                row.failures, row.repeats, row.status_code, row.error, row.remaining_ms, row.expire_at,
                bytes.fromhex(row.spec),
            )
            for row in rows
        ]  # fmt: skip


def _groups(
    connection: apsw.Connection, look: Look, limited_after: Spot
) -> tuple[list[Group], Rooms, Line | None, list[Group]]:
    """The groups to choose from, what their lanes allow, the line to resume after, the last groups of lines that have
    more.
    """
    after = look.after or Line(-1, -1)
    parameters = {
        "owner": after.owner,
        "lane": after.lane,
        "lines_max": look.lines_max,
        "groups_max": look.groups_max,
        "urgency": look.groups_after[0],
        "target": look.groups_after[1],
        "limited_urgency": limited_after[0],
        "limited_target": limited_after[1],
    }
    text, lines = single(connection, "groups_find", parameters)
    rows = unpack(text)
    found = [(Group(*row[:4]), row[4]) for row in rows if not row[5]]
    resume = Line(*max((row[0], row[1]) for row in rows)) if lines >= look.lines_max else None
    rooms = _rooms(connection, {group.lane for group, _ in found}, look.now)
    return rooms.open(found, look.targets_excluded), rooms, resume, lines_cut(found, look.groups_max)


def _rooms(connection: apsw.Connection, lanes: set[int], now: int) -> Rooms:
    """What those of the lanes allow that have limits or are paused."""
    if not lanes or not single(connection, "lanes_limited", {})[0]:
        return NO_ROOMS
    (text,) = single(connection, "lanes_running", {"lanes": pack(list(lanes))})
    return Rooms({row[0]: facts_of(row[1:]) for row in unpack(text)}, now)


def _pick(connection: apsw.Connection, quotas: Sequence[Quota]) -> list[int]:
    """The handles of the tasks to take. Quotas of one size are picked together."""
    by_count: dict[int, list[Any]] = {}
    for quota in quotas:
        group = quota.group
        by_count.setdefault(quota.count, []).append((group.owner, group.lane, group.urgency, group.target))
    seqs: list[int] = []
    for count, groups in by_count.items():
        parameters = {"groups": pack(groups), "count_max": count}
        (text,) = single(connection, "available_pick", parameters)
        seqs.extend(itertools.chain.from_iterable(unpack(text)))
    return seqs
