"""Runs' folders as training and evaluation leave them, without the hours."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
from omegaconf import OmegaConf
from toy_hearts import toy_case

from cmrfed.config import DataConfig, FederationConfig, GeneratorConfig, RunConfig
from cmrfed.core import atomic
from cmrfed.privacy import Clipping, Cohort, Limits, LocalNoise, Plan
from cmrfed.runs import Run, RunRecord
from cmrfed.site import Home
from cmrfed.slices import Slices, collect

CONFIG = RunConfig(
    data=DataConfig(root="data", sources={"mnms": "mnms"}),
    generator=GeneratorConfig(init="phantom"),
    federation=FederationConfig(rounds=2),
)
PLAN = LocalNoise(
    sample_rate=0.5,
    noise_multiplier=2.0,
    clipping=Clipping(max_grad_norm=0.75),
    declared_patients=30,
    steps=4,
    delta=1e-4,
    target_epsilon=2.345,
)
ARMS = ("epsilon_0", "private", "non_private")


def means(dice: float, half_width: float = 0.02) -> dict:
    values = {"dice": (dice, half_width), "hd95_mm": (12.3, 2.0), "assd_mm": (4.5, 1.0)}
    names = ("lv", "myo", "rv", "mean")
    scores = {metric: dict.fromkeys(names, value) for metric, (value, _) in values.items()}
    limits = {
        f"{metric}_ci95": {name: [value - half, value + half] for name in names}
        for metric, (value, half) in values.items()
    }
    return {"patients": 3, **scores, **limits}


def segmentation(dice: float, half_width: float = 0.02) -> dict:
    own = means(dice, half_width)
    nothing = {name: {} for name in ("by_dataset", "by_pathology", "by_phase")}
    return {**own, "by_vendor": {"Siemens": own, "Philips": own}, **nothing, "crossed": []}


def paired_test(a: str, b: str, p_holm: float, structure: str = "mean") -> dict:
    row = {"a": a, "b": b, "metric": "dice", "structure": structure, "difference": -0.05, "ci95": [-0.07, -0.03]}
    return row | {"p": p_holm / 2, "patients": 3, "non_inferior": False, "p_holm": p_holm}


def utility(synthetic: float, half_width: float = 0.02, blind: float = 0.3) -> dict:
    gains = {"real": 0.82 - blind, "synthetic": synthetic - blind, "mixed": 0.83 - blind}
    over_blind = {
        name: {"value": gain, "ci95": [gain - half_width, gain + half_width], "beats_blind": gain > half_width}
        for name, gain in gains.items()
    }
    return {
        "blind": segmentation(blind, half_width),
        "over_blind": over_blind,
        "void": None if over_blind["real"]["beats_blind"] else "the segmenter learnt nothing",
        "real": segmentation(0.82, half_width),
        "synthetic": segmentation(synthetic, half_width),
        "mixed": segmentation(0.83, half_width),
        "tests": [],
    }


def fidelity(fid: float) -> dict:
    values = {"fid": fid, "fid_real": 43.2, "kid": 0.0456, "kid_real": 0.0012}
    limits = {f"{name}_ci95": [value * 0.9, value * 1.1] for name, value in values.items()}
    parts = {name: {} for name in ("spaces", "pixels", "structure", "faithfulness")}
    return {**values, **limits, "images": 9, **parts}


def attack(auc: float, low: float, high: float, **changes) -> dict:
    rates = {"auc": auc, "auc_ci95": [low, high], "auc_ci95_simultaneous": [low, high]}
    for name in ("tpr_at_1pct_fpr", "tpr_at_0_1pct_fpr"):
        rates |= {name: 0.17, f"{name}_ci95": [0.01, 0.35], f"{name}_at_zero_fp": True}
    unknown = ("blind_auc", "auc_minus_blind", "auc_minus_blind_ci95", "beats_blind", "epsilon_claimed")
    return {
        **rates,
        **dict.fromkeys((*unknown, "epsilon_lower", "epsilon_lower_possible")),
        "members": 31,
        "non_members": 7,
        "p_value": 0.001,
        "p_value_adjusted": 0.002,
        "delta": 0.0,
        "access": "loss",
        "family": "loss",
        "calibrated": False,
        **{f"by_{field}": {} for field in ("vendor", "pathology", "centre")},
        **changes,
    }


def leakage(auc: float, low: float, high: float) -> dict:
    return {"loss": attack(auc, low, high)}


def results(**dice: float) -> dict:
    """Results of a run whose arms' synthetic images train to these Dice scores."""
    arms = {
        arm: {
            "utility": utility(dice.get(arm, 0.7)),
            "fidelity": fidelity(87.6 + number),
            "leakage": leakage(0.53, 0.41, 0.64),
        }
        for number, arm in enumerate(ARMS)
    }
    site = {"patients": 12, "epsilon": 2.3401, "delta": 1e-4, "noise_multiplier": 2.0, "sample_rate": 0.5, "steps": 4}
    timing = {
        "train_s": 40.0,
        "federation_overhead_s": 10.0,
        "federation_wall_s": 50.0,
        "sample_s_per_slice": 0.05,
        "evaluate_s": 300.0,
    }
    sites = {"Siemens": site, "Philips": site}
    return {"run": "toy", "arm": "private", "evaluation": {}, "sites": sites, "timing": timing, "arms": arms}


