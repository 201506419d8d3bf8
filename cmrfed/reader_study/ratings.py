"""Answers + key of a review of plausibility -> how plausible synthetic hearts are beside real ones, and whether readers
see severity.

Every reader sees the same cases, so intervals draw both readers and cases, each case for all readers at once: the
bootstrap of crossed random effects (Owen, Ann Appl Stat 2007, doi:10.1214/07-AOAS122). Cases drawn for each reader
alone would be too narrow by as much as a case is easy or hard for all. Of one reader only cases are drawn.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int64
from scipy.stats import kendalltau, mannwhitneyu

from cmrfed.reader_study.answers import ARTEFACTS, PlausibilityAnswers
from cmrfed.reader_study.plausibility import HeartOrigin, PlausibilityKey
from cmrfed.statistics import percentile_interval

QUESTIONS = ("anatomy", "motion")
_REPLICATES = 4000

Scores = dict[str, Any]
Table = Float[np.ndarray, "reader case"]
"""A number for each reader and case, NaN where the reader did not answer."""


def score_review(key: PlausibilityKey, readers: Sequence[PlausibilityAnswers]) -> Scores:
    """Scores of each reader and of all together (`_scores`), then of all readers: Kendall's tau-b by disease, ratings
    by disease and by severity, how often each artefact was chosen, and the notes beside what they are about."""
    return {
        "readers": [{"reader": one.reader, **_scores(key, [one])} for one in readers],
        "pooled": _scores(key, readers),
        "tau_by_pathology": _tau_by_pathology(key, readers),
        "ratings_by_group": _by_group(key, readers),
        "artefacts": _artefacts(key, readers),
        "notes": _notes(key, readers),
    }


def tau_b(order: Sequence[str], severities: Mapping[str, float]) -> float:
    """Kendall's tau-b between places in the given order and true severities: 1 is the true order, -1 its reverse."""
    return float(kendalltau(range(len(order)), [severities[name] for name in order]).statistic)


def cliffs_delta(table: Table, synthetic: Bool[np.ndarray, " case"]) -> float | None:
    """How often a synthetic heart is rated above a real one less how often below, from -1 to 1 (Cliff, Psychol Bull
    1993); of each reader's own ratings, then the mean over readers. None where no reader rated both kinds."""
    ones = np.ones((1, table.shape[1]), np.int64)
    found = _weighted(_deltas(table, synthetic, ones), np.ones((1, len(table)), np.int64))
    return float(found[0]) if np.isfinite(found[0]) else None


def _scores(key: PlausibilityKey, readers: Sequence[PlausibilityAnswers]) -> Scores:
    """rated, ordered: how many answers. tau_b: the mean, with its interval; None without orderings. And of each
    question `_compared`."""
    synthetic = np.array([one.synthetic for one in key.hearts.values()], bool)
    compared = {question: _compared(_ratings(key, readers, question), synthetic) for question in QUESTIONS}
    return {
        "rated": sum(len(one.ratings) for one in readers),
        "ordered": sum(len(one.orderings) for one in readers),
        "tau_b": _mean(_taus(key, readers)),
        **compared,
    }


def _ratings(key: PlausibilityKey, readers: Sequence[PlausibilityAnswers], question: str) -> Table:
    table = np.full((len(readers), len(key.hearts)), np.nan)
    for row, reader in zip(table, readers, strict=True):
        for column, name in enumerate(key.hearts):
            if name in reader.ratings:
                row[column] = getattr(reader.ratings[name], question)
    return table


def _taus(key: PlausibilityKey, readers: Sequence[PlausibilityAnswers]) -> Table:
    table = np.full((len(readers), len(key.orderings)), np.nan)
    for row, reader in zip(table, readers, strict=True):
        for column, (name, truth) in enumerate(key.orderings.items()):
            if name in reader.orderings:
                row[column] = tau_b(reader.orderings[name].order, truth.severities)
    return table


@dataclass(frozen=True)
class _Draws:
    """How often each replicate of the bootstrap has each reader and each case."""

    readers: Int64[np.ndarray, "replicate reader"]
    cases: Int64[np.ndarray, "replicate case"]

    @classmethod
    def of(cls, table: Table, strata: Bool[np.ndarray, " case"] | None = None) -> "_Draws":
        """As many cases of each stratum as there are."""
        random = np.random.default_rng(0)
        cases = np.zeros((_REPLICATES, table.shape[1]), np.int64)
        for part in (np.ones(table.shape[1], bool),) if strata is None else (strata, ~strata):
            cases[:, part] = _counts(int(part.sum()), random)
        return cls(_counts(len(table), random), cases)


def _counts(number: int, random: np.random.Generator) -> Int64[np.ndarray, "replicate drawn"]:
    if not number:
        return np.zeros((_REPLICATES, 0), np.int64)
    return random.multinomial(number, np.full(number, 1 / number), _REPLICATES)


def _mean(table: Table) -> Scores | None:
    """The mean over all answers, with its interval, which one case alone does not have; None where there is no
    answer."""
    asked = table[:, np.isfinite(table).any(axis=0)]
    if not asked.size:
        return None
    several = asked.shape[1] > 1
    return {
        "mean": float(np.nanmean(asked)),
        "ci95": _interval(_means(asked, _Draws.of(asked))) if several else None,
    }


