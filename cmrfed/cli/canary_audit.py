"""The command canary-audit: does the private training keep what its epsilon promises?"""

import sys
from typing import Any

from rich.table import Table

from cmrfed.cli.stages import CanaryAudit
from cmrfed.config import UserError
from cmrfed.console import console, errors, progress_bar

_SITES = 3
"""Sites of an audited step of distributed noise."""


def audit(command: CanaryAudit) -> None:
    settings, config = command.canary_audit, command.config
    if config.privacy.mode == "none":
        raise UserError("privacy.mode: none promises nothing, so that there is nothing to audit; leave out recipe=none")
    from cmrfed.canary_audit import run_canary_audit
    from cmrfed.generators import build_generator
    from cmrfed.preparation import phantom_slices
    from cmrfed.privacy import LocalNoise

    with console.status("calibrating the noise"):
        own = LocalNoise.calibrated(config.privacy, config.federation, config.training)
        plan = own.among(_SITES, config.privacy)
    with progress_bar("imaging phantom patients") as progress:
        slices = phantom_slices(settings.patients, config.seed, config.preprocessing, progress)
    sites = [slices] * (1 if isinstance(plan, LocalNoise) else _SITES)
    with progress_bar("training with canaries (rounds)") as progress:
        outcome = run_canary_audit(
            build_generator(config.generator, config.seed), sites, plan, config.training, settings, progress
        )
    _print(outcome, plan.delta, settings.noise)
    if outcome.refuted:
        errors.print(
            f"cmrfed canary-audit: the plan of epsilon {outcome.claimed_epsilon:.3g} is refuted: do not train on "
            "patients with this installation", style="red", markup=False,
        )  # fmt: skip
        sys.exit(1)


def _print(outcome: Any, delta: float, noise: bool) -> None:
    console.print(_table(outcome, delta))
    if not noise:
        console.print(
            "The noise was taken away behind the plan's back (canary_audit.noise=false): it should be refuted."
        )
    if outcome.refuted:
        return
    if outcome.doubtful:
        one_in = 1 / (1 - outcome.sharpest.confidence)
        console.print(
            "The claim stands, but less surely than most: a bound above it comes up in one audit of "
            f"{one_in:.0f} of a plan that is kept. Run it again.", style="yellow",
        )  # fmt: skip
    elif outcome.has_power:
        console.print("The claim stands: this observer could not refute it. That is evidence, and no proof.")
    else:
        console.print(
            "The claim stands, but this audit would hardly have found a fifth of the noise missing: raise "
            "canary_audit.canaries or privacy.target_epsilon, which audits the same code.", style="yellow",
        )  # fmt: skip


def _table(outcome: Any, delta: float) -> Table:
    """What is claimed; what is proved, on which condition; and how hard it was looked."""
    sharpest = outcome.sharpest
    table = Table(
        title="training with canaries, to an observer of every update", title_justify="left", show_header=False
    )
    table.add_column()
    table.add_column(justify="right")
    table.add_row(f"claimed: epsilon at delta {delta:g}, an upper bound", f"{outcome.claimed_epsilon:.3f}")
    table.add_row(f"at {outcome.refuted_at:.4g} confidence the claim", "is refuted" if outcome.refuted else "stands")
    table.add_section()
    table.add_row(f"proved at {sharpest.confidence:.4g} confidence: epsilon is at least", "")
    table.add_row("  whatever the mechanism is", f"{outcome.best.epsilon_lower:.3f}")
    table.add_row("  if it has the plan's trade-off curve at some noise", f"{outcome.by_curve.epsilon_lower:.3f}")
    if outcome.by_plan:
        table.add_row("  and if it treats patients independently", f"{outcome.by_plan.epsilon_lower:.3f}")
    if sharpest.noise_multiplier:
        part = sharpest.noise_multiplier / outcome.claimed_noise
        table.add_row("  so that the noise is less than the planned times", f"{part:.3f}")
    table.add_section()
    table.add_row("right guesses behind the last bound", f"{sharpest.correct} of {sharpest.guesses}")
    table.add_row("canaries, each put in by a fair coin", str(sharpest.canaries))
    table.add_row("chance to refute four fifths of the planned noise", f"{outcome.power:.1%}")
    return table
