"""The documentation says what the code does: what can be made from the code is, and links lead somewhere."""

import re
from pathlib import Path

import pytest

from tasks_server.api.problems import CODES
from tasks_server.domain.errors import TasksServerError
from tests.tidy.documents import DOCS, MADE, ROOT, made, subclasses

PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]


@pytest.mark.parametrize("path", MADE)
def test_made_parts_are_up_to_date(path: str) -> None:
    assert (ROOT / path).read_text() == made(path), f"{path} is out of date: run `make docs`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_readme_leads_to_every_page() -> None:
    readme = (ROOT / "README.md").read_text()
    assert [page.name for page in sorted(DOCS.glob("*.md")) if f"(docs/{page.name})" not in readme] == []


def test_every_code_an_error_class_has_is_documented() -> None:
    errors = (DOCS / "errors.md").read_text()
    codes = {kind.code for kind in subclasses(TasksServerError)} | set(CODES)
    assert [code for code in codes if f"`{code}`" not in errors] == []


def test_every_code_that_is_raised_is_documented() -> None:
    errors = (DOCS / "errors.md").read_text()
    raised = set()
    for path in (ROOT / "src").rglob("*.py"):
        raised |= set(re.findall(r'\bcode="([a-z_]+)"', path.read_text()))
    assert len(raised) > 10
    assert [code for code in sorted(raised) if f"`{code}`" not in errors] == []


def test_every_decision_is_listed() -> None:
    listed = (DOCS / "decisions" / "README.md").read_text()
    pages = sorted(path.name for path in (DOCS / "decisions").glob("0*.md"))
    assert [page for page in pages if f"({page})" not in listed] == []
    assert [page[:4] for page in pages] == [f"{number:04d}" for number in range(1, len(pages) + 1)]


def test_every_dependency_has_its_line() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    names = re.findall(
        r'^  "([a-z0-9-]+)(?:\[[a-z]+\])?[>=<]', project.split("dependencies = [")[1].split("\n]")[0], re.M
    )
    page = (DOCS / "decisions" / "0009-dependencies.md").read_text()
    assert len(names) > 5
    assert [name for name in names if f"| {name} |" not in page] == []
    rows = re.findall(r"^\| ([a-z0-9-]+) \|", page, re.M)
    assert sorted(set(rows) - {"package"}) == sorted(names)


def test_ci_runs_what_the_readme_says() -> None:
    readme = (ROOT / "README.md").read_text()
    command = re.search(r"## Tests\n\n```sh\n(.+?)\n```", readme, re.S)
    assert command
    script = (ROOT / ".ci" / "run").read_text().splitlines()
    assert script[-1] == command[1]
    assert "\n" not in command[1]


def test_the_makefile_describes_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"^([a-z]+):", makefile, re.M)
    phony = re.search(r"^\.PHONY: (.+)$", makefile, re.M)
    assert phony
    assert sorted(phony[1].split()) == sorted(targets)
    undescribed = [target for target in targets if not re.search(rf"^{target}:.*## \w", makefile, re.M)]
    assert undescribed == []
