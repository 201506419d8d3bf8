"""Commands about privacy: calibrate, epsilon. They read what `cmrfed simulate` reads and show the plan it would run."""

import math
import time
from typing import Any

from rich import box
from rich.markup import escape
from rich.padding import Padding
from rich.status import Status
from rich.table import Table

from cmrfed.cli.stages import Simulate
from cmrfed.config import RunConfig, UserError
from cmrfed.console import console

_FALSE_POSITIVE_RATES = (0.01, 0.001)
_PATIENCE_S = 2.0


def calibrate(command: Simulate) -> None:
    config = _config(command)
    with console.status("calibrating the noise to the whole federation") as status:
        from cmrfed.privacy import compare

        plan = _plan(config, _Trials(status))
        comparison = compare([plan.event(plan.steps)], plan.delta)
    _print_plan(config, plan)
    _print_accountants(comparison, plan)
    _print_paragraph("cmrfed simulate with the same keys runs this plan; cmrfed privacy epsilon says what it means.")


def epsilon(command: Simulate) -> None:
    config = _config(command)
    with console.status("composing every step of every round") as status:
        from cmrfed.privacy import compare

        plan = _plan(config, _Trials(status))
        comparison = compare([plan.event(plan.steps)], plan.delta)
        growth, look = _growth(config, plan), _one_unsampled_step(plan)
        attacks = [_true_positive_rates(plan, rate) for rate in _FALSE_POSITIVE_RATES]
    _print_plan(config, plan)
    _print_accountants(comparison, plan)
    _print_growth(growth, look, plan)
    _print_meaning(config, plan)
    _print_attacks(attacks)


def _config(command: Simulate) -> RunConfig:
    """The run that `cmrfed simulate` would make of the same keys."""
    if command.resume:
        raise UserError("resume: this command plans a run and resumes none; what a run spent is in its report.html")
    config = command.config
    if config.privacy.mode == "none":
        raise UserError("privacy.mode: none promises nothing, so that there is no epsilon; leave out recipe=none")
    return config


class _Trials:
    """Shows how far a calibration is, once it has taken two seconds; off a terminal as lines."""

    def __init__(self, status: Status) -> None:
        self._status, self._started = status, time.monotonic()

    def __call__(self, noise_multiplier: float, epsilon: float) -> None:
        if time.monotonic() - self._started < _PATIENCE_S:
            return
        tried = f"calibrating: noise multiplier {noise_multiplier:.4g} costs epsilon {epsilon:.4g}"
        self._status.update(tried)
        if not console.is_terminal:
            console.print(f"  {tried}")


def _plan(config: RunConfig, report: _Trials) -> Any:
    from cmrfed.privacy import LocalNoise

    return LocalNoise.calibrated(config.privacy, config.federation, config.training, report)


def _growth(config: RunConfig, plan: Any) -> list[tuple[int, int, float]]:
    """(round, steps, epsilon) after a quarter, half, three quarters and all of the rounds."""
    from cmrfed.privacy import epsilon

    rounds = sorted({math.ceil(config.federation.rounds * quarter / 4) for quarter in (1, 2, 3, 4)})
    steps = [round * config.training.local_steps for round in rounds]
    spent = [epsilon([plan.event(count)], plan.delta, plan.accountant) for count in steps]
    return list(zip(rounds, steps, spent, strict=True))


def _one_unsampled_step(plan: Any) -> float:
    """What a single step over all patients would cost at the same noise."""
    from cmrfed.privacy import epsilon

    event = plan.event(1).model_copy(update={"sample_rate": 1.0})
    return epsilon([event], plan.delta, plan.accountant)


def _true_positive_rates(plan: Any, false_positive_rate: float) -> tuple[float, float, float]:
    """(false positive rate, what (epsilon, delta) alone allow, what all the plan's guarantees together allow)."""
    from cmrfed.privacy import attacker_true_positive_rate, epsilon, strongest_attack

    events = [plan.event(plan.steps)]
    spent = epsilon(events, plan.delta, plan.accountant)
    alone = attacker_true_positive_rate(spent, plan.delta, false_positive_rate)
    together = strongest_attack(events, plan.delta, false_positive_rate, plan.accountant)
    return false_positive_rate, alone, together


