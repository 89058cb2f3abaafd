"""The examples in the docstrings of the domain are run, so that they stay true."""

import doctest
import importlib
import pkgutil

import pytest

import tasks_server.domain

MODULES = [module.name for module in pkgutil.iter_modules(tasks_server.domain.__path__)]
WITH_EXAMPLES = {"ids", "lifecycle", "owner", "retry"}


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module(name: str) -> None:
    result = doctest.testmod(importlib.import_module(f"tasks_server.domain.{name}"))
    assert result.failed == 0
    assert result.attempted > 0 or name not in WITH_EXAMPLES
