"""Whether the attacks find a leak that is there and none where there is none, on the phantom, over several seeds.

For each seed a generator is trained far too long on a few hearts. The attacks must tell these ("planted") from hearts
that it never saw, and must not tell other hearts that it never saw ("unseen") from the same non-members. Of the 95 %
intervals of unseen hearts about one in twenty should miss 0.5, so their share is printed, with its own interval over
seeds, and the share that lies above 0.5, the false positives. Of seeds at most one in twenty should have an attack that
is significant after the correction for many attacks, or one whose simultaneous interval misses 0.5.
"""

import argparse
import json
from collections.abc import Iterable

import numpy as np

from cmrfed.config import GeneratorConfig, PreprocessingConfig, TrainingConfig
from cmrfed.console import console
from cmrfed.evaluation.leakage.attacks import ATTACKS, Candidates, Claim, PatientSlices, Probe, judge, score_patients
from cmrfed.evaluation.leakage.scene import patient_slices
from cmrfed.evaluation.subject import few_of_each
from cmrfed.generators import Generator, build_generator
from cmrfed.preparation import phantom_slices
from cmrfed.privacy import NoPrivacy
from cmrfed.slices import Slices, concatenate
from cmrfed.statistics import bootstrap_mean_interval
from cmrfed.training import LocalTask, train

POWER = 0.5
"""A family finds the leak when one of its attacks has a TPR at 1 % FPR above this."""
SIGNIFICANCE = 0.05

Judged = dict[str, dict[str, float]]


def main() -> None:
    """Measure, and print one JSON object."""
    options = _options()
    rounds = [_one_seed(seed, options) for seed in range(options.seed, options.seed + options.seeds)]
    planted, unseen = ([one[side] for one in rounds] for side in ("planted", "unseen"))
    found = {
        "families_that_find_the_leak": [_families(row) for row in planted],
        "fewest_families": min(len(_families(row)) for row in planted),
        "planted_tpr_at_1pct_fpr": _means(planted, "tpr_at_1pct_fpr"),
        "planted_auc": _means(planted, "auc"),
        "unseen_auc": _means(unseen, "auc"),
        "unseen_intervals_that_miss": _share([[one["misses"] for one in row.values()] for row in unseen]),
        "unseen_intervals_above": _share([[one["above"] for one in row.values()] for row in unseen]),
        "unseen_seeds_with_a_finding": sum(_significant(row) for row in unseen),
        "unseen_seeds_with_a_simultaneous_interval_that_misses": sum(map(_any_misses, unseen)),
        "seeds": options.seeds,
    }
    console.print(json.dumps(found, indent=2), markup=False, highlight=False)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--family", default="flow", help="generator family")
    parser.add_argument("--seeds", type=int, default=10, help="hearts, weights and noises anew for each")
    parser.add_argument("--seed", type=int, default=0, help="the first")
    parser.add_argument("--members", type=int, default=8, help="hearts that are trained on")
    parser.add_argument("--non-members", type=int, default=24, help="hearts that they are told from")
    parser.add_argument("--size", type=int, default=16, help="pixels a side")
    parser.add_argument("--steps", type=int, default=600, help="training steps")
    return parser.parse_args()


def _one_seed(seed: int, options: argparse.Namespace) -> dict[str, Judged]:
    count = options.members
    hearts = phantom_slices(2 * count + options.non_members, seed, PreprocessingConfig(size=options.size))
    few, names = few_of_each(hearts, 2), hearts.patient_names
    groups = (names[:count], names[count : 2 * count], names[2 * count :])
    members, others, non_members = (few.subset(group) for group in groups)
    generator = overtrained(members, options.family, options.steps, seed)
    return {
        side: _judged(generator, group, non_members, seed) for side, group in (("planted", members), ("unseen", others))
    }


def overtrained(slices: Slices, family: str, steps: int, seed: int) -> Generator:
    """A small generator that has seen these slices hundreds of times each."""
    config = GeneratorConfig(family=family, channels=(16, 16), trainable="all")  # type: ignore[arg-type]
    training = TrainingConfig(local_steps=steps, optimizer="adam", learning_rate=5e-3, batch_size=16, precision="fp32")
    generator = build_generator(config, seed)
    train(generator, slices, LocalTask(training=training, plan=NoPrivacy(), round=1, rounds=1, seed=seed))
    return generator


def _judged(generator: Generator, members: Slices, non_members: Slices, seed: int) -> Judged:
    """What is read of each attack on one group."""
    cohort = Candidates.of(members.records, non_members.records, seed)
    slices: PatientSlices = patient_slices(concatenate([members, non_members]))
    scores = score_patients({"probe": Probe(generator, slices, seed=seed)}, cohort)
    return {name: _read(one) for name, one in judge(scores, None, cohort, Claim(), 1000, seed).items()}


def _read(attack: dict[str, float]) -> dict[str, float]:
    kept = {key: attack[key] for key in ("auc", "tpr_at_1pct_fpr", "p_value_adjusted")}
    low, high = attack["auc_ci95"]  # type: ignore[misc]
    lowest, highest = attack["auc_ci95_simultaneous"]  # type: ignore[misc]
    return kept | {
        "misses": float(not low <= 0.5 <= high),
        "above": float(low > 0.5),
        "misses_simultaneously": float(not lowest <= 0.5 <= highest),
    }


def _families(row: Judged) -> list[str]:
    return sorted({ATTACKS[name].family for name, one in row.items() if one["tpr_at_1pct_fpr"] > POWER})


def _significant(row: Judged) -> bool:
    return any(one["p_value_adjusted"] < SIGNIFICANCE for one in row.values())


def _any_misses(row: Judged) -> bool:
    return any(one["misses_simultaneously"] for one in row.values())


def _means(rows: list[Judged], key: str) -> dict[str, float]:
    return {name: round(float(np.mean([row[name][key] for row in rows])), 3) for name in rows[0]}


def _share(misses: Iterable[list[float]]) -> dict[str, float | list[float]]:
    """Attacks of one seed share their patients: seeds are the unit."""
    by_seed = np.array([np.mean(one) for one in misses])
    return {"share": float(by_seed.mean()), "ci95": bootstrap_mean_interval(by_seed, 1000, 0)}


if __name__ == "__main__":
    main()
