"""The rules of the house, as far as a program can check them. An allow-list may only shrink."""

import ast
import functools
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tidy.documents import ROOT

PACKAGE = ROOT / "src" / "tasks_server"
MODULES = sorted(PACKAGE.rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py")) + sorted((ROOT / "bench").rglob("*.py"))

FUNCTION_LINES_MAX = 60
FILE_LINES_MAX = 500
LONG_FUNCTIONS: dict[str, int] = {}
"""Functions over the limit, as `path:name`, with the lines they may have. Empty is where this list wants to be."""
LONG_FILES: dict[str, int] = {}

FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "misc"}


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


@functools.cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@functools.cache
def comments(path: Path) -> list[tuple[int, str]]:
    """Each comment of a file, with its line."""
    tokens = tokenize.generate_tokens(io.StringIO(path.read_text()).readline)
    return [(token.start[0], token.string) for token in tokens if token.type == tokenize.COMMENT]


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def body_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from the first statement to the last; a signature of many options and a docstring do not count."""
    body = node.body[1:] if ast.get_docstring(node) and len(node.body) > 1 else node.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1


def test_functions_fit_on_a_screen() -> None:
    long = {
        f"{relative(path)}:{node.name}": body_lines(node)
        for path in [*MODULES, *TESTS]
        for node in functions(path)
        if body_lines(node) > FUNCTION_LINES_MAX
    }
    assert {name: lines for name, lines in long.items() if lines > LONG_FUNCTIONS.get(name, 0)} == {}
    assert set(LONG_FUNCTIONS) - set(long) == set(), "these are short now: take them off the list"


def test_files_are_of_a_size_to_read() -> None:
    long = {relative(path): len(path.read_text().splitlines()) for path in [*MODULES, *TESTS]}
    long = {name: lines for name, lines in long.items() if lines > FILE_LINES_MAX}
    assert {name: lines for name, lines in long.items() if lines > LONG_FILES.get(name, 0)} == {}
    assert set(LONG_FILES) - set(long) == set(), "these are short now: take them off the list"


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_modules_say_what_lives_in_them(path: Path) -> None:
    text = ast.get_docstring(tree(path))
    if path.name == "__init__.py" and not tree(path).body:
        return
    assert text, "opens without a docstring"
    lines = len(text.splitlines())
    assert lines <= 30, "a module's docstring is an opening, not the documentation"


def test_names_say_something() -> None:
    named = {relative(path): set(path.relative_to(ROOT).with_suffix("").parts) for path in [*MODULES, *TESTS]}
    assert {path for path, parts in named.items() if parts & FORBIDDEN_NAMES} == set()
    classes = [
        f"{relative(path)}:{node.name}"
        for path in MODULES
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ClassDef) and re.search("Manager|Helper|Util", node.name)
    ]
    assert classes == []


def test_nothing_is_left_for_later() -> None:
    marks = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
    found = [
        f"{relative(path)}:{line}"
        for path in [*MODULES, *TESTS]
        for line, comment in comments(path)
        if marks.search(comment)
    ]
    assert found == []


def test_what_the_type_checker_overlooks_has_its_reason() -> None:
    bare = [
        f"{relative(path)}:{line}"
        for path in [*MODULES, *TESTS]
        for line, comment in comments(path)
        if "type: ignore" in comment and not re.search(r"type: ignore\[[a-z,-]+\]  # .*\w", comment)
    ]
    assert bare == [], "say which complaint is overlooked, and why: type: ignore[…]  # reason"


def test_migrations_are_numbered_without_a_gap() -> None:
    """Two that were made side by side must not have one number."""
    for adapter in ("sqlite", "postgres"):
        files = sorted((ROOT / "src/tasks_server/store" / adapter / "migrations").glob("*.sql"))
        assert [int(path.name[:4]) for path in files] == list(range(1, len(files) + 1)), adapter


def test_only_the_clock_knows_the_time() -> None:
    """Apart from those who measure how long other processes live, nobody asks the system for the time."""
    allowed = {"src/tasks_server/clock.py", "src/tasks_server/supervisor.py", "src/tasks_server/children.py"}
    asked = re.compile(r"\btime\.(time|time_ns|monotonic|monotonic_ns)\(|datetime\.(now|utcnow|today)\(")
    found = {relative(path) for path in MODULES if asked.search(path.read_text())}
    assert found - allowed == set()


def sleeps(node: ast.AST) -> set[int]:
    """Lines of calls that sleep longer than nothing."""
    return {
        call.lineno
        for call in ast.walk(node)
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr == "sleep"
        and not (call.args and isinstance(call.args[0], ast.Constant) and call.args[0].value == 0)
    }


def test_tests_do_not_sleep_to_let_things_happen() -> None:
    """They may rest between two looks at a fact: in a loop that ends by it. Crash tests strike at random moments."""
    found = []
    for path in (ROOT / "tests").rglob("*.py"):
        if path.parent.name == "crash":
            continue
        between_looks: set[int] = set()
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.While) and not isinstance(node.test, ast.Constant):
                between_looks |= sleeps(node)
        found += [f"{relative(path)}:{line}" for line in sorted(sleeps(tree(path)) - between_looks)]
    assert found == []


def test_rooms_keep_their_order() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout


def test_nothing_of_the_workshop_is_committed() -> None:
    """The repository speaks of the product alone; what it needs is on PyPI."""
    lock = (ROOT / "uv.lock").read_text()
    hosts = set(re.findall(r'https?://([^/"]+)/', lock))
    assert hosts == {"pypi.org", "files.pythonhosted.org"}
