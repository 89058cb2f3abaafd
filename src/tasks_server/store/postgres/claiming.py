"""Promotes and claims: what is due stands in line, the engine chooses from the groups, and takes what nobody else is
taking. Three statements, each of them a transaction by itself; the first two in one round trip.
"""

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import msgspec

from tasks_server.clock import Clock
from tasks_server.store.ports import Choose, Claim, Claimed, Look, Quota
from tasks_server.store.postgres.folding import Folded
from tasks_server.store.postgres.heads import Heads, Waiting
from tasks_server.store.postgres.link import Connection, one
from tasks_server.store.postgres.rows import pack
from tasks_server.store.postgres.statements import sql
from tasks_server.store.rooms import NO_ROOMS, Rooms, Walk, tell
from tasks_server.store.rows import NODE_SHIFT, facts_of
from tasks_server.store.sealed_texts import opened_error
from tasks_server.store.sealing import Sealer, spec_context

_PROMOTE_MAX: Final = 500
"""Tasks promoted by one look: a few ms of work, so that a look stays short in a burst."""
_SHARED_OWNERS_MAX: Final = 256
_SHARED_EACH_MAX: Final = 64
_SERIAL_MASK: Final = (1 << NODE_SHIFT) - 1


class Claims:
    """The batch function that claims. `number` gives this process's number among the nodes."""

    def __init__(self, number: Callable[[Connection], int], folded: Folded, sealer: Sealer, clock: Clock) -> None:
        self._number = number
        self._folded = folded
        self._sealer = sealer
        self._heads = Heads(clock)
        self._waiting = Waiting(clock)
        self._serial = itertools.count(1)
        self._shared_after = -1
        self._walk = Walk()
        self._untold: list[int] = []

    def claim(self, connection: Connection, items: Sequence[tuple[Look, Choose]]) -> Sequence[Claimed]:
        """Each item is one look."""
        if self._untold:
            connection.execute(sql("unclaim"), {"leases": self._untold})
            self._untold.clear()
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

    def _look(self, connection: Connection, look: Look, choose: Choose) -> Claimed:
        promoted, next_due_at = self._promote(connection, look)
        seen = self._heads.look(connection, look, self._walk.spot)
        rooms = self._rooms(connection, seen.limited, look.now) if seen.limited else NO_ROOMS
        groups = rooms.open(seen.groups, look.targets_excluded)
        groups_resume, hidden = rooms.resume(seen.cut), self._walk.go_on(seen.cut, rooms)
        quotas = rooms.trim(choose(groups, rooms.counts)) if groups else []
        claims: list[Claim] = []
        if quotas:
            claims, rooms = self._take(connection, quotas, look, rooms)
        more = groups_resume is not None or seen.resume is not None or promoted >= _PROMOTE_MAX
        return tell(
            Claimed(claims, next_due_at, promoted, seen.resume, groups_resume, more), rooms, quotas, hidden=hidden
        )

    def _rooms(self, connection: Connection, lanes: Iterable[int], now: int) -> Rooms:
        """What these lanes allow, as all see it now."""
        asked = {"lanes": list(lanes), "folded": self._folded.until}
        rows = connection.execute(sql("lanes_running"), asked, binary=True).fetchall()
        return Rooms({row[0]: facts_of(row[1:]) for row in rows}, now)

    def _promote(self, connection: Connection, look: Look) -> tuple[int, int | None]:
        """The earliest due tasks go in line; when there are more than one look takes, owners share the next ones."""
        begun = self._waiting.begin(look.now)
        parameters = {"horizon": look.horizon, "due_at": begun[0], "seq": begun[1], "count_max": _PROMOTE_MAX}
        count, due_at, seq, next_due_at, groups = one(connection, sql("promote"), parameters)
        self._waiting.end(begun, None if due_at is None else (due_at, seq))
        if groups:
            self._heads.joined(groups)
        if count == _PROMOTE_MAX:
            count += self._share(connection, look.horizon)
        return count, next_due_at

    def _share(self, connection: Connection, horizon: int) -> int:
        """Some due tasks of each of many owners go in line, too: a burst of one is no wait for others."""
        parameters = {
            "owner": self._shared_after,
            "owners_max": _SHARED_OWNERS_MAX,
            "each_max": _SHARED_EACH_MAX,
            "horizon": horizon,
        }
        count, owners, last = one(connection, sql("promote_share"), parameters)
        self._shared_after = last if owners == _SHARED_OWNERS_MAX else -1
        return int(count)

    def _take(
        self, connection: Connection, quotas: Sequence[Quota], look: Look, rooms: Rooms
    ) -> tuple[list[Claim], Rooms]:
        """What of the quotas nobody else is taking; and what the lanes allow, as it was known in the end."""
        lease = (self._number(connection) << NODE_SHIFT) | (next(self._serial) & _SERIAL_MASK)
        plain = [quota for quota in quotas if quota.group.lane not in rooms.counts]
        limited = [quota for quota in quotas if quota.group.lane in rooms.counts]
        try:
            claims = self._claim(connection, plain, look, lease) if plain else []
            if limited:
                taken, rooms = self._take_limited(connection, limited, look, lease, rooms)
                claims += taken
        except Exception:
            self._untold.append(lease)  # taken, maybe, and nobody knows: given back before the next look
            raise
        return claims, rooms

    def _take_limited(
        self, connection: Connection, quotas: Sequence[Quota], look: Look, lease: int, rooms: Rooms
    ) -> tuple[list[Claim], Rooms]:
        """Takes from lanes with limits, alone with each of them, and counts it in before anybody else may take from
        them. From lanes that another process is taking from just now, nothing: nobody waits for anybody here, so that
        a process that stops in the midst of it holds up nobody else's tasks.
        """
        wanted = {quota.group.lane for quota in quotas}
        with connection.pipeline(), connection.transaction():
            locked = connection.execute(sql("lanes_lock"), {"lanes": list(wanted)})
            rooms = self._rooms(connection, rooms.counts, look.now)
            rooms.leave(wanted - {seq for (seq,) in locked})
            trimmed = rooms.trim(quotas)
            claims = self._claim(connection, trimmed, look, lease) if trimmed else []
            buckets = rooms.take(claims)
            if buckets:
                connection.execute(sql("buckets_write"), {"rows": pack(buckets)})
        return claims, rooms

    def _claim(self, connection: Connection, quotas: Sequence[Quota], look: Look, lease: int) -> list[Claim]:
        parameters: dict[str, Any] = {
            "groups": pack([(*_fields(quota.group), *self._heads.where(quota.group), quota.count) for quota in quotas]),
            "lease": lease,
            "lease_until": look.lease_until,
            "now": look.now,
        }
        rows = connection.execute(sql("claim"), parameters, binary=True).fetchall()
        rows.sort(key=lambda row: (row[15], row[7], row[0]))
        return [
            Claim(
                row[0], lease, row[1], row[2], row[3], row[4], row[5], row[6], row[7], row[8], row[9], row[10], row[11],
                row[12], row[13], row[14],
            )
            for row in rows
        ]  # fmt: skip


def _fields(group: msgspec.Struct) -> tuple[Any, ...]:
    return msgspec.structs.astuple(group)
