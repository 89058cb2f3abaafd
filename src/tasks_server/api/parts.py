"""The services that routes are made over, the API's and the pages'."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import tzinfo

from tasks_server.api.admin_keys import AdminKeys
from tasks_server.clock import Clock
from tasks_server.service.audit import AuditService
from tasks_server.service.bulks import BulkService
from tasks_server.service.callbacks import CallbackService
from tasks_server.service.explain import ExplainService
from tasks_server.service.journal import JournalService
from tasks_server.service.lanes import LaneService
from tasks_server.service.monitoring import MonitorService
from tasks_server.service.named import NamedService
from tasks_server.service.owners import OwnerService
from tasks_server.service.schedules import ScheduleService
from tasks_server.service.tasks import TaskService


@dataclass(frozen=True)
class Parts:
    """One of each. Dates without a zone count in `zone`; `admin_keys` gives the operator's keys as they are now."""

    clock: Clock
    zone: tzinfo
    owners: OwnerService
    tasks: TaskService
    schedules: ScheduleService
    bulks: BulkService
    lanes: LaneService
    callbacks: CallbackService
    explain: ExplainService
    journal: JournalService
    audit: AuditService
    monitor: MonitorService
    named: NamedService
    admin_keys: Callable[[], AdminKeys]
