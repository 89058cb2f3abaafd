"""Keeps the settings of lanes."""

from collections.abc import Sequence

import apsw

from tasks_server.domain.errors import RequestError
from tasks_server.domain.lane import Lane
from tasks_server.store.lanes import changed_lane, counts_by_lane, lane_columns, lane_of, page_of, refused
from tasks_server.store.laning import DecideLane, LanePage, LaneRefusal
from tasks_server.store.sealing import Sealer
from tasks_server.store.sqlite.rows import pack, single
from tasks_server.store.sqlite.statements import sql
from tasks_server.store.sqlite.submitting import Lanes


class Lanings:
    """The batch functions about lanes."""

    def __init__(self, lanes: Lanes, sealer: Sealer) -> None:
        self._lanes = lanes
        self._sealer = sealer

    def page(self, connection: apsw.Connection, items: Sequence[tuple[str, str, int]]) -> Sequence[LanePage]:
        """Each item is an owner, the name to go on after, and how many to give."""
        answers = []
        for owner, after, limit in items:
            names = {"owner": owner, "after": after, "count_max": limit}
            rows = connection.execute(sql("lanes_list"), names).fetchall()
            seqs = {"lanes": pack([row[0] for row in rows])}
            counted = connection.execute(sql("lane_counts"), seqs)
            answers.append(page_of(self._sealer, owner, rows, counted, limit))
        return answers

    def read(self, connection: apsw.Connection, items: Sequence[tuple[str, str]]) -> Sequence[Lane | None]:
        """Each item is an owner and a name."""
        return [self._find(connection, owner, name)[1] for owner, name in items]

    def change(
        self, connection: apsw.Connection, items: Sequence[tuple[str, str, DecideLane, int]]
    ) -> Sequence[Lane | LaneRefusal | RequestError | None]:
        """Each item is an owner, a name, what to decide, and how many lanes an owner may have."""
        return [self._change(connection, *item) for item in items]

    def delete(
        self, connection: apsw.Connection, items: Sequence[tuple[str, str, int, bool]]
    ) -> Sequence[LaneRefusal | bool]:
        """Each item is an owner, a name, the instant, and whether also one that the operator paused."""
        answers: list[LaneRefusal | bool] = []
        for owner, name, now, held_too in items:
            seq, found = self._find(connection, owner, name)
            if (refusal := refused(found, held_too=held_too)) is not None:
                answers.append(refusal)
                continue
            connection.execute(sql("lane_delete"), {"seq": seq, "now": now})
            connection.execute(sql("lane_bucket_delete"), {"seq": seq})
            answers.append(True)
        return answers

    def _change(
        self, connection: apsw.Connection, owner: str, name: str, decide: DecideLane, count_max: int
    ) -> Lane | LaneRefusal | RequestError | None:
        seq, before = self._find(connection, owner, name)
        try:
            change = decide(before)
        except RequestError as refusal:
            return refusal
        if change is None:
            return before
        if seq is None:
            row = connection.execute(sql("owner_by_id"), {"id": owner}).fetchone()
            if row is None:
                return LaneRefusal.UNKNOWN_OWNER
            if single(connection, "lanes_count", {"owner": row[5], "count_max": count_max})[0] >= count_max:
                return LaneRefusal.FULL
            seq = self._lanes.handle(connection, row[5], name)
        connection.execute(sql("lane_change"), lane_columns(self._sealer, owner, name, seq, change))
        connection.execute(sql("buckets_write"), {"rows": pack([(seq, change.facts.full_at)])})
        return changed_lane(name, before, change)

    def _find(self, connection: apsw.Connection, owner: str, name: str) -> tuple[int | None, Lane | None]:
        """The lane's handle, if it was ever used; and the lane, if it is to be seen."""
        row = connection.execute(sql("lane_by_name"), {"owner": owner, "name": name}).fetchone()
        if row is None:
            return None, None
        counted = connection.execute(sql("lane_counts"), {"lanes": pack([row[0]])})
        return row[0], lane_of(self._sealer, owner, row, counts_by_lane(counted)[row[0]])