def hearts() -> Slices:
    vendors = {"secret-A": "Siemens", "secret-B": "Philips", "secret-C": "Siemens"}
    return collect(
        toy_case(name, phase, seed=ord(name[-1]), vendor=vendor)
        for name, vendor in vendors.items()
        for phase in ("ED", "ES")
    )


def noise_for(slices: Slices, seed: int) -> Slices:
    images = np.random.default_rng(seed).uniform(-1, 1, slices.images.shape).astype(np.float32)
    return replace(slices, images=images)


def real_hearts() -> Slices:
    slices = hearts()
    return replace(slices, images=(slices.images / 128 - 1).clip(-1, 1))


def lay_out(folder: Path, found: dict | None, plan: Plan = PLAN, config: RunConfig = CONFIG) -> Run:
    """A run's folder as training and evaluation leave it; without results.json where `found` is None."""
    sites = list(found["sites"]) if found else ["Siemens", "Philips"]
    record = RunRecord(
        name="toy",
        created="2026-01-02T03:04:05+00:00",
        cmrfed="0",
        versions={"torch": "9.8.7"},
        config=config,
        data_fingerprint="0" * 64,
        sites=dict.fromkeys(sites, 12),
        held_out_patients=3,
        plan=plan,
        pretraining={"data": "the built-in phantom", "hearts": 8, "steps": 20},
    )
    run = Run(folder, record)
    real_hearts().save(folder / "central" / "held_out.safetensors")
    for number, arm in enumerate(found["arms"] if found else ARMS):
        run.arm_folder(arm).mkdir(parents=True)
        noise_for(hearts(), number).save(run.arm_folder(arm) / "synthetic.safetensors")
        if arm != "epsilon_0":
            log_rounds(run, arm, dict.fromkeys(sites))
    for site in sites if plan else ():
        spend(run.site_home(site), site)
    if found:
        (folder / "results.json").write_text(json.dumps(found))
    run.save_record()
    return run


def spend(folder: Path, site: str) -> None:
    """A home that has paid for two rounds of the run."""
    folder.mkdir(parents=True)
    policy = {"name": re.sub(r"[^\w .-]", "_", site), "maximum_epsilon": 99.0, "ledger": "../../ledger/ledger.sqlite"}
    OmegaConf.save(policy, folder / "site.yaml")
    home = Home(folder)
    atomic.write_text(home.plan("toy/private"), json.dumps({"plan": PLAN.model_dump(mode="json")}))
    for number in (1, 2):
        limits = Limits(99.0, 99.0, PLAN.delta, order=3.0)
        home.ledger.record(Cohort(bytes(64)), home.row_name("toy/private"), number, f"{number}", PLAN.event(2), limits)


def log_rounds(run: Run, arm: str, reasons: dict[str, str | None], rounds: int = 2) -> None:
    loss = 0.5 if arm == "non_private" else None
    lines = [
        {
            "round": number,
            "started": 0.0,
            "finished": 1.0,
            "sites": {site: {"reason": why, "loss": None if why else loss} for site, why in reasons.items()},
            "validation": {"Siemens": 0.4 / number, "Philips": 0.5 / number},
        }
        for number in range(1, rounds + 1)
    ]
    (run.arm_folder(arm) / "rounds.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
