"""Hearts on demand: whether all of them are hearts, whether they measure what they are asked to, whether a disease's
course is a course, and how long they take; and, beside real patients, how far they are from these.

    python -m benches.anatomy --hearts 200                    1,000 of each disease, at five severities
    python -m benches.anatomy --hearts 100 --data DATA
"""

import argparse
import json
import time
from collections import defaultdict
from functools import partial
from typing import Any

import numpy as np
from numpy.random import default_rng
from scipy.stats import wasserstein_distance

from benches.phantom import HALVES
from cmrfed.anatomy import draw_heart, measure, violations
from cmrfed.config import DataConfig, HeartConfig, PreprocessingConfig, VoxelsConfig
from cmrfed.console import console, progress_bar
from cmrfed.core.progress import counted
from cmrfed.parallel import map_in_order
from cmrfed.preparation import Source
from cmrfed.slices import split_patients
from cmrfed.volumes import Entry, load_case

SEVERITIES = (0.0, 0.25, 0.5, 0.75, 1.0)
DISEASES = ("NOR", "DCM", "HCM", "MINF", "RV")
TRENDS = {"DCM": ("edv_ml", 1), "HCM": ("wall_mm", 1), "MINF": ("ef", -1), "RV": ("rv_edv_ml", 1)}
"""Of each disease the measure that tells its severity, and which way it goes."""
COMPARED = ("edv_ml", "esv_ml", "ef", "mass_g", "wall_mm", "rv_edv_ml")

Order = tuple[str, float, int]
Measures = dict[str, float]


def main() -> None:
    """Measure, and print one JSON object."""
    options = _options()
    orders = [(disease, one, index) for disease in DISEASES for one in SEVERITIES for index in range(options.hearts)]
    began = time.perf_counter()
    with progress_bar("drawing hearts") as progress:
        drawn = map_in_order(partial(_drawn, seed=options.seed), orders)
        found = dict(zip(orders, counted(drawn, len(orders), progress), strict=True))
    told = {"hearts": len(orders), "seconds": round(time.perf_counter() - began, 1)} | _kept(found)
    if options.data:
        told["distances"] = _distances(found, options)
    console.print(json.dumps(told, indent=2), markup=False, highlight=False)


def _drawn(order: Order, seed: int) -> tuple[list[str], Measures, Measures]:
    """What is wrong with it, what it measures, and what it was to measure. The same person at every severity."""
    disease, severity, index = order
    heart = draw_heart(HeartConfig(pathology=disease, severity=severity), VoxelsConfig(), default_rng([seed, index]))
    wanted = heart.physiology
    esv_ml = wanted.lv_edv_ml - wanted.stroke_volume_ml
    asked = {"edv_ml": wanted.lv_edv_ml, "esv_ml": esv_ml, "rv_edv_ml": wanted.rv_edv_ml}
    return violations(heart.masks), measure(heart.masks, heart.spacing_mm), asked


def _kept(found: dict[Order, tuple[list[str], Measures, Measures]]) -> dict[str, Any]:
    off = {
        name: max(abs(measured[name] - asked[name]) for _, measured, asked in found.values())
        for name in ("edv_ml", "esv_ml", "rv_edv_ml")
    }
    people = {(disease, index) for disease, _, index in found if disease in TRENDS}
    courses = {
        disease: [
            np.diff([found[disease, severity, index][1][TRENDS[disease][0]] for severity in SEVERITIES])
            for one, index in people
            if one == disease
        ]
        for disease in TRENDS
    }
    return {
        "violations": sum(bool(faults) for faults, _, _ in found.values()),
        "furthest from what was asked": {name: round(value, 2) for name, value in off.items()},
        "courses without a step back": {
            disease: f"{sum(bool((TRENDS[disease][1] * steps > 0).all()) for steps in course)} of {len(course)}"
            for disease, course in courses.items()
        },
    }


def _distances(found: dict[Order, tuple[list[str], Measures, Measures]], options: argparse.Namespace) -> dict[str, Any]:
    """Wasserstein's, of each measure by disease: from the hearts to the development half of real patients, and of that
    half from the other one; in the measure's unit."""
    real = _real(options.data)
    told: dict[str, Any] = {}
    for disease in DISEASES:
        development, report = (real[half].get(disease, []) for half in HALVES)
        if min(len(development), len(report)) < 5:
            continue
        hearts = [measured for (one, severity, _), (_, measured, _) in found.items() if one == disease and severity > 0]
        told[disease] = {"patients": len(development)} | {
            name: {
                "hearts": _distance(name, hearts, development),
                "other real ones": _distance(name, report, development),
            }
            for name in COMPARED
        }
    return told


def _distance(name: str, ones: list[Measures], others: list[Measures]) -> float:
    values = ([one[name] for one in group if np.isfinite(one[name])] for group in (ones, others))
    return round(float(wasserstein_distance(*values)), 3)


def _real(data: str) -> dict[str, dict[str, list[Measures]]]:
    """Of each half of the patients, by pathology, what their whole masks measure."""
    entries = Source.of(DataConfig(root=data, sources={"mnms": "mnms", "acdc": "acdc"}), PreprocessingConfig()).entries
    visits: dict[str, dict[str, Entry]] = defaultdict(dict)
    for entry in entries:
        visits[entry.patient][entry.phase] = entry
    both = [visit for visit in visits.values() if {"ED", "ES"} <= visit.keys()]
    with progress_bar("measuring real patients") as progress:
        measures = list(counted(map_in_order(_measured, both), len(both), progress))
    halves = split_patients([visit["ED"] for visit in both], 0.5, seed=0, strata=("dataset", "pathology"))
    told: dict[str, dict[str, list[Measures]]] = {half: defaultdict(list) for half in HALVES}
    for visit, measured in zip(both, measures, strict=True):
        half = HALVES[visit["ED"].patient not in halves[0]]
        told[half][visit["ED"].pathology].append(measured)
    return told


def _measured(visit: dict[str, Entry]) -> Measures:
    cases = {phase: load_case(entry) for phase, entry in visit.items()}
    masks = {phase: _base_first(case.mask) for phase, case in cases.items()}
    return measure(masks, cases["ED"].spacing_mm)


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
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
