"""A world with schedules."""

from collections.abc import Callable
from functools import partial

from tasks_server.domain import firing, schedule
from tasks_server.domain.firing import Firing, Template, encode_template
from tasks_server.domain.owner import Owner
from tasks_server.domain.request import HttpRequest, TaskConfig
from tasks_server.domain.schedule import Rule, Schedule
from tasks_server.domain.task import Task
from tasks_server.store.ports import TaskQuery
from tasks_server.store.scheduling import Fired, ScheduleChange, ScheduleRefusal

from .world import World

TEMPLATE = Template(
    HttpRequest("http://a.example/", "POST", data="hello"),
    TaskConfig(lane="slow", priority=7, retry=3),
    "a.example:80",
    metadata={"of": "schedule"},
)


class Calendar:
    """Makes schedules and fires them, as service and engine do."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.store = world.store

    def schedule(self, owner: Owner, name: str, rule: Rule | None = None) -> Schedule:
        """A new one, not stored yet."""
        now, known = self.world.now, self.world.task(owner)
        new = Schedule(known.id, owner.id, name, rule or Rule(every_ms=60_000), now, now, now)
        return schedule.begin(new, now)

    async def make(self, owner: Owner, name: str, rule: Rule | None = None, template: Template = TEMPLATE) -> Schedule:
        """A new one, stored."""
        made = ScheduleChange(self.schedule(owner, name, rule), encode_template(template))
        answer = await self.store.change_schedule(owner.id, name, lambda _, __: made, 1_000)
        assert answer == made.schedule
        return made.schedule

    async def change(
        self, owner: str | None, key: str, change: Callable[[Schedule], Schedule]
    ) -> Schedule | ScheduleRefusal | None:
        def decide(found: Schedule | None, _: bytes) -> ScheduleChange | None:
            return None if found is None else ScheduleChange(change(found))

        return await self.store.change_schedule(owner, key, decide, 1_000)

    async def read(self, made: Schedule) -> tuple[Schedule, bytes]:
        found = await self.store.schedule(None, made.id)
        assert found is not None
        return found

    async def fire(self, limit: int = 100) -> Fired:
        """One look, at what has come by now."""
        now = self.world.now
        return await self.store.fire(now, now, limit, partial(_fire, now))

    async def tasks(self, owner: Owner | None) -> list[Task]:
        """Each task, with the schedule that made it."""
        page = await self.store.tasks(TaskQuery(owner.id if owner else None, limit=1_000))
        return [await self.world.read(task.id) for task in page.tasks]


def _fire(
    now: int, found: Schedule, template: bytes, last: Task | None, room: int, has_task: Callable[[int], bool]
) -> Firing:
    return firing.fire(found, template, last, room, has_task, now, now)