def _print_plan(config: RunConfig, plan: Any) -> None:
    given = config.privacy.noise_multiplier is not None
    made, promised = ("given", "costs") if given else (f"calibrated by {plan.accountant}", "stays within")
    table = Table.grid(padding=(0, 3))
    for name, value, what in (
        ("noise multiplier", f"[bold]{plan.noise_multiplier:.4f}[/bold]", f"{made}, per unit of clipping norm"),
        ("epsilon", f"{_up(plan.target_epsilon):.2f}", f"what the whole run {promised}, by {plan.accountant}"),
        ("delta", f"{plan.delta:g}", "the chance that may escape it"),
        ("sample rate", f"{plan.sample_rate:g}", "each patient's chance of being in a step"),
        ("steps", str(plan.steps), f"{config.federation.rounds} rounds of {config.training.local_steps}"),
    ):
        table.add_row(name, value, what)
    console.print(Padding(table, (1, 0, 0, 2)))


def _print_accountants(comparison: Any, plan: Any) -> None:
    table = Table("accountant", "epsilon", "", box=box.SIMPLE_HEAD)
    table.columns[1].justify = "right"
    for bound in comparison.bounds:
        shown = "–" if bound.epsilon is None else f"{_up(bound.epsilon, 3):.3f}"
        style = "bold" if bound == comparison.tightest else None
        table.add_row(bound.accountant, shown, escape(bound.problem or _note(bound, comparison, plan)), style=style)
    console.print(table)


def _note(bound: Any, comparison: Any, plan: Any) -> str:
    notes = ["tightest"] if bound == comparison.tightest else []
    notes += ["the plan's own"] if bound.accountant == plan.accountant else []
    notes += ["what ledgers use"] if bound.accountant == "prv" else []
    return ", ".join(notes)


def _print_growth(growth: list[tuple[int, int, float]], look: float, plan: Any) -> None:
    table = Table("after round", "steps", f"epsilon ({plan.accountant})", box=box.SIMPLE_HEAD)
    for column in table.columns:
        column.justify = "right"
    for round, steps, spent in growth:
        table.add_row(str(round), str(steps), f"{_up(spent):.2f}")
    console.print(table)
    _print_paragraph(f"One step over all patients (sample rate 1) at the same noise would cost {_up(look):.2f}.")


def _print_meaning(config: RunConfig, plan: Any) -> None:
    spent = _up(plan.target_epsilon)
    _print_paragraph("[bold]What it means[/bold]")
    if plan.seed is not None:
        _print_paragraph("[red]privacy.seed is set: whoever knows it can take the noise off, and nothing holds.[/red]")
    _print_paragraph(
        "The unit is a patient: all images of one patient count together. The promise compares this run with the same "
        "run without that patient (add-or-remove adjacency)."
    )
    _print_paragraph(
        f"Whatever anybody concludes from what is released is at most {_times(spent)} times (e^{spent:.2f}) as likely "
        f"with the patient as without, or the reverse, give or take a probability of {plan.delta:g}. By no more than "
        "that factor can it change the odds that the patient took part."
    )
    _print_paragraph(_rests_on(config))
    _print_paragraph(
        "Further runs with the same patients add to it. Each site's ledger keeps count; two hospitals' ledgers do not "
        "know of a patient they share."
    )


def _rests_on(config: RunConfig) -> str:
    if config.privacy.mode == "local":
        return "It holds against the server and everybody else: each site adds all of the noise itself."
    return (
        "It rests on secure aggregation: the noise is the sum of all sites' shares, and holds as long as no more than "
        f"{config.privacy.dropouts} of them fail in a round and no more than {config.privacy.colluders} side with the "
        "server."
    )


def _print_attacks(attacks: list[tuple[float, float, float]]) -> None:
    _print_paragraph(
        "The best possible attacker knows everything but whether the patient took part. At each false positive rate "
        "(share of those who did not take part, taken for members) its true positive rate is at most:"
    )
    table = Table("FPR", "TPR, by epsilon and delta", "TPR, by the whole plan", box=box.SIMPLE_HEAD)
    for column in table.columns:
        column.justify = "right"
    for false_positive_rate, alone, together in attacks:
        table.add_row(f"{false_positive_rate:.1%}", f"{_up(100 * alone):.2f}%", f"{_up(100 * together):.2f}%")
    console.print(table)
    _print_paragraph("For blind guessing both rates are equal. What real attacks reached is in a run's report.html.")


def _print_paragraph(text: str) -> None:
    console.print(Padding(text, (0, 0, 1, 2)))


def _up(value: float, digits: int = 2) -> float:
    """Rounded up: what was spent may be overstated and never understated."""
    return math.ceil(value * 10**digits - 1e-9) / 10**digits


def _times(spent: float) -> str:
    if spent > 700:
        return "more than 1e300"
    factor = math.exp(spent)
    return f"{factor:.3g}" if factor < 1000 else f"{factor:,.0f}" if factor < 1e6 else f"{factor:.1e}"
