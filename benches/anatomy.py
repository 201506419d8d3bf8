"""Hearts on demand: whether all of them are hearts, whether they measure what they are asked to, whether a disease's
course is a course, and how long they take; and, beside real patients, how far they are from these.

    python -m benches.anatomy --hearts 200                    1,000 of each disease, at five severities
    python -m benches.anatomy --hearts 60 --data DATA         and as many of patients' severities beside real ones
"""

import argparse
import json
import time
from collections import defaultdict
from dataclasses import dataclass
from functools import partial
from typing import Any, get_args

import numpy as np
from numpy.random import default_rng
from scipy.stats import wasserstein_distance

from benches.phantom import HALVES
from cmrfed.anatomy import draw_heart, measure, violations
from cmrfed.config import DataConfig, Disease, HeartConfig, PreprocessingConfig, VoxelsConfig
from cmrfed.console import console, progress_bar
from cmrfed.core.progress import counted
from cmrfed.parallel import map_in_order
from cmrfed.preparation import Source
from cmrfed.slices import split_patients
from cmrfed.volumes import Entry, load_case

SEVERITIES = (0.0, 0.25, 0.5, 0.75, 1.0)
DIAGNOSED = (0.4, 1.0)
"""Severities of patients who carry a diagnosis, each as likely: below, a heart hardly differs from a healthy one."""
DISEASES: tuple[Disease, ...] = get_args(Disease)
TRENDS: dict[Disease, tuple[str, int]] = {
    "DCM": ("edv_ml", 1),
    "HCM": ("wall_mm", 1),
    "MINF": ("ef", -1),
    "RV": ("rv_edv_ml", 1),
    "ASD": ("rv_edv_ml", 1),
    "TOF": ("rv_edv_ml", 1),
}
"""Of each disease the measure that tells its severity, and which way it goes."""
COMPARED = ("edv_ml", "esv_ml", "ef", "mass_g", "wall_mm", "rv_edv_ml", "rv_lv")
YARDSTICKS = {"acdc": ("acdc",), "acdc and mnms": ("acdc", "mnms")}
"""ACDC's voxels are true; copies of M&Ms without their spacing make its volumes wrong by some tens of percent."""
_FEWEST = 5

Order = tuple[Disease, float, int]
Measures = dict[str, float]
Patients = list[tuple[str, Measures]]
"""A data set's name with each."""


@dataclass(frozen=True)
class Drawn:
    """What is wrong with a heart, what it measures, what it was to measure, and the processor's time for all that."""

    faults: list[str]
    measured: Measures
    asked: Measures
    seconds: float


def main() -> None:
    """Measure, and print one JSON object."""
    options = _options()
    orders = [(disease, one, index) for disease in DISEASES for one in SEVERITIES for index in range(options.hearts)]
    began = time.perf_counter()
    found = _all_drawn(orders, options)
    told = {
        "hearts": len(orders),
        "seconds": round(time.perf_counter() - began, 1),
        "processor ms a heart": round(1000 * sum(one.seconds for one in found.values()) / len(found), 1),
    }
    told |= _kept(found)
    if options.data:
        told["distances"] = _distances(_population(options), _real(options.data), options.half)
    console.print(json.dumps(told, indent=2), markup=False, highlight=False)


def _all_drawn(orders: list[Order], options: argparse.Namespace) -> dict[Order, Drawn]:
    with progress_bar("drawing hearts") as progress:
        drawn = map_in_order(partial(_drawn, seed=options.seed), orders, options.workers)
        return dict(zip(orders, counted(drawn, len(orders), progress), strict=True))


def _drawn(order: Order, seed: int) -> Drawn:
    """The same person at every severity."""
    began = time.process_time()
    disease, severity, index = order
    heart = draw_heart(HeartConfig(pathology=disease, severity=severity), VoxelsConfig(), default_rng([seed, index]))
    faults, measured = violations(heart.masks), measure(heart.masks, heart.spacing_mm)
    wanted = heart.physiology
    esv_ml = wanted.lv_edv_ml - wanted.stroke_volume_ml
    asked = {"edv_ml": wanted.lv_edv_ml, "esv_ml": esv_ml, "rv_edv_ml": wanted.rv_edv_ml}
    return Drawn(faults, _with_ratio(measured), asked, time.process_time() - began)


def _with_ratio(measured: Measures) -> Measures:
    return measured | {"rv_lv": measured["rv_edv_ml"] / measured["edv_ml"]}


