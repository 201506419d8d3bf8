"""What a canary audit proves of an epsilon that is true, how often it accuses who keeps it, and what it finds.

The mechanism is the plan's own in numbers alone, with nobody else's gradients in the way; scores, bounds and verdict
are those of `cmrfed canary-audit`. For each plan, calibrated to epsilon at delta 1e-5, many audits are made.

- `any`, `curve`, `plan`: epsilon proved at 95 % confidence by the median audit: whatever the mechanism is (Steinke's
  bound, the best of three numbers of guesses, paid for); if its trade-off curve is the plan's at some noise; if it
  treats canaries independently besides. In brackets how many of the audits have a bound above the truth: 5 % may.
- `refuted`: audits of plans that are kept which the verdict of the command refutes (1 in 1,000 may).
- Then broken mechanisms by name, and how often the verdict refutes them; in brackets how often `any` does, at 95 %.

    python -m benches.canaries
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Bool, Float

from cmrfed.canary_audit import FALSE_ALARMS, audit_best, evidence
from cmrfed.console import console, progress_bar
from cmrfed.privacy import GaussianEvent, calibrate_noise, guess
from cmrfed.privacy.curve_audit import BY_CURVE, BY_PLAN, Method, curve_bound, fewest_that_refute
from cmrfed.privacy.trade_off import trade_off

DELTA, CONFIDENCE = 1e-5, 0.95
EPSILONS = (1.0, 3.0, 8.0)
SAMPLINGS = ((1.0, 20), (0.5, 60), (0.1, 200))
"""(sample_rate, steps)."""

Broken = Callable[[GaussianEvent], GaussianEvent]
BROKEN: dict[str, Broken] = {
    "a tenth of the noise missing": lambda event: _noisier(event, 0.9),
    "a fifth of the noise missing": lambda event: _noisier(event, 0.8),
    "one of three shares of noise missing": lambda event: _noisier(event, (2 / 3) ** 0.5),
    "half of the noise missing": lambda event: _noisier(event, 0.5),
    "twice the steps": lambda event: event.model_copy(update={"steps": 2 * event.steps}),
    "everybody sampled": lambda event: event.model_copy(update={"sample_rate": 1.0}),
}


@dataclass(frozen=True)
class Audits:
    """Of many runs of one mechanism: bounds for whatever mechanism, and right guesses for the two others."""

    best: list[float]
    by_curve: list[int]
    by_plan: list[int]


def main() -> None:
    """Measure, and print two tables."""
    options = _options()
    tables = [[["plan", "epsilon", "any", "curve", "plan", "refuted"]], [["plan", "epsilon", *BROKEN]]]
    plans = [(*sampling, epsilon) for sampling in SAMPLINGS for epsilon in EPSILONS]
    with progress_bar("auditing (plans)") as progress:
        for done, (rate, steps, epsilon) in enumerate(plans, start=1):
            sigma = calibrate_noise(epsilon, DELTA, rate, steps, "prv")
            event = GaussianEvent(sample_rate=rate, noise_multiplier=sigma, steps=steps)
            plan = [f"{steps} steps, {'all' if rate == 1 else format(rate, 'g')} of the patients", f"{epsilon:g}"]
            for table, row in zip(tables, (_proved, _found), strict=True):
                table.append([*plan, *row(event, epsilon, options)])
            progress(done, len(plans))
    _print(f"{options.canaries} canaries, {options.audits} audits of each plan, seed {options.seed}")
    for head, *rows in tables:
        _print("", *(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)))


def _print(*lines: str) -> None:
    """Markdown, with no line broken."""
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--canaries", type=int, default=2000, help="in each audit")
    parser.add_argument("--audits", type=int, default=200, help="of each plan that is kept")
    parser.add_argument("--seed", type=int, default=0, help="of coins, samples and noise")
    return parser.parse_args()


def _proved(event: GaussianEvent, epsilon: float, options: argparse.Namespace) -> Iterator[str]:
    kept = _audits(event, event, options, options.audits)
    yield _told(float(np.median(kept.best)), epsilon, np.greater(kept.best, epsilon))
    for method, right in ((BY_CURVE, kept.by_curve), (BY_PLAN, kept.by_plan)):
        median = curve_bound(method, options.canaries, int(np.median(right)), event, DELTA, CONFIDENCE)
        yield _told(median.epsilon_lower, epsilon, _refuted(method, event, right, 1 - CONFIDENCE, options))
    yield f"{_refuted(BY_PLAN, event, kept.by_plan, FALSE_ALARMS, options).mean():.1%}"


def _found(event: GaussianEvent, epsilon: float, options: argparse.Namespace) -> Iterator[str]:
    for change in BROKEN.values():
        if change(event) == event:
            yield ""
            continue
        broken = _audits(event, change(event), options, max(1, options.audits // 4))
        by_plan = _refuted(BY_PLAN, event, broken.by_plan, FALSE_ALARMS, options).mean()
        yield f"{by_plan:.0%} ({np.greater(broken.best, epsilon).mean():.0%})"


def _audits(claimed: GaussianEvent, actual: GaussianEvent, options: argparse.Namespace, count: int) -> Audits:
    random, audits = np.random.default_rng(options.seed), Audits([], [], [])
    for _ in range(count):
        inserted = random.random(options.canaries) < 0.5
        scores = _scores(claimed, actual, inserted, random)
        audits.best.append(audit_best(scores, inserted, DELTA, CONFIDENCE).epsilon_lower)
        audits.by_curve.append(_right(BY_CURVE, scores, inserted))
        audits.by_plan.append(_right(BY_PLAN, scores, inserted))
    return audits


def _scores(
    claimed: GaussianEvent, actual: GaussianEvent, inserted: Bool[np.ndarray, " canary"], random: np.random.Generator
) -> Float[np.ndarray, " canary"]:
    """One step a round, each released in units of the clipping norm."""
    one_step = claimed.model_copy(update={"steps": 1})
    scores = np.zeros(len(inserted))
    for _ in range(actual.steps):
        taken = (random.random(len(inserted)) < actual.sample_rate) & inserted
        scores += evidence(taken + actual.noise_multiplier * random.normal(size=len(inserted)), one_step)
    return scores


def _right(method: Method, scores: Float[np.ndarray, " canary"], inserted: Bool[np.ndarray, " canary"]) -> int:
    return int(np.sum(guess(scores, method.guesses(len(scores))) == np.where(inserted, 1, -1)))


def _refuted(
    method: Method, event: GaussianEvent, right: list[int], error: float, options: argparse.Namespace
) -> Bool[np.ndarray, " audit"]:
    """Which of the audits refute the plan."""
    fewest = _fewest(method, options.canaries, event, error)
    return np.array(right) >= (np.inf if fewest is None else fewest)


@cache
def _fewest(method: Method, canaries: int, event: GaussianEvent, error: float) -> int | None:
    return fewest_that_refute(method, canaries, trade_off(event), error)


def _told(proved: float, epsilon: float, above: Bool[np.ndarray, " audit"]) -> str:
    return f"{proved:.2f} = {proved / epsilon:.0%} ({above.mean():.1%})"


def _noisier(event: GaussianEvent, factor: float) -> GaussianEvent:
    return event.model_copy(update={"noise_multiplier": factor * event.noise_multiplier})


if __name__ == "__main__":
    main()
