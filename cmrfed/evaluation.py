"""Run the configured scores on every arm of a run, and write them as results.json.

The evaluator is central: it holds the held-out patients, drawn before training, and (in a simulation) the training
patients. Fidelity compares synthetic images for held-out masks with the held-out images. Utility trains a segmenter on
synthetic images for *training* masks and tests it on held-out patients: synthetic images for the test patients' own
masks would carry their shapes into training. Leakage asks whether training patients can be told from held-out ones.
"""

import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cmrfed.attacks import ATTACKS, PatientSlices, membership_leakage
from cmrfed.config import EvaluationConfig
from cmrfed.fidelity import PatientFeatures, extract_features, fidelity_scores
from cmrfed.generators import Draws, Generator
from cmrfed.privacy import Ledger
from cmrfed.runs import Run
from cmrfed.sampling import synthesise
from cmrfed.shapes import structures_of
from cmrfed.slices import Slices
from cmrfed.training import autocast, choose_device
from cmrfed.updates import load_generator
from cmrfed.utility import TestStacks, TrainingSlices, compare_training_sets

Progress = Callable[[int, int], None]
ProgressBar = Callable[[str], AbstractContextManager[Progress]]
Results = dict[str, Any]


def evaluate(run: Run, config: EvaluationConfig, bar: ProgressBar) -> Results:
    """Score every arm and write results.json; returns what it holds. Synthetic slices are kept for the report."""
    started = time.monotonic()
    train, held_out = run.train_slices(), run.held_out_slices()
    shown = thin(held_out, config.fidelity_slices, run.config.seed)
    learnt, tested = thin(train.labelled(), config.utility_slices, run.config.seed), held_out.labelled()
    synthetic = {arm: _Synthetic.sample(run, arm, shown, learnt, bar) for arm in run.arms()}
    arms: dict[str, Results] = {arm: {} for arm in synthetic}
    if config.leakage:
        for arm in arms:
            with bar(f"membership inference, {arm}") as progress:
                arms[arm]["leakage"] = _leakage(run, arm, train, held_out, config, progress)
    if config.fidelity:
        with bar("features of images") as progress:
            _add(arms, "fidelity", _fidelity(run, train, shown, synthetic, config, progress))
    if config.utility and len(learnt) and len(tested):
        with bar("training segmenters") as progress:
            _add(arms, "utility", _utility(run, learnt, synthetic, tested, config, progress))
    timing = _timing(run) | {"sample_s_per_slice": synthetic[run.main_arm()].seconds_per_slice}
    results = _results(run, arms, timing | {"evaluate_s": time.monotonic() - started})
    _write_json(run.folder / "results.json", results)
    return results


@dataclass(frozen=True)
class _Synthetic:
    """An arm's synthetic slices: for held-out masks (`shown`) and for training masks (`learnt`)."""

    shown: Slices
    learnt: Slices
    seconds_per_slice: float

    @classmethod
    def sample(cls, run: Run, arm: str, shown: Slices, learnt: Slices, bar: ProgressBar) -> "_Synthetic":
        generator, _ = load_generator(run.arm_folder(arm) / "model.safetensors")
        total, training, started = len(shown) + len(learnt), run.config.training, time.monotonic()
        with bar(f"sampling, {arm}") as progress:
            made = [
                synthesise(
                    generator, slices, run.config.sampling, run.config.seed, training.device, training.precision,
                    _shifted(progress, before, total),
                )
                for slices, before in ((shown, 0), (learnt, len(shown)))
            ]  # fmt: skip
        seconds_per_slice = (time.monotonic() - started) / total
        made[0].save(run.arm_folder(arm) / "synthetic.safetensors")
        return cls(made[0], made[1], seconds_per_slice)


def _shifted(progress: Progress, before: int, total: int) -> Progress:
    """Progress of a part as progress of the whole."""
    return lambda done, _: progress(before + done, total)


def _add(arms: dict[str, Results], name: str, scores: dict[str, Results]) -> None:
    for arm, values in scores.items():
        arms[arm][name] = values


def thin(slices: Slices, count: int, seed: int) -> Slices:
    """At most `count` slices, drawn at random but kept in order; patients that lose all theirs are dropped."""
    if len(slices) <= count:
        return slices
    rows = np.sort(np.random.default_rng(seed).permutation(len(slices))[:count])
    return slices.take(rows)


