"""Keeps the settings of lanes. Who changes one holds it, and so is alone with it."""

from collections.abc import Sequence

from tasks_server.domain.errors import RequestError
from tasks_server.domain.lane import Lane
from tasks_server.store.lanes import changed_lane, counts_by_lane, lane_columns, lane_of, page_of, refused
from tasks_server.store.laning import DecideLane, LanePage, LaneRefusal
from tasks_server.store.postgres.folding import Folded
from tasks_server.store.postgres.link import Connection, one
from tasks_server.store.postgres.rows import storable
from tasks_server.store.postgres.statements import sql
from tasks_server.store.postgres.submitting import Lanes
from tasks_server.store.sealing import Sealer


class Lanings:
    """The batch functions about lanes. All items of a batch that changes anything are one transaction, done in the
    order of their names, so that two batches seldom wait for each other in a circle.
    """

    def __init__(self, lanes: Lanes, folded: Folded, sealer: Sealer) -> None:
        self._lanes = lanes
        self._folded = folded
        self._sealer = sealer

    def page(self, connection: Connection, items: Sequence[tuple[str, str, int]]) -> Sequence[LanePage]:
        """Each item is an owner, the name to go on after, and how many to give."""
        answers = []
        for owner, after, limit in items:
            names = {"owner": storable(owner), "after": storable(after), "count_max": limit}
            rows = connection.execute(sql("lanes_list"), names).fetchall()
            counted = self._counts(connection, owner, [row[0] for row in rows]) if rows else ()
            answers.append(page_of(self._sealer, owner, rows, counted, limit))
        return answers

    def read(self, connection: Connection, items: Sequence[tuple[str, str]]) -> Sequence[Lane | None]:
        """Each item is an owner and a name."""
        return [self._find(connection, owner, name)[1] for owner, name in items]

    def change(
        self, connection: Connection, items: Sequence[tuple[str, str, DecideLane, int]]
    ) -> Sequence[Lane | LaneRefusal | RequestError | None]:
        """Each item is an owner, a name, what to decide, and how many lanes an owner may have."""
        answers: list[Lane | LaneRefusal | RequestError | None] = [None] * len(items)
        with connection.transaction():
            for index in sorted(range(len(items)), key=lambda index: items[index][:2]):
                answers[index] = self._change(connection, *items[index])
        return answers

    def delete(
        self, connection: Connection, items: Sequence[tuple[str, str, int, bool]]
    ) -> Sequence[LaneRefusal | bool]:
        """Each item is an owner, a name, the instant, and whether also one that the operator paused."""
        answers: list[LaneRefusal | bool] = [False] * len(items)
        with connection.transaction():
            for index in sorted(range(len(items)), key=lambda index: items[index][:2]):
                answers[index] = self._delete(connection, *items[index])
        return answers

    def _change(
        self, connection: Connection, owner: str, name: str, decide: DecideLane, count_max: int
    ) -> Lane | LaneRefusal | RequestError | None:
        seq, before = self._held(connection, owner, name)
        try:
            change = decide(before)
            if change is None:
                return before
            if seq is None:
                made = self._made(connection, owner, name, count_max)
                if isinstance(made, LaneRefusal):
                    return made
                seq = made
                _, before = self._held(connection, owner, name)
                change = decide(before)  # another may have made it at the same time
        except RequestError as refusal:
            return refusal
        if change is None:
            return before
        connection.execute(sql("lane_change"), lane_columns(self._sealer, owner, name, seq, change))
        connection.execute(sql("lane_bucket_delete"), {"seq": seq})
        connection.execute(sql("lane_bucket_insert"), {"lane": seq, "full_at": change.facts.full_at})
        return changed_lane(name, before, change)

    def _made(self, connection: Connection, owner: str, name: str, count_max: int) -> int | LaneRefusal:
        row = connection.execute(sql("owner_handle"), {"id": storable(owner)}).fetchone()
        if row is None:
            return LaneRefusal.UNKNOWN_OWNER
        if one(connection, sql("lanes_count"), {"owner": row[0], "count_max": count_max})[0] >= count_max:
            return LaneRefusal.FULL
        return self._lanes.handle(connection, row[0], name)

    def _delete(self, connection: Connection, owner: str, name: str, now: int, held_too: bool) -> LaneRefusal | bool:
        seq, found = self._held(connection, owner, name)
        if (refusal := refused(found, held_too=held_too)) is not None:
            return refusal
        connection.execute(sql("lane_delete"), {"seq": seq, "now": now})
        connection.execute(sql("lane_bucket_delete"), {"seq": seq})
        return True

    def _held(self, connection: Connection, owner: str, name: str) -> tuple[int | None, Lane | None]:
        """The lane, as whoever held it before left it; held for the rest of the transaction."""
        seq, _ = self._find(connection, owner, name)
        if seq is None:
            return None, None
        connection.execute(sql("lane_lock"), {"seq": seq})
        return self._find(connection, owner, name)

    def _find(self, connection: Connection, owner: str, name: str) -> tuple[int | None, Lane | None]:
        """The lane's handle, if it was ever used; and the lane, if it is to be seen."""
        names = {"owner": storable(owner), "name": storable(name)}
        row = connection.execute(sql("lane_by_name"), names).fetchone()
        if row is None:
            return None, None
        counts = counts_by_lane(self._counts(connection, owner, [row[0]]))[row[0]]
        return row[0], lane_of(self._sealer, owner, row, counts)

    def _counts(self, connection: Connection, owner: str, lanes: list[int]) -> Sequence[Sequence[object]]:
        asked = {"owner": storable(owner), "lanes": lanes, "folded": self._folded.until}
        return connection.execute(sql("lane_counts"), asked).fetchall()
