"""The verbs for Python do what their example says."""

import doctest

import lone_process

from cmrfed import api


class _EndsWith(doctest.OutputChecker):
    """A verb may say what it is doing; what the example shows is what it comes to."""

    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        return got.endswith(want)


def test_the_example_runs_as_it_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(lone_process, "WORKERS", None)
    (example,) = doctest.DocTestFinder(recurse=False).find(api, "cmrfed.api")
    assert len(example.examples) == 10
    said: list[str] = []
    done = doctest.DocTestRunner(_EndsWith(), verbose=False).run(example, out=said.append, clear_globs=False)
    assert done.failed == 0, "".join(said)
    run, page = example.globs["run"], example.globs["page"]
    assert run.folder.parent == tmp_path / "runs"
    assert (run.folder / "results.json").exists() and (run.folder / "report.html").exists()
    assert page.width > page.height > 100, "two rows of four"