def _fidelity(
    run: Run,
    train: Slices,
    shown: Slices,
    synthetic: dict[str, _Synthetic],
    config: EvaluationConfig,
    progress: Progress,
) -> dict[str, Results]:
    """Scores by arm. The real reference, as large as the test set, has its mix of vendors."""
    sets = {"test": shown, "reference": _matched(train, shown, run.config.seed)}
    sets |= {arm: made.shown for arm, made in synthetic.items()}
    total, features = sum(map(len, sets.values())), dict[str, PatientFeatures]()
    for name, slices in sets.items():
        before = sum(len(done.patients) for done in features.values())
        found = extract_features(
            torch.from_numpy(np.asarray(slices.images))[:, None],
            config.feature_extractor,
            config.inception_weights,
            device=choose_device(run.config.training.device),
            progress=_shifted(progress, before, total),
            cache=run.folder / "central" / "features",
        )
        features[name] = PatientFeatures(found, torch.from_numpy(slices.patients))
    return {
        arm: {**fidelity_scores(features["reference"], features["test"], features[arm], run.config.seed)}
        for arm in synthetic
    }


def _matched(train: Slices, shown: Slices, seed: int) -> Slices:
    """Training slices with the test set's number of slices from each vendor, as far as there are so many."""
    random, vendors = np.random.default_rng(seed), train.conditions[:, 0]
    rows = []
    for vendor, count in zip(*np.unique(shown.conditions[:, 0], return_counts=True), strict=True):
        own = np.flatnonzero(vendors == vendor)
        rows.append(random.permutation(own)[:count])
    return train.take(np.sort(np.concatenate(rows)))


def _utility(
    run: Run,
    learnt: Slices,
    synthetic: dict[str, _Synthetic],
    held_out: Slices,
    config: EvaluationConfig,
    progress: Progress,
) -> dict[str, Results]:
    """Scores by arm for segmenters trained on real, synthetic and both; the real one is trained once for all arms."""
    sets = {"real": training_slices(learnt)}
    for arm, made in synthetic.items():
        sets[f"{arm} synthetic"] = training_slices(made.learnt)
        sets[f"{arm} mixed"] = training_slices(learnt, made.learnt)
    scores = compare_training_sets(
        sets,
        test_stacks(held_out),
        config.segmenter_steps,
        config.segmenter_seeds,
        run.config.seed,
        config.bootstrap,
        choose_device(run.config.training.device),
        progress,
    )
    return {
        arm: {"real": scores["real"], "synthetic": scores[f"{arm} synthetic"], "mixed": scores[f"{arm} mixed"]}
        for arm in synthetic
    }


def training_slices(*parts: Slices) -> TrainingSlices:
    """All slices of the parts, which are labelled, for a segmenter to learn from."""
    batches = [part.batch(range(len(part)))[:2] for part in parts]
    images, masks = (torch.cat(tensors) for tensors in zip(*batches, strict=True))
    return TrainingSlices(images, structures_of(masks))


def test_stacks(held_out: Slices) -> TestStacks:
    """Held-out slices with what puts their stacks together again."""
    first = np.unique(held_out.stacks, return_index=True)[1]
    images, masks, _ = held_out.batch(range(len(held_out)))
    return TestStacks(
        images,
        structures_of(masks),
        torch.from_numpy(held_out.patients),
        torch.from_numpy(held_out.stacks),
        held_out.vendors,
        torch.from_numpy(held_out.spacing_mm[first]),
    )


def _leakage(
    run: Run, arm: str, train: Slices, held_out: Slices, config: EvaluationConfig, progress: Progress
) -> Results:
    """Every attack on every patient; members and strangers meet the same times and noises."""
    generator, _ = load_generator(run.arm_folder(arm) / "model.safetensors")
    few, others = (few_of_each(part, config.attack_slices_per_patient) for part in (train, held_out))
    device = choose_device(run.config.training.device)
    generator.to(device).eval()
    members = train.number_of_patients
    images, masks, conditions = (
        torch.cat(pair) for pair in zip(few.batch(range(len(few))), others.batch(range(len(others))), strict=True)
    )
    patients = torch.from_numpy(np.concatenate([few.patients, members + others.patients]))
    slices = PatientSlices(images, masks, conditions, patients)
    results = {}
    for name, attack in ATTACKS.items():
        scores = attack(
            _losses(generator, device, run.config.training.precision),
            slices,
            config.attack_times,
            config.attack_draws,
            run.config.seed,
            device=device,
            progress=progress,
        )
        results[name] = membership_leakage(scores[:members], scores[members:], config.bootstrap, run.config.seed)
    return results


