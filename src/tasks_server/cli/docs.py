"""`tasks-server docs`: the documentation of this very version, where there is no browser."""

from difflib import get_close_matches
from pathlib import Path
from typing import Annotated

import typer

import tasks_server
from tasks_server.cli import output
from tasks_server.domain.errors import Fault, InvalidRequest


def docs(
    page: Annotated[
        str | None, typer.Argument(metavar="[PAGE]", help="Which page: keys, limits, owners …; none lists them.")
    ] = None,
    path: Annotated[bool, typer.Option("--path", help="Print where the file lies.")] = False,
) -> None:
    """Print a page of the documentation, as Markdown; or list the pages."""
    pages = {file.stem.lower(): file for file in sorted(folder().glob("*.md"))}
    if page is None:
        output.table(("page", "about"), [(name, _title(file)) for name, file in pages.items()])
        return
    name = page.lower().removesuffix(".md").removeprefix("docs/")
    if name not in pages:
        near = get_close_matches(name, pages, 1)
        meant = f"; did you mean {near[0]}?" if near else "; `tasks-server docs` lists them"
        raise InvalidRequest([Fault("PAGE", f"there is no such page{meant}", page)])
    output.say(str(pages[name]) if path else pages[name].read_text(encoding="utf-8"))


def folder() -> Path:
    """Where the pages lie: in the package, or beside the sources."""
    package = Path(tasks_server.__file__).parent
    packed = package / "documentation"
    return packed if packed.is_dir() else package.parents[1] / "docs"


def _title(file: Path) -> str:
    with file.open(encoding="utf-8") as lines:
        return next((line[1:].strip() for line in lines if line.startswith("#")), "")
