"""What a session of ours is like, whatever the server, the database or the role are set to.

Set is what would change what a statement of ours does, or make it fail, or take a thousand times as long. Not set is
what the operator chooses for us (`search_path`, tablespaces, `synchronous_commit` but for `off`); that nothing is to be
written (`default_transaction_read_only`), by which a database is frozen before it moves or its disk is full; and what
no statement of ours can feel: there are no types of date and time in them, no arrays with NULL, no policies on rows; a
transaction can only be deferrable where it is serializable.
"""

from typing import Final

STATEMENT_MS: Final = 30_000
"""No statement of ours takes so long, but those of an upgrade, which lift the limit."""
_TRANSACTION_TIMEOUT_SINCE: Final = 170_000

_TRANSACTION: Final[dict[str, str | int]] = {
    "statement_timeout": STATEMENT_MS,
    # A wait for a lock ends with its statement, not before: it is no fault to wait for whoever is at work.
    "lock_timeout": 0,
    "idle_in_transaction_session_timeout": STATEMENT_MS,
    # Rates of lanes come back as they were stored.
    "extra_float_digits": 1,
    # Statements are made for indexes; a plan that was right for an empty table would be kept for a full one.
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_nestloop": "on",
    "enable_indexscan": "on",
    "enable_indexonlyscan": "on",
    "enable_bitmapscan": "on",
    "enable_sort": "on",
    "enable_partition_pruning": "on",
    "plan_cache_mode": "auto",
    # Before PostgreSQL 18, a forbidden way has a price at which the server compiles the statement: 0.1 s each time.
    "jit": "off",
}
"""What holds within a transaction, and so can be said in each one."""
_SESSION: Final[dict[str, str | int]] = {
    # Ours wait for each other's locks and then see what was done. Stricter ones would be undone instead.
    "default_transaction_isolation": "read committed",
    # Who listens is quiet for long.
    "idle_session_timeout": 0,
    # What texts mean.
    "standard_conforming_strings": "on",
    "bytea_output": "hex",
    "TimeZone": "UTC",
    "DateStyle": "ISO",
}
"""What goes beyond a transaction, or is known to the driver or a pooler."""

_COMMIT: Final = "synchronous_commit"


def for_session(version: int, *, durable: bool) -> bytes:
    """The statement that sets a session up. `version`: of the server, as a number; `durable`: what is committed is on
    disk.
    """
    return _statement(_known(version) | _SESSION, durable=durable, local=False)


def for_transaction(version: int, *, durable: bool) -> bytes:
    """The statement that sets up the transaction in which it is the first one."""
    return _statement(_known(version), durable=durable, local=True)


def _known(version: int) -> dict[str, str | int]:
    """What the server of this version can be told."""
    return _TRANSACTION | ({"transaction_timeout": 0} if version >= _TRANSACTION_TIMEOUT_SINCE else {})


def _statement(values: dict[str, str | int], *, durable: bool, local: bool) -> bytes:
    """One statement for all of it. How far a durable commit goes is the operator's choice, if only it goes to disk."""
    end = f"{str(local).lower()})"
    parts = [f"set_config('{name}', '{value}', {end}" for name, value in values.items()]
    lazy = f"current_setting('{_COMMIT}') = 'off'"
    commit = f"CASE WHEN {lazy} THEN 'on' ELSE current_setting('{_COMMIT}') END" if durable else "'off'"
    parts.append(f"set_config('{_COMMIT}', {commit}, {end}")
    return f"SELECT {', '.join(parts)}".encode()
