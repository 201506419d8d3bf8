"""A run as the subject of its evaluation: its patients, and what each of its arms draws for them."""

import time
from collections.abc import Sequence

from cmrfed.config import EvaluationConfig
from cmrfed.core.progress import ProgressBar, shifted
from cmrfed.evaluation.subject import Subject, Synthetic, thin
from cmrfed.federation import Arm
from cmrfed.privacy import NoPrivacy
from cmrfed.runs.run import Run
from cmrfed.sampling import synthesise
from cmrfed.slices import Slices
from cmrfed.training import choose_device
from cmrfed.updates import load_generator


def subject_of(run: Run, config: EvaluationConfig, bar: ProgressBar) -> Subject:
    """A run's patients, and what each of its arms draws for them; the slices shown are kept for the report."""
    seed, training = run.config.seed, run.config.training
    train, held_out = run.train_slices(), run.held_out_slices()
    measured = any((config.fidelity, config.utility, config.leakage))
    most_shown = config.fidelity.slices if config.fidelity else _SHOWN * measured
    most_learnt = config.utility.slices if config.utility else 0
    shown, learnt = thin(held_out, most_shown, seed), thin(train.labelled(), most_learnt, seed)
    return Subject(
        train=train,
        held_out=held_out,
        shown=shown,
        learnt=learnt,
        synthetic=_made_elsewhere(run, most_shown, most_learnt)
        if run.record.images
        else {arm: _sampled(run, arm, shown, learnt, bar) for arm in _measured(run, config)},
        seed=seed,
        bootstrap=config.bootstrap,
        device=choose_device(training.device),
        precision=training.precision,
        cache=run.folder / "central" / "cache",
        sampling=run.config.sampling,
        members_known=run.record.members_known,
    )


_SHOWN = 200
"""Slices drawn for the report's pictures where fidelity is not measured; where nothing is, none are."""


def _measured(run: Run, config: EvaluationConfig) -> Sequence[str]:
    return run.arms() if config.arms == "all" else [run.main_arm()]


def _sampled(run: Run, arm: str, shown: Slices, learnt: Slices, bar: ProgressBar) -> Synthetic:
    if not len(shown) + len(learnt):
        return _of_arm(run, arm, shown, learnt)
    generator, _ = load_generator(run.model(arm))
    total, training, started = len(shown) + len(learnt), run.config.training, time.monotonic()
    with bar(f"sampling, {arm}") as progress:
        made = [
            synthesise(
                generator, slices, run.config.sampling, run.config.seed, training.device, training.precision,
                shifted(progress, before, total),
            )
            for slices, before in ((shown, 0), (learnt, len(shown)))
        ]  # fmt: skip
    made[0].save(run.arm_folder(arm) / "synthetic.safetensors")
    return _of_arm(run, arm, made[0], made[1], (time.monotonic() - started) / total)


def _of_arm(run: Run, arm: str, shown: Slices, learnt: Slices, seconds_per_slice: float | None = None) -> Synthetic:
    """Images, with what is known of who drew them; the start, which was trained on no patient, has neither a start nor
    a plan."""
    folder = run.arm_folder(arm)
    start = folder / "initial.safetensors"
    return Synthetic(
        shown,
        learnt,
        run.model(arm),
        seconds_per_slice,
        start=start if start.exists() else None,
        plan=Arm.open(folder).plan if (folder / "arm.json").exists() else NoPrivacy(),
    )


def _made_elsewhere(run: Run, most_shown: int, most_learnt: int) -> dict[str, Synthetic]:
    """Somebody else's images, whose masks are of nobody here."""
    images, seed = Slices.load(run.arm_folder("external") / "synthetic.safetensors"), run.config.seed
    shown, learnt = thin(images, most_shown, seed), thin(images.labelled(), most_learnt, seed)
    return {"external": Synthetic(shown, learnt, generator=None, paired=False)}
