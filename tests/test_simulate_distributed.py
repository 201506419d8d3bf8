"""A federation whose sites share noise: a ledger row a round each, sites that fail are borne, crashes cost rounds."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from omegaconf import OmegaConf
from tiny_runs import tiny_run_config

from cmrfed.apps.server.distributed import DistributedFederation
from cmrfed.apps.simulations.simulate import resume, simulate
from cmrfed.config import UserError
from cmrfed.privacy import epsilon
from cmrfed.runs import Run
from cmrfed.site import Home, distributed
from cmrfed.updates import load_weights


def config_of(cache, **changes):
    data = {
        "sources": {"phantom": "phantom-three"},
        "phantom": {"patients_per_vendor": 4, "vendors": ["Siemens", "GE", "Philips"]},
    }
    privacy = {"mode": "distributed", "seed": None, "dropouts": 1} | changes.pop("privacy", {})
    federation = {"rounds": 3} | changes.pop("federation", {})
    return tiny_run_config(
        cache, data=data, privacy=privacy, federation=federation, training={"local_steps": 1}, **changes
    )


@pytest.fixture(scope="module")
def finished(cache, tmp_path_factory):
    return simulate(config_of(cache), tmp_path_factory.mktemp("runs"))


def rounds(run):
    return [json.loads(line) for line in (run.arm_folder("private") / "rounds.jsonl").read_text().splitlines()]


def entries(run, site):
    home = Home(run.site_home(site))
    return home.ledger.rows(run=home.row_name(f"{run.record.name}/private"))


def test_every_site_pays_for_every_distributed_step_and_all_keep_the_target(finished):
    plan = finished.record.plan
    assert plan.sites == 3
    assert plan.shares == 2
    for site in finished.sites:
        rows = entries(finished, site)
        assert [row.round for row in rows] == [1, 2, 3]
        assert {row.event.noise for row in rows} == {"distributed"}
        assert rows[-1].epsilon == pytest.approx(epsilon([plan.event(3)], plan.delta))
        assert rows[-1].epsilon <= plan.target_epsilon


def test_the_sum_moves_the_weights_and_no_site_has_an_update_of_its_own(finished):
    first, _ = load_weights(finished.arm_folder("private") / "initial.safetensors")
    last, _ = load_weights(finished.folder / "model.safetensors")
    assert any(not np.array_equal(first[name], last[name]) for name in first)
    assert not list(finished.folder.glob("sites/*/outbox"))
    assert all(
        (site["reason"], site["loss"]) == (None, None)
        for line in rounds(finished)[1:]
        for site in line["sites"].values()
    )


def refusing(monkeypatch, *names):
    def save(policy, path):
        OmegaConf.save(policy | ({"maximum_delta": 1e-9} if policy["name"] in names else {}), path)

    monkeypatch.setattr("cmrfed.site.layout.OmegaConf", SimpleNamespace(save=save))


def test_a_site_that_refuses_is_named_and_a_quorum_goes_on(cache, tmp_path, monkeypatch):
    refusing(monkeypatch, "GE")
    run = simulate(config_of(cache), tmp_path)
    for line in rounds(run)[1:]:
        assert line["sites"]["GE"]["reason"] == "refused"
        assert line["sites"]["Philips"]["reason"] is None
    assert entries(run, "GE") == []
    assert len(entries(run, "Siemens")) == 3


def test_without_a_quorum_the_federation_stops_and_says_why(cache, tmp_path, monkeypatch):
    refusing(monkeypatch, "GE", "Siemens")
    run = simulate(config_of(cache), tmp_path)
    assert [line["round"] for line in rounds(run)] == [0]
    stopped = (run.arm_folder("private") / "stopped.txt").read_text()
    assert "needs 2 sites, and 1 take part" in stopped
    assert "GE: refused" in stopped
    assert "site policy: delta" in (run.site_home("GE") / "refusals.jsonl").read_text()
    assert all(entries(run, site) == [] for site in run.sites)


def test_a_step_cut_short_after_payment_is_never_asked_for_again(cache, tmp_path, monkeypatch):
    """The server dies with the vectors in hand; asked again, the sites would have to pay twice for one round."""
    unmask = DistributedFederation._unmask

    def die_in_round_two(self, masked):
        if self.state.round == 1:
            raise KeyboardInterrupt
        return unmask(self, masked)

    with monkeypatch.context() as broken:
        broken.setattr(DistributedFederation, "_unmask", die_in_round_two)
        with pytest.raises(KeyboardInterrupt):
            simulate(config_of(cache), tmp_path)
    run = Run.open(tmp_path / "latest")
    resume(run)
    assert [line["round"] for line in rounds(run)] == [0, 1, 2, 3]
    assert rounds(run)[2]["sites"] == {}
    for site in run.sites:
        assert [row.round for row in entries(run, site)] == [1, 2, 3]
        assert entries(run, site)[-1].epsilon <= run.record.plan.target_epsilon


@pytest.mark.parametrize("phase", ["share", "mask", "confirm", "reveal"])
def test_a_site_that_fails_in_any_phase_is_borne(cache, tmp_path, monkeypatch, phase):
    """Philips dies in one phase of round 2: two of three are a quorum. In the next round it is back."""
    whole, failed = getattr(distributed, phase), []

    def fail_at_philips(home, *arguments):
        paid = len([row for row in home.ledger.rows() if row.run.endswith("at Philips")])
        if home.policy.name == "Philips" and not failed and paid == (2 if phase in ("confirm", "reveal") else 1):
            failed.append(phase)
            raise UserError("the lights went out")
        return whole(home, *arguments)

    monkeypatch.setattr(distributed, phase, fail_at_philips)
    run = simulate(config_of(cache), tmp_path)
    assert rounds(run)[2]["sites"]["Philips"]["reason"] == "refused"
    assert "the lights went out" in (run.site_home("Philips") / "refusals.jsonl").read_text()
    assert "the round" not in rounds(run)[2]["sites"]
    assert rounds(run)[3]["sites"]["Philips"]["reason"] is None
    paid = 3 if phase in ("confirm", "reveal") else 2
    assert len(entries(run, "Philips")) == paid


def test_a_site_that_lies_about_its_shares_costs_the_round_and_not_the_run(cache, tmp_path, monkeypatch):
    unmask = DistributedFederation._unmask

    def tamper_in_round_one(self, masked):
        if self.state.round == 0:
            masked = {**masked, "GE": masked["GE"][:-1]}
        return unmask(self, masked)

    monkeypatch.setattr(DistributedFederation, "_unmask", tamper_in_round_one)
    run = simulate(config_of(cache), tmp_path)
    assert "unmask: " in rounds(run)[1]["sites"]["the round"]["reason"]
    assert rounds(run)[2]["sites"]["GE"]["reason"] is None
    assert len(entries(run, "GE")) == 3


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"privacy": {"dropouts": 2}}, "privacy.*3 sites cannot tolerate 2 dropouts"),
        ({"privacy": {"colluders": 1}}, "privacy.*3 sites cannot tolerate 1 dropouts and 1 colluders"),
    ],
)
def test_what_few_sites_cannot_bear_is_refused_before_a_run_begins(cache, tmp_path, changes, said):
    with pytest.raises(UserError, match=said) as error:
        simulate(config_of(cache, **changes), tmp_path)
    assert "\n" not in str(error.value)
    assert {path.name for path in tmp_path.iterdir()} <= {"prepared"}, "no run was begun"


def test_more_than_one_step_a_round_is_refused_with_the_keys(cache):
    with pytest.raises(UserError, match=r"training.local_steps=1 and raise federation.rounds \(found local_steps=2\)"):
        tiny_run_config(cache, privacy={"mode": "distributed"})
