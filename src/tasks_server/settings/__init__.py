"""Every setting once, and how its value is found: flags, environment, a TOML file, defaults, in this order.

`table` is the list; `layers` looks them up and says where each came from; `document` writes `docs/settings.md`.
Only the command line and `wiring` import this; the processes that serve get plain values (`plans.Plan`).
"""

from tasks_server.settings.layers import Resolved, resolve
from tasks_server.settings.table import Settings

__all__ = ["Resolved", "Settings", "resolve"]
