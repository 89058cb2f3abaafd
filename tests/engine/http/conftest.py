from collections.abc import Iterator

import pytest

from tests.engine.http.driver import Driver
from tests.engine.http.liars import Liar, Scene
from tests.engine.http.target import Target


@pytest.fixture
def target() -> Iterator[Target]:
    with Target() as running:
        yield running


@pytest.fixture
def http() -> Iterator[Driver]:
    with Driver() as running:
        yield running


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    with Liar() as liar, Target() as honest, Driver() as driver:
        yield Scene(driver, liar, honest)