def _means(table: Table, draws: _Draws) -> Float[np.ndarray, " replicate"]:
    known = np.isfinite(table)
    total = ((draws.readers @ np.where(known, table, 0)) * draws.cases).sum(axis=1)
    return _ratio(total, ((draws.readers @ known.astype(float)) * draws.cases).sum(axis=1))


def _compared(table: Table, synthetic: Bool[np.ndarray, " case"]) -> Scores:
    """Means of real and of synthetic hearts, their difference (synthetic less real) and Cliff's delta with intervals,
    and the p-value of Mann and Whitney's test of the hearts' means over readers; None where a kind was not rated."""
    rated = np.isfinite(table).any(axis=0)
    table, synthetic = table[:, rated], synthetic[rated]
    found: Scores = {"real": _mean(table[:, ~synthetic]), "synthetic": _mean(table[:, synthetic])}
    delta = cliffs_delta(table, synthetic)
    if delta is None:
        return found | {"difference": None, "cliffs_delta": None, "p": None}
    draws = _Draws.of(table, synthetic)
    made, real = (
        _means(table[:, part], _Draws(draws.readers, draws.cases[:, part])) for part in (synthetic, ~synthetic)
    )
    deltas = _weighted(_deltas(table, synthetic, draws.cases), draws.readers)
    several = min(synthetic.sum(), (~synthetic).sum()) > 1
    hearts = np.nanmean(table, axis=0)
    difference = found["synthetic"]["mean"] - found["real"]["mean"]
    return found | {
        "difference": {"mean": difference, "ci95": _interval(made - real) if several else None},
        "cliffs_delta": {"mean": delta, "ci95": _interval(deltas) if several else None},
        "p": float(mannwhitneyu(hearts[synthetic], hearts[~synthetic]).pvalue),
    }


def _deltas(
    table: Table, synthetic: Bool[np.ndarray, " case"], cases: Int64[np.ndarray, "replicate case"]
) -> Float[np.ndarray, "replicate reader"]:
    """Cliff's delta of each reader in each replicate; NaN where a kind is missing."""
    found = np.empty((len(cases), len(table)))
    for column, row in enumerate(table):
        known = np.isfinite(row)
        made, real = known & synthetic, known & ~synthetic
        above = np.sign(row[made][:, None] - row[real][None])
        total = ((cases[:, made] @ above) * cases[:, real]).sum(axis=1)
        found[:, column] = _ratio(total, (cases[:, made].sum(axis=1) * cases[:, real].sum(axis=1)).astype(float))
    return found


def _weighted(
    values: Float[np.ndarray, "replicate reader"], readers: Int64[np.ndarray, "replicate reader"]
) -> Float[np.ndarray, " replicate"]:
    """The mean over readers as they were drawn, leaving out NaN."""
    known = np.isfinite(values)
    return _ratio((np.where(known, values, 0) * readers).sum(axis=1), (known * readers).sum(axis=1).astype(float))


def _ratio(
    total: Float[np.ndarray, " replicate"], count: Float[np.ndarray, " replicate"]
) -> Float[np.ndarray, " replicate"]:
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


def _interval(replicates: Float[np.ndarray, " replicate"]) -> list[float]:
    """Replicates in which by chance nothing was answered say nothing."""
    return percentile_interval(replicates[np.isfinite(replicates)])


def _tau_by_pathology(key: PlausibilityKey, readers: Sequence[PlausibilityAnswers]) -> dict[str, Scores]:
    taus = _taus(key, readers)
    diseases = np.array([one.pathology for one in key.orderings.values()])
    found = {str(name): _mean(taus[:, diseases == name]) for name in np.unique(diseases)}
    return {name: score for name, score in found.items() if score}


def _by_group(key: PlausibilityKey, readers: Sequence[PlausibilityAnswers]) -> list[Scores]:
    """Of real and of synthetic hearts by disease, and of synthetic ones by severity, that of healthy ones 0."""
    tables = {question: _ratings(key, readers, question) for question in QUESTIONS}
    groups: dict[tuple[bool, str], list[int]] = {}
    for column, origin in enumerate(key.hearts.values()):
        for name in _groups_of(origin):
            groups.setdefault((origin.synthetic, name), []).append(column)
    rows = []
    for (synthetic, name), columns in sorted(groups.items()):
        means = {question: _mean(table[:, columns]) for question, table in tables.items()}
        if all(means.values()):
            rows.append({"synthetic": synthetic, "group": name, "hearts": len(columns), **means})
    return rows


def _groups_of(origin: HeartOrigin) -> list[str]:
    return [origin.pathology] + ([] if origin.severity is None else [f"severity {origin.severity:g}"])


def _artefacts(key: PlausibilityKey, readers: Sequence[PlausibilityAnswers]) -> dict[str, dict[str, int]]:
    """How many ratings of real and of synthetic hearts chose each."""
    counts = {name: {"real": 0, "synthetic": 0} for name in ARTEFACTS}
    for reader in readers:
        for name, rating in reader.ratings.items():
            counts[rating.artefact]["synthetic" if key.hearts[name].synthetic else "real"] += 1
    return counts


def _notes(key: PlausibilityKey, readers: Sequence[PlausibilityAnswers]) -> list[Scores]:
    return [
        {"reader": reader.reader, "heart": name, **key.hearts[name].model_dump(), "note": rating.note}
        for reader in readers
        for name, rating in reader.ratings.items()
        if rating.note
    ]
