"""`tasks-server owner callback …`: what is called when tasks of an owner have ended. Like `owner`, for the operator."""

from typing import Annotated, Final

import typer

from tasks_server.api.callback_wire import CallbackView, callback_view, callbacks_view
from tasks_server.cli import output
from tasks_server.cli.faults import in_options
from tasks_server.cli.options import Config, DataDir, with_services
from tasks_server.cli.output import Json
from tasks_server.domain.callback import Callback, Callbacks
from tasks_server.domain.errors import InvalidRequest
from tasks_server.wiring import Services

app = typer.Typer(no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Name of the owner.")]
_NONE: Final = "none"
_OPTIONS: Final = {"failureCallback": "--failure", "successCallback": "--success"}


@app.command("show")
def show(name: Name, config: Config = None, data_dir: DataDir = None, json: Json = False) -> None:
    """Show what is called when tasks of an owner have ended."""

    async def work(services: Services) -> Callbacks:
        return await services.callbacks.show(await services.owners.by_name(name))

    _tell(with_services(work, config, data_dir), json)


@app.command("set")
def set_(
    name: Name,
    failure: Annotated[
        str | None, typer.Option("--failure", metavar="URL", help="Called when a task has ended as ERROR for good.")
    ] = None,
    success: Annotated[
        str | None, typer.Option("--success", metavar="URL", help="Called when a task has ended as SUCCESS.")
    ] = None,
    config: Config = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Set what is called when tasks of an owner have ended. What is not named stays; "none" takes it away."""
    asked = {"failureCallback": failure, "successCallback": success}
    patch = {field: None if text == _NONE else text for field, text in asked.items() if text is not None}

    async def work(services: Services) -> Callbacks:
        owner = await services.owners.by_name(name)
        try:
            return await services.callbacks.edit(owner, patch)
        except InvalidRequest as error:
            raise in_options(error, lambda field: _OPTIONS.get(field.partition(".")[0], field)) from None

    _tell(with_services(work, config, data_dir), json)


def shown_callbacks(callbacks: Callbacks) -> str:
    """What is called, in one line."""
    told = {"failure": callbacks.failure, "success": callbacks.success}
    return ", ".join(f"{name}: {_shown(callbacks, one)}" for name, one in told.items())


def _shown(callbacks: Callbacks, one: Callback | bool | None) -> str:
    view = callback_view(callbacks, one)
    if isinstance(view, CallbackView):
        if view.handler is not None:
            return f"handler {view.handler.name}"
        return f"{view.method} {view.url}"
    return "-" if view is None else str(view).lower()


def _tell(callbacks: Callbacks, json: bool) -> None:
    if json:
        output.as_json(callbacks_view(callbacks))
    else:
        output.say(f"Called when a task has ended: {shown_callbacks(callbacks)}.")
