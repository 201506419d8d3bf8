"""Runs are found again by their names, and by nobody else's."""

from cmrfed.runs import new_run_folder, runs_called
from cmrfed.runs.run import Run


def test_a_run_is_found_by_its_own_name_and_not_by_the_end_of_anothers(tmp_path, monkeypatch):
    monkeypatch.setattr(Run, "open", lambda folder: folder)
    folders = [
        new_run_folder(tmp_path, name) for name in ("flow_private", "direct_flow_private", "flow_private", "a.b")
    ]
    for folder in folders:
        (folder / "run.json").touch()
    new_run_folder(tmp_path, "flow_private")  # which never got so far as to have a record
    assert runs_called("flow_private", tmp_path) == sorted([folders[0], folders[2]])
    assert runs_called("direct_flow_private", tmp_path) == [folders[1]]
    assert runs_called("private", tmp_path) == runs_called("axb", tmp_path) == []
