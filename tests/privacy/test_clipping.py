"""Adaptive clipping finds the quantile it is told to, from answers that fit into the same sensitivity."""

import pytest
import torch
from conftest import toy_plan

from cmrfed.config import AdaptiveClipping
from cmrfed.privacy import Clipping, SeededRandom


@pytest.mark.parametrize("quantile", [0.3, 0.5, 0.9])
def test_the_norm_settles_at_the_patients_quantile_without_knowing_how_many_they_are(quantile):
    norms = torch.linspace(0.5, 3.0, 400, dtype=torch.float64)[:, None]
    adaptive = AdaptiveClipping(quantile=quantile, learning_rate=0.3)
    plan = toy_plan(max_grad_norm=1.0, adaptive=adaptive, declared_patients=150, sample_rate=1.0, noise_multiplier=1.0)
    clipping, random, visited = plan.clipping, SeededRandom(0), []
    for _ in range(150):
        answers = clipping.contribution(norms).answers.sum()[None]
        _, clipping = plan.split(plan.mean(plan.noised(answers, clipping, random), clipping), clipping)
        visited.append(clipping.max_grad_norm)
    settled = sum(visited[-50:]) / 50
    assert settled == pytest.approx(float(norms.quantile(quantile)), rel=0.1)


def test_gradient_and_answer_together_keep_to_c_exactly():
    clipping = Clipping(max_grad_norm=2.0, adaptive=AdaptiveClipping(share=0.6, quantile=0.2))
    norms = torch.tensor([[0.1], [1.99], [2.01], [1e6]], dtype=torch.float64)
    found = clipping.contribution(norms)
    together = ((found.factors * norms)[:, 0].square() + found.answers.square()).sqrt()
    assert (together <= 2.0).all()
    assert together[-1] > 1.6, "the gradient keeps sqrt(1 - share^2) of C"


def test_the_norm_stays_in_its_range_whatever_is_released():
    start = Clipping(max_grad_norm=1.0, adaptive=AdaptiveClipping(range=3.0, learning_rate=5.0))
    assert start.moved(1e9, 1.0).max_grad_norm == pytest.approx(1 / 3)
    assert start.moved(-1e9, 1.0).max_grad_norm == pytest.approx(3.0)
    assert start.largest_norm == 3.0


def test_without_adaptive_clipping_the_norm_never_moves():
    clipping = Clipping(max_grad_norm=1.0)
    assert clipping.moved(0.7, 1.0) is clipping
    assert clipping.largest_norm == 1.0