def _kept(found: dict[Order, Drawn]) -> dict[str, Any]:
    off = {
        name: max(abs(one.measured[name] - one.asked[name]) for one in found.values())
        for name in ("edv_ml", "esv_ml", "rv_edv_ml")
    }
    people = sorted({index for _, _, index in found})
    steps = {
        disease: [np.diff([found[disease, one, index].measured[name] for one in SEVERITIES]) for index in people]
        for disease, (name, _) in TRENDS.items()
    }
    return {
        "violations": sum(bool(one.faults) for one in found.values()),
        "furthest from what was asked": {name: round(value, 2) for name, value in off.items()},
        "courses without a step back": {
            disease: f"{sum(bool((way * one > 0).all()) for one in steps[disease])} of {len(people)}"
            for disease, (_, way) in TRENDS.items()
        },
    }


def _population(options: argparse.Namespace) -> dict[Disease, list[Measures]]:
    """Hearts as severe as patients' are."""
    severities = default_rng(options.seed).uniform(*DIAGNOSED, options.hearts)
    found = _all_drawn(
        [(disease, float(one), index) for disease in DISEASES for index, one in enumerate(severities)], options
    )
    told: dict[Disease, list[Measures]] = defaultdict(list)
    for (disease, _, _), one in found.items():
        told[disease].append(one.measured)
    return told


def _distances(
    hearts: dict[Disease, list[Measures]], real: dict[str, dict[str, Patients]], half: str
) -> dict[str, Any]:
    """Wasserstein's, of each measure by disease, in the measure's unit: from the hearts to a half of the real patients,
    and from that half to the other one."""
    other = next(one for one in HALVES if one != half)
    told: dict[str, Any] = {}
    for yardstick, datasets in YARDSTICKS.items():
        for disease in DISEASES:
            ours, theirs = (
                [measured for dataset, measured in real[one].get(disease, []) if dataset in datasets]
                for one in (half, other)
            )
            if min(len(ours), len(theirs)) >= _FEWEST:
                told[f"{disease}, {yardstick}"] = {"patients": len(ours)} | {
                    name: {
                        "hearts": _distance(name, hearts[disease], ours),
                        "other real ones": _distance(name, theirs, ours),
                    }
                    for name in COMPARED
                }
    return told


def _distance(name: str, ones: list[Measures], others: list[Measures]) -> float:
    values = ([one[name] for one in group if np.isfinite(one[name])] for group in (ones, others))
    return round(float(wasserstein_distance(*values)), 3)


def _real(data: str) -> dict[str, dict[str, Patients]]:
    """Of each half of the patients, by pathology, their data set and what their whole masks measure."""
    entries = Source.of(DataConfig(root=data, sources={"mnms": "mnms", "acdc": "acdc"}), PreprocessingConfig()).entries
    visits: dict[str, dict[str, Entry]] = defaultdict(dict)
    for entry in entries:
        visits[entry.patient][entry.phase] = entry
    both = [visit for visit in visits.values() if {"ED", "ES"} <= visit.keys()]
    with progress_bar("measuring real patients") as progress:
        measures = list(counted(map_in_order(_measured, both), len(both), progress))
    halves = split_patients([visit["ED"] for visit in both], 0.5, seed=0, strata=("dataset", "pathology"))
    told: dict[str, dict[str, Patients]] = {half: defaultdict(list) for half in HALVES}
    for visit, measured in zip(both, measures, strict=True):
        half = HALVES[visit["ED"].patient not in halves[0]]
        told[half][visit["ED"].pathology].append((visit["ED"].dataset, measured))
    return told


def _measured(visit: dict[str, Entry]) -> Measures:
    cases = {phase: load_case(entry) for phase, entry in visit.items()}
    masks = {phase: _base_first(case.mask) for phase, case in cases.items()}
    return _with_ratio(measure(masks, cases["ED"].spacing_mm))


def _base_first(mask: np.ndarray) -> np.ndarray:
    """From the base to the apex, as the end with the larger heart tells."""
    areas = (mask > 0).sum(axis=(1, 2))
    shown = np.flatnonzero(areas)
    half = len(shown) // 2
    return mask if areas[shown[:half]].sum() >= areas[shown[-half:]].sum() else mask[::-1]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hearts", type=int, default=200, help="people, each with every disease at five severities")
    parser.add_argument("--data", help="folder that holds mnms/ and acdc/")
    parser.add_argument("--half", choices=HALVES, default=HALVES[0], help="of the real patients, compared with")
    parser.add_argument("--workers", type=int, help="processes; as many as processors by default, 0 for this one alone")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    # workers import functions by name, and have none of a program's
    from benches import anatomy

    anatomy.main()
