"""What the API answers: frozen structs with its names in snake_case. Instants and durations are milliseconds."""

from tasks_server.client.results.audit import AuditEntry
from tasks_server.client.results.base import Result
from tasks_server.client.results.bulk import Bulk, BulkSight
from tasks_server.client.results.callbacks import Callback, CallbackHandler, Callbacks
from tasks_server.client.results.handler_tasks import Created, HandlerLine, HandlerNotes, HandlerTask, ListedHandlerTask
from tasks_server.client.results.lanes import Lane, LaneTasks
from tasks_server.client.results.logs import LogEntry
from tasks_server.client.results.monitor import Health, Stats
from tasks_server.client.results.owners import (
    IssuedKey,
    ListedOwner,
    Owner,
    OwnerKey,
    RegisteredOwner,
    Signing,
    SigningSecret,
)
from tasks_server.client.results.schedules import FireTime, ListedSchedule, MissedRuns, Preview, Schedule
from tasks_server.client.results.tasks import (
    FINAL,
    Attempt,
    Batch,
    Engines,
    Explanation,
    Gate,
    Line,
    ListedTask,
    NewTask,
    Notes,
    Redirected,
    ScheduleRun,
    Spec,
    State,
    Task,
    TaskDetail,
    TaskHead,
    TimelineEntry,
)

__all__ = [
    "Attempt",
    "AuditEntry",
    "Batch",
    "Bulk",
    "BulkSight",
    "Callback",
    "CallbackHandler",
    "Callbacks",
    "Created",
    "Engines",
    "Explanation",
    "FINAL",
    "FireTime",
    "Gate",
    "HandlerLine",
    "HandlerNotes",
    "HandlerTask",
    "Health",
    "IssuedKey",
    "Lane",
    "LaneTasks",
    "Line",
    "ListedHandlerTask",
    "ListedOwner",
    "ListedSchedule",
    "ListedTask",
    "LogEntry",
    "MissedRuns",
    "NewTask",
    "Notes",
    "Owner",
    "OwnerKey",
    "Preview",
    "Redirected",
    "RegisteredOwner",
    "Result",
    "Schedule",
    "ScheduleRun",
    "Signing",
    "SigningSecret",
    "Spec",
    "State",
    "Stats",
    "Task",
    "TaskDetail",
    "TaskHead",
    "TimelineEntry",
]
