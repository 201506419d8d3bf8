"""Answers + key -> how well readers tell synthetic from real, with intervals and against chance."""

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field
from scipy.stats import binomtest
from sklearn.metrics import cohen_kappa_score, roc_auc_score

from cmrfed.config import Stage, UserError, read_stage_json
from cmrfed.reader_study.items import StudyKey

Scores = dict[str, Any]


class Judgement(Stage):
    """What a reader said of one item, how sure (1 a guess, 2 likely, 3 certain), and after how long."""

    synthetic: bool
    confidence: int = Field(ge=1, le=3)
    seconds: float = Field(ge=0)


class ReaderAnswers(Stage):
    """A file that the page saved."""

    study: str
    reader: str = Field(max_length=80)
    answers: dict[str, Judgement]


def read_answers(path: Path, key: StudyKey) -> ReaderAnswers:
    """A reader's answers. Raises UserError when they are of another study or name an item it does not have."""
    answers = read_stage_json(ReaderAnswers, path)
    if answers.study != key.study:
        raise UserError(f"{path}: is of study {answers.study[:20]}, the key of {key.study}; give the key of that study")
    if unknown := answers.answers.keys() - key.items.keys():
        raise UserError(f"{path}: answers item {min(unknown)[:20]!r}, which the study does not have")
    if not answers.answers:
        raise UserError(f"{path}: holds no answers; let the reader finish")
    return answers


def score_readers(key: StudyKey, readers: Sequence[ReaderAnswers]) -> Scores:
    """Scores of each reader, of all readers' answers together, and how far readers agree.

    Returns {"readers": [score_reader...], "pooled": {...}, "kappa": mean Cohen's kappa of pairs of readers over the
    items both answered, or None}. The pooled interval takes answers as independent, which those of different readers to
    one image are not: it is too narrow by as much as readers agree.
    """
    everything = [pair for reader in readers for pair in _judged(key, reader)]
    return {
        "readers": [{"reader": reader.reader, **score(_judged(key, reader))} for reader in readers],
        "pooled": score(everything),
        "kappa": _agreement(readers),
    }


def score(judged: Sequence[tuple[bool, Judgement]]) -> Scores:
    """Of (is it synthetic, the answer) pairs: accuracy with its exact 95 % interval (Clopper & Pearson 1934) and the
    p-value of as much or more by coin tosses, two-sided; sensitivity (synthetic ones found), specificity; AUC of
    confidence, None where all are of one kind; median seconds."""
    truth = np.array([synthetic for synthetic, _ in judged])
    said = np.array([answer.synthetic for _, answer in judged])
    sure = np.array([(1 if answer.synthetic else -1) * answer.confidence for _, answer in judged])
    test = binomtest(int((truth == said).sum()), len(judged), 0.5)
    interval = test.proportion_ci(0.95, method="exact")
    both = truth.any() and not truth.all()
    return {
        "answered": len(judged),
        "accuracy": float((truth == said).mean()),
        "accuracy_ci95": [float(interval.low), float(interval.high)],
        "p": float(test.pvalue),
        "sensitivity": float(said[truth].mean()) if truth.any() else None,
        "specificity": float((~said[~truth]).mean()) if not truth.all() else None,
        "auc": float(roc_auc_score(truth, sure)) if both else None,
        "median_seconds": float(np.median([answer.seconds for _, answer in judged])),
    }


def _judged(key: StudyKey, reader: ReaderAnswers) -> list[tuple[bool, Judgement]]:
    return [(key.items[name].synthetic, answer) for name, answer in reader.answers.items()]


def _agreement(readers: Sequence[ReaderAnswers]) -> float | None:
    found = []
    for one, other in combinations(readers, 2):
        shared = sorted(one.answers.keys() & other.answers.keys())
        said = [[reader.answers[name].synthetic for name in shared] for reader in (one, other)]
        if shared and len({*said[0], *said[1]}) == 2:
            found.append(cohen_kappa_score(*said))
    return float(np.mean(found)) if found else None
