"""Runs are shared out, each done once, and what they say is kept."""

import os
import sys
from functools import partial
from pathlib import Path

import pytest

from cmrfed.config import LaunchConfig, UserError
from cmrfed.launching import PlannedRun, launch


def note(one, folder):
    """The work: says a word, and leaves the number of its process."""
    sys.stdout.write(f"{one.name} at work\n")
    (folder / one.name).write_text(str(os.getpid()), encoding="utf-8")
    if one.name == "bad":
        raise UserError("seed: bad luck")


@pytest.fixture
def runs():
    return [PlannedRun(name=name) for name in ("one", "two", "three")]


@pytest.mark.parametrize("how", [{"jobs": 1}, {"jobs": 2}, {"jobs": 2, "launcher": "submitit"}])
def test_all_are_done_and_counted(runs, tmp_path, how, monkeypatch):
    here = Path(__file__).parent
    monkeypatch.setenv("PYTHONPATH", f"{here}:{here.parent}")  # a job finds its function by the name of its module
    told = []
    work = partial(note, folder=tmp_path)
    launch(work, runs, LaunchConfig(**how), tmp_path, lambda done, total: told.append((done, total)))
    assert {one.name for one in runs} <= {path.name for path in tmp_path.iterdir()}
    assert told == [(done, len(runs)) for done in range(1, len(runs) + 1)]
    here = {(tmp_path / one.name).read_text(encoding="utf-8") == str(os.getpid()) for one in runs}
    assert here == {how["jobs"] == 1}
    if how["jobs"] > 1:
        assert "two at work" in Path(tmp_path / "logs" / "two.log").read_text(encoding="utf-8")


def test_what_one_raises_is_raised(runs, tmp_path):
    bad = runs[0].model_copy(update={"name": "bad"})
    with pytest.raises(UserError, match="bad luck"):
        launch(partial(note, folder=tmp_path), [bad], LaunchConfig(), tmp_path, lambda done, total: None)
