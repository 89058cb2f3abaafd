"""How owners are kept, as far as all adapters do it alike."""

from typing import Any

from tasks_server.domain.owner import Owner


def owner_columns(seq: int, owner: Owner) -> dict[str, Any]:
    """What `owner_change` writes."""
    return {
        "seq": seq,
        "tasks_in_queue_max": owner.tasks_in_queue_max,
        "retention_ms": owner.retention_ms,
        "suspended_at": owner.suspended_at,
        "requests_max": owner.requests_max,
    }