def few_of_each(slices: Slices, count: int) -> Slices:
    """At most `count` slices of each patient, evenly spread over the patient's stacks."""
    rows = []
    for patient in range(slices.number_of_patients):
        own = slices.of_patient(patient)
        rows.append(own[np.unique(np.linspace(0, len(own) - 1, count).round().astype(int))])
    return slices.take(np.sort(np.concatenate(rows)))


def _losses(generator: Generator, device: torch.device, precision: str) -> Callable[..., torch.Tensor]:
    """The generator's loss as the attacks ask for it: given times and noises, conditions always kept."""

    def losses(
        images: torch.Tensor, masks: torch.Tensor, conditions: torch.Tensor, times: torch.Tensor, noises: torch.Tensor
    ) -> torch.Tensor:
        draws = Draws(times, noises, torch.ones(len(images), dtype=torch.bool, device=images.device))
        with autocast(device, precision):
            return generator.losses(images, masks, conditions, draws).float()

    return losses


def _results(run: Run, arms: dict[str, Results], timing: Results) -> Results:
    """results.json: the run's own arm at the top level, and all arms side by side under `arms`."""
    main = arms[run.main_arm()]
    return {
        "run": run.record.name,
        "arm": run.main_arm(),
        "sites": {site: _site(run, site) for site in run.sites},
        "fidelity": main.get("fidelity"),
        "utility": main.get("utility"),
        "leakage": main.get("leakage"),
        "timing": timing,
        "arms": arms,
        "private_beats_epsilon_0": _gain(arms),
    }


def _site(run: Run, site: str) -> Results:
    """What one site's patients were exposed to, as its own ledger has it."""
    own: Results = {"patients": run.record.sites[site], "epsilon": None, "delta": None, "noise_multiplier": None}
    plan = run.record.plan
    if plan is None:
        federation, training = run.config.federation, run.config.training
        return own | {"sample_rate": None, "steps": federation.rounds * training.local_steps}
    entries = Ledger(run.site_home(site) / "ledger.sqlite").entries()
    return own | {
        "epsilon": entries[-1].epsilon if entries else 0.0,
        "delta": plan.delta,
        "noise_multiplier": plan.noise_multiplier,
        "sample_rate": plan.sample_rate,
        "steps": sum(entry.event.steps for entry in entries),
    }


def _gain(arms: dict[str, Results]) -> Results | None:
    """Whether the private data bought anything over the start that saw none; None where one of the two is missing."""
    if not {"epsilon_0", "private"} <= arms.keys():
        return None
    before, after = arms["epsilon_0"], arms["private"]
    gain: Results = {}
    if "utility" in after:
        gain["dice_mean"] = (
            after["utility"]["synthetic"]["dice"]["mean"] - before["utility"]["synthetic"]["dice"]["mean"]
        )
    if "fidelity" in after:
        gain |= {name: after["fidelity"][name] - before["fidelity"][name] for name in ("fid", "kid")}
    return gain


def _timing(run: Run) -> Results:
    """Seconds of the run's own arm: at work at any site, and in the federation around that."""
    arm = run.arm_folder(run.main_arm())
    sessions = _intervals(arm / "sessions.jsonl", None)
    if not sessions:  # an arm that was run by hand, as on many machines
        return {"train_s": None, "federation_overhead_s": None, "federation_wall_s": None}
    wall = sum(end - start for start, end in sessions)
    request = f"{run.record.name}/{run.main_arm()}"
    logs = [run.site_home(site) / "rounds.jsonl" for site in run.sites]
    busy = _union_length([interval for log in logs for interval in _intervals(log, request)])
    return {"train_s": busy, "federation_overhead_s": wall - busy, "federation_wall_s": wall}


def _intervals(path: Path, request: str | None) -> list[tuple[float, float]]:
    if not path.exists():
        return []
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [(line["started"], line["finished"]) for line in lines if request in (None, line.get("run"))]


def _union_length(intervals: list[tuple[float, float]]) -> float:
    """Seconds covered by at least one interval: sites that train side by side count once."""
    covered, end = 0.0, float("-inf")
    for start, finish in sorted(intervals):
        covered += max(0.0, finish - max(start, end))
        end = max(end, finish)
    return covered


def _write_json(path: Path, values: Results) -> None:
    temporary = path.with_name(f".{path.name}")
    temporary.write_text(json.dumps(values, indent=2))
    temporary.replace(path)
