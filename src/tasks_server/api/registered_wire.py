"""What is answered to who registers tasks."""

import msgspec
from msgspec import UNSET, UnsetType

from tasks_server.api.states import state_word
from tasks_server.api.wire import TaskView
from tasks_server.domain import masking
from tasks_server.domain.task import NewTask, Task


class NewTaskView(TaskView, rename="camel"):
    """A task that was just registered. `hint`: what probably keeps it from running, such as a handler that no engine
    knows; not there as a rule.
    """

    hint: str | UnsetType = UNSET


class BatchView(msgspec.Struct):
    """The tasks of a batch, in its order."""

    tasks: list[NewTaskView]


def new_task_view(task: NewTask, hint: str | None = None) -> NewTaskView:
    metadata = masking.shown_entries(task.metadata)
    return NewTaskView(task.id, "RUNNING", task.created_at, 0, 0, task.due_at, None, metadata, hint=hint or UNSET)


def known_task_view(task: Task) -> NewTaskView:
    """One of a batch that was registered before, as it stands now, without its response."""
    return NewTaskView(
        id=task.id,
        state=state_word(task),
        created_at=task.created_at,
        status_code=task.status_code,
        estimate_end_at=task.ended_at,
        estimate_execution_at=task.execution_at,
        response=None,
        metadata=masking.shown_entries(task.metadata),
    )
