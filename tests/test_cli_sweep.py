"""`cmrfed sweep`: from words to the frontier, and on from where it was cut short."""

import json

import pytest
from tiny_runs import TINY_WORDS

from cmrfed.sweep import work

WORDS = [
    "sweep", *TINY_WORDS, "data.root=data", "federation.engine=inprocess", "federation.rounds=1", "sampling.steps=2",
    "federation.held_out_fraction=0.34", "privacy.delta=1e-3", "out=frontier", "sweep.epsilons=[1.0,8.0]",
    "sweep.modes=[distributed]", "sweep.noises=2", "sweep.hearts=2", "sweep.without_privacy=false",
    "evaluation.fidelity=null", "evaluation.utility.slices=12", "evaluation.utility.steps=2",
    "evaluation.bootstrap=100",
]  # fmt: skip


@pytest.fixture
def trained(monkeypatch):
    """Names of the runs that were federated."""
    found, train = [], work.train_run

    def counted(one, folder, federate):
        return train(one, folder, lambda *asked: found.append(one.name) or federate(*asked))

    monkeypatch.setattr(work, "train_run", counted)
    return found


def test_it_ends_in_one_figure_and_goes_on_without_doing_anything_twice(run_cmrfed, tmp_path, trained):
    code, printed = run_cmrfed(*WORDS)
    assert code == 0, printed
    page = (tmp_path / "frontier" / "frontier.html").read_text(encoding="utf-8")
    told = json.loads((tmp_path / "frontier" / "frontier.json").read_text(encoding="utf-8"))
    arms = ["real", "phantom", "start", "distributed, epsilon 1", "distributed, epsilon 8"]
    assert [point["arm"] for point in told["points"]] == arms
    assert [point["runs"] for point in told["points"]] == [1, 1, 1, 2, 2]
    assert [round(point["spent"], 1) for point in told["points"][3:]] == [1.0, 8.0]
    assert "Dice over its start" in page and "data:image/png" in page
    assert len(trained) == 4
    assert "4 private runs: on the same patients at most epsilon 18 at delta 0.004 together" in " ".join(
        printed.split()
    )

    scores = tmp_path / "frontier" / "scores"
    (scores / "masks of hearts" / "distributed_epsilon=8_noise=2.json").unlink()
    (tmp_path / "frontier" / "frontier.html").unlink()
    code, printed = run_cmrfed(*WORDS)
    assert code == 0, printed
    assert len(trained) == 4, "its run is there, and is not done again"
    assert (tmp_path / "frontier" / "frontier.html").exists()

    code, printed = run_cmrfed(*WORDS, "sweep.masks=patients")
    assert code == 0, printed
    assert len(trained) == 4, "the same generators draw for other masks"
    names = [{path.name for path in (scores / f"masks of {whose}").iterdir()} for whose in ("hearts", "patients")]
    assert names[0] == names[1] and len(names[0]) == 7
    assert "masks of the training patients" in (tmp_path / "frontier" / "frontier.html").read_text(encoding="utf-8")

    code, printed = run_cmrfed(*WORDS, "sweep.noises=3")
    assert code == 2 and "holds a sweep of another configuration" in printed
