"""Runs are found again by their names, and by nobody else's."""

from cmrfed.runs import new_run_folder, runs_called
from cmrfed.runs.run import Run

NAMES = ("flow_private", "direct_flow_private", "flow_private", "a.b")


def opened(folder):
    """A run of which nothing but the folder matters."""
    run = object.__new__(Run)
    object.__setattr__(run, "folder", folder)
    return run


def test_a_run_is_found_by_its_own_name_and_not_by_the_end_of_anothers(tmp_path, monkeypatch):
    monkeypatch.setattr(Run, "open", opened)
    folders = [new_run_folder(tmp_path, name) for name in NAMES]
    for folder in folders:
        (folder / "run.json").touch()
    new_run_folder(tmp_path, "flow_private")  # which never got so far as to have a record

    def found(name):
        return [run.folder for run in runs_called(name, tmp_path)]

    assert found("flow_private") == sorted([folders[0], folders[2]])
    assert found("direct_flow_private") == [folders[1]]
    assert found("private") == found("axb") == []
