"""The groups of methods, written once for both clients: what `Client` answers, `AsyncClient` lets one await."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from functools import wraps
from typing import Any, Generic, ParamSpec, Self, TypeVar, overload

from tasks_server.client.calls import audit, bulk, handler_tasks, lanes, logs, monitor, owners, schedules, tasks
from tasks_server.client.protocol import Core, Procedure, Request, Script

P = ParamSpec("P")
T = TypeVar("T")
Item = TypeVar("Item")


class Player(ABC):
    """Plays scripts to their end."""

    core: Core

    @abstractmethod
    def play(self, script: Script[T]) -> T: ...

    def items(self, request: Request[list[Item]] | None) -> Iterator[Item]:
        """The items of all pages; the next page is asked for when it is needed."""
        while request is not None:
            page, request = self.play(request.page(self.core))
            yield from page


class AsyncPlayer(ABC):
    """Plays scripts to their end, and lets others go on meanwhile."""

    core: Core

    @abstractmethod
    async def play(self, script: Script[T]) -> T: ...

    async def items(self, request: Request[list[Item]] | None) -> AsyncIterator[Item]:
        """The items of all pages; the next page is asked for when it is needed."""
        while request is not None:
            page, request = await self.play(request.page(self.core))
            for item in page:
                yield item


K = TypeVar("K", bound=Player | AsyncPlayer)


class Group(Generic[K]):
    """Methods that belong together."""

    def __init__(self, player: K) -> None:
        self._player = player


class Method(Generic[P, T]):
    """A method of a group, made from the function that says what to do."""

    def __init__(self, build: Callable[P, Procedure[T]]) -> None:
        self.build = build

    @overload
    def __get__(self, group: None, owner: type[Any]) -> Self: ...
    @overload
    def __get__(self, group: Group[Player], owner: type[Any]) -> Callable[P, T]: ...
    @overload
    def __get__(self, group: Group[AsyncPlayer], owner: type[Any]) -> Callable[P, Coroutine[Any, Any, T]]: ...
    def __get__(self, group: Group[Any] | None, owner: type[Any]) -> Any:
        if group is None:
            return self
        player, build = group._player, self.build

        @wraps(build)
        def method(*args: P.args, **kwargs: P.kwargs) -> Any:
            return player.play(build(*args, **kwargs).script(player.core))

        return method


class Pages(Generic[P, Item]):
    """A method that lists, made from the function that says which page comes first."""

    def __init__(self, build: Callable[P, Request[list[Item]]]) -> None:
        self.build = build

    @overload
    def __get__(self, group: None, owner: type[Any]) -> Self: ...
    @overload
    def __get__(self, group: Group[Player], owner: type[Any]) -> Callable[P, Iterator[Item]]: ...
    @overload
    def __get__(self, group: Group[AsyncPlayer], owner: type[Any]) -> Callable[P, AsyncIterator[Item]]: ...
    def __get__(self, group: Group[Any] | None, owner: type[Any]) -> Any:
        if group is None:
            return self
        player, build = group._player, self.build

        @wraps(build)
        def method(*args: P.args, **kwargs: P.kwargs) -> Any:
            return player.items(build(*args, **kwargs))

        return method


class Tasks(Group[K]):
    """Tasks: `/v1/queues`."""

    register = Method(tasks.register)
    register_batch = Method(tasks.register_batch)
    get = Method(tasks.get)
    list = Pages(tasks.list_)
    edit = Method(tasks.edit)
    pause = Method(tasks.pause)
    resume = Method(tasks.resume)
    revoke = Method(tasks.revoke)
    execute = Method(tasks.execute)
    retry = Method(tasks.retry)
    delete = Method(tasks.delete)
    config = Method(tasks.config)
    attempts = Method(tasks.attempts)
    timeline = Method(tasks.timeline)
    explain = Method(tasks.explain)
    wait = Method(tasks.wait)


class Schedules(Group[K]):
    """What makes tasks again and again: `/v1/schedules`."""

    create = Method(schedules.create)
    put = Method(schedules.put)
    get = Method(schedules.get)
    list = Pages(schedules.list_)
    edit = Method(schedules.edit)
    delete = Method(schedules.delete)
    pause = Method(schedules.pause)
    resume = Method(schedules.resume)
    run = Method(schedules.run)
    preview = Method(schedules.preview)


class Owners(Group[K]):
    """Who owns tasks: `/v1/owners`."""

    register = Method(owners.register)
    list = Pages(owners.list_)
    get = Method(owners.get)
    edit = Method(owners.edit)
    suspend = Method(owners.suspend)
    resume = Method(owners.resume)
    delete = Method(owners.delete)
    keys = Method(owners.keys)
    add_key = Method(owners.add_key)
    delete_key = Method(owners.delete_key)
    callbacks = Method(owners.callbacks)
    edit_callbacks = Method(owners.edit_callbacks)
    signing = Method(owners.signing)
    edit_signing = Method(owners.edit_signing)
    rotate_signing = Method(owners.rotate_signing)


class Logs(Group[K]):
    """The execution log: `/v1/logs`."""

    list = Pages(logs.list_)


class Audit(Group[K]):
    """What was done by hand: `/v1/audit`."""

    list = Pages(audit.list_)


class Bulk(Group[K]):
    """One action over many tasks: `/v1/bulk`."""

    create = Method(bulk.create)
    dry_run = Method(bulk.dry_run)
    get = Method(bulk.get)
    list = Pages(bulk.list_)
    cancel = Method(bulk.cancel)
    wait = Method(bulk.wait)


class Lanes(Group[K]):
    """The named lines of an owner's tasks: `/v1/lanes`."""

    list = Pages(lanes.list_)
    get = Method(lanes.get)
    put = Method(lanes.put)
    edit = Method(lanes.edit)
    delete = Method(lanes.delete)
    pause = Method(lanes.pause)
    resume = Method(lanes.resume)
    purge = Method(lanes.purge)


class HandlerTasks(Group[K]):
    """Handlers run by their names: `/tasks`."""

    create = Method(handler_tasks.create)
    create_recurring = Method(handler_tasks.create_recurring)
    get = Method(handler_tasks.get)
    list = Pages(handler_tasks.list_)
    reschedule = Method(handler_tasks.reschedule)
    delete = Method(handler_tasks.delete)


class Monitor(Group[K]):
    """Whether the server is well."""

    status = Method(monitor.status)
    health = Method(monitor.health)
    stats = Method(monitor.stats)


class Groups(Generic[K]):
    """All groups of a client."""

    tasks: Tasks[K]
    schedules: Schedules[K]
    owners: Owners[K]
    logs: Logs[K]
    audit: Audit[K]
    bulk: Bulk[K]
    lanes: Lanes[K]
    handler_tasks: HandlerTasks[K]
    monitor: Monitor[K]

    def _make_groups(self, player: K) -> None:
        self.tasks = Tasks(player)
        self.schedules = Schedules(player)
        self.owners = Owners(player)
        self.logs = Logs(player)
        self.audit = Audit(player)
        self.bulk = Bulk(player)
        self.lanes = Lanes(player)
        self.handler_tasks = HandlerTasks(player)
        self.monitor = Monitor(player)
