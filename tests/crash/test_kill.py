"""Every process killed without warning, under load: what was accepted is delivered, and nothing runs early."""

from pathlib import Path

import pytest

from .rounds import run


@pytest.mark.process
def test_nothing_accepted_is_lost_by_sudden_death(tmp_path: Path) -> None:
    findings = run(rounds=3, folder=tmp_path, seed=20_260_801)
    assert findings.accepted, findings.summary()
    assert not findings.missing, findings.summary()
    assert not findings.unfinished, findings.summary()
    assert not findings.early, findings.summary()
    assert not findings.told_wrongly, findings.summary()
