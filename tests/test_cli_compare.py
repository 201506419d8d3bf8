"""`cmrfed compare`: from words to one page, and on from where it was cut short."""

import json

import pytest
from tiny_runs import TINY_WORDS

from cmrfed.comparison import work

WORDS = [
    "compare", *(word for word in TINY_WORDS if "init=" not in word), "data.root=data", "federation.engine=inprocess",
    "federation.rounds=2", "sampling.steps=2", "federation.held_out_fraction=0.34", "privacy.delta=1e-3",
    "out=families", "families=flow", "comparison.seconds=0.2", "evaluation.fidelity.slices=12",
    "evaluation.fidelity.segmenter_steps=2", "evaluation.fidelity.pixels=false", "evaluation.fidelity.structure=false",
    "evaluation.utility.slices=12", "evaluation.utility.steps=2",
    "evaluation.utility.disease=false", "evaluation.leakage.attacks=[nearest_sample]", "evaluation.bootstrap=100",
]  # fmt: skip


@pytest.fixture
def trained(monkeypatch):
    """Names of the runs that were federated."""
    found, train = [], work.Work._trained

    def counted(self, one):
        asked = []
        run = train(work.Work(self.folder, lambda *told: asked.append(one.name) or self.federate(*told), self.bar), one)
        found.extend(asked)
        return run

    monkeypatch.setattr(work.Work, "_trained", counted)
    return found


def test_it_ends_in_one_page_and_goes_on_without_doing_anything_twice(run_cmrfed, tmp_path, trained):
    code, printed = run_cmrfed(*WORDS)
    assert code == 0, printed
    folder = tmp_path / "families"
    told = json.loads((folder / "families.json").read_text(encoding="utf-8"))
    arms = ["epsilon_0", "non_private", "private"]
    assert [(one["family"], one["arm"]) for one in told] == [("flow", arm) for arm in arms]
    for one in told:
        assert one["utility"]["synthetic"]["dice"]["mean"] >= 0 and one["speed"]["slice_s"] > 0
        assert (one["epsilon"] is not None) == (one["arm"] == "private")
    assert 7.0 < told[2]["epsilon"] <= 8.0
    page = (folder / "families.html").read_text(encoding="utf-8")
    for words in ("flow", "data:image/png", "real images", "patients, with privacy"):
        assert words in page
    assert trained == ["flow_non_private", "flow_private"]

    speeds = {path.name: path.read_text(encoding="utf-8") for path in (folder / "speeds").iterdir()}
    (folder / "families.html").unlink()
    code, printed = run_cmrfed(*WORDS)
    assert code == 0, printed
    assert len(trained) == 2, "its runs are there, and are not done again"
    assert speeds == {path.name: path.read_text(encoding="utf-8") for path in (folder / "speeds").iterdir()}
    assert (folder / "families.html").exists()

    code, printed = run_cmrfed(*WORDS, "sampling.steps=3")
    assert code == 2 and "holds a comparison of another configuration" in printed


def test_a_family_that_is_no_preset_is_refused(run_cmrfed):
    code, printed = run_cmrfed("compare", "families=[flow,flwo]")
    assert code == 2 and "families" in printed and "flwo" in printed
