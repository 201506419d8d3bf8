"""What CONTRIBUTING promises of new members holds: a file and a line in its table, and no other file is touched.

Each is trained for two private rounds in a whole federation, sampled from and evaluated.
"""

import json

import numpy as np
import pytest
import torch
from tiny_runs import tiny_run_config
from toy_space import Haar

from cmrfed import members
from cmrfed.apps.simulations.simulate import simulate
from cmrfed.conditions import CONDITIONS, Scalar
from cmrfed.config import GeneratorConfig
from cmrfed.console import progress_bar
from cmrfed.report.card import privacy_card
from cmrfed.report.material import Material
from cmrfed.runs.evaluation import evaluate
from cmrfed.slices import Slices
from cmrfed.updates import load_generator, load_weights

FIDELITY = {"slices": 12, "segmenter_steps": 2, "spaces": ["radiomics"]}  # the quickest space


@pytest.fixture
def run(cache, tmp_path, few_halves):
    """Runs and evaluates a tiny federation under changes of its generator and of other stages."""

    def run(generator, **changes):
        evaluation = {"fidelity": FIDELITY, "utility": None}
        evaluation |= {"leakage": {"times": 2, "inversion_steps": 1, "shadow_models": 0}}
        evaluation |= changes.pop("evaluation", {})
        config = tiny_run_config(cache, generator=generator, evaluation=evaluation, **changes)
        finished = simulate(config, tmp_path / "runs")
        return finished, evaluate(finished, finished.config.evaluation, progress_bar)

    return run


def moved(run):
    """Names of the weights that two rounds have moved."""
    arm = run.folder / "arms" / "private"
    (before, _), (after, _) = (load_weights(arm / f"{name}.safetensors") for name in ("initial", "model"))
    return {name for name in before if not np.array_equal(before[name], after[name])}


def spent(run):
    return {json.loads(line)["round"] for line in (run.folder / "arms/private/rounds.jsonl").read_text().splitlines()}


def test_a_path_from_noise_to_image_is_a_file_and_a_line(run):
    finished, results = run({"family": "edm"})
    assert spent(finished) == {0, 1, 2} and moved(finished)
    assert results.arms["private"].leakage["secmi"].auc is not None


def test_two_networks_of_which_patients_touch_one_are_a_family(run, monkeypatch):
    monkeypatch.setitem(members.FAMILIES, "toy_gan", "toy_gan:ToyGAN")
    finished, results = run({"family": "toy_gan"}, training={"batch_size": 8})
    assert spent(finished) == {0, 1, 2}
    assert {name.split(".")[0] for name in moved(finished)} == {"critic", "painter"}
    arm = results.arms["private"]
    assert "nearest_sample" in arm.leakage and "loss" not in arm.leakage
    reasons = arm.model_dump_json()
    assert "cannot be asked at a noise of one's choice" in reasons
    facts = dict(privacy_card(Material(finished, results, {}, {}, {}, {}, None)).facts)
    assert facts["Objectives of patients' data"] == "criticising"
    assert facts["Objectives without patients"].startswith("painting: at the coordinator")
    # what left the sites are the critic's weights alone, and all of it was paid for
    for home in (finished.folder / "sites").iterdir():
        sent, _ = load_weights(next(home.glob("**/outbox/*.safetensors"), None) or next(home.rglob("*outbox*")))
        assert {name.split(".")[0] for name in sent} == {"critic"}


def test_a_network_of_stacks_is_a_file_and_a_line(run, monkeypatch):
    monkeypatch.setitem(members.NETWORKS, "toy_volume", "toy_volume_network:ToyVolumeNetwork")
    generator = {"network": "toy_volume", "levels": 4, "trainable": "all"}
    finished, results = run(generator, evaluation={"leakage": {"attacks": ["loss", "nearest_sample"]}})
    assert moved(finished) and results.arms["private"].leakage["loss"].auc is not None


def test_a_latent_space_is_a_file_and_a_line(run, monkeypatch):
    monkeypatch.setitem(members.SPACES, "haar", "toy_space:Haar")
    haar, images = Haar(GeneratorConfig()), torch.randn(2, 1, 8, 6)
    torch.testing.assert_close(haar.decode(haar.encode(images)), images)
    assert haar.encode(torch.randn(2, 1, 3, 8, 6)).shape == (2, 4, 3, 4, 3)
    leakage = {"times": 2, "inversion_steps": 1, "attacks": ["secmi", "fcre_ssim", "pfami"]}
    measured = {"fidelity": FIDELITY | {"reconstruct": True}, "leakage": leakage}
    finished, results = run({"space": "haar"}, evaluation=measured)
    assert spent(finished) == {0, 1, 2} and moved(finished)
    generator, _ = load_generator(finished.folder / "arms/private/model.safetensors")
    assert generator.network.unet.out[2].out_channels == 4 * generator.network.patch**2
    assert all(one.auc is not None for one in results.arms["private"].leakage.values())


def test_a_condition_is_a_line(run, monkeypatch):
    monkeypatch.setitem(CONDITIONS, "heart_rate", Scalar("heart_rate", "beats of the heart", "1/min", 20.0, 250.0))
    finished, _ = run({"conditions": ["mask", "vendor", "phase", "heart_rate", "slice_level"], "trainable": "all"})
    generator, _ = load_generator(finished.folder / "arms/private/model.safetensors")
    assert "heart_rate" in dict(generator.network.unet.class_embedding.named_children())
    held_out = Slices.load(finished.folder / "central" / "held_out.safetensors")
    assert np.isnan(held_out.conditions["heart_rate"]).all(), "the phantom does not know it"
    assert not np.isnan(held_out.conditions["slice_level"]).any()


def test_a_rule_is_a_file_and_a_line(run):
    finished, _ = run({}, aggregation={"rule": "median", "shrinkage": "none"})
    assert spent(finished) == {0, 1, 2} and moved(finished)


def test_an_attack_is_a_file_and_a_line(run, monkeypatch):
    monkeypatch.setitem(members.ATTACKS, "brightness", "toy_attack:BRIGHTNESS")
    _, results = run({}, evaluation={"leakage": {"attacks": ["brightness"]}})
    assert set(results.arms["private"].leakage) == {"brightness"}
