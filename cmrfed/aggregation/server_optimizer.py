"""How the joined update moves the global weights: as a gradient does in an optimizer, with what earlier rounds said.

With D_t the joined update of round t, and eta `aggregation.server_learning_rate`, the weights move by

    none        eta D_t
    momentum    eta m_t,                        m_t = beta1 m_(t-1) + D_t            (Hsu et al. 2019, arXiv:1909.06335)
    adam        eta m_t / (sqrt(v_t) + tau),    m_t = beta1 m_(t-1) + (1 - beta1) D_t,
                                                v_t = beta2 v_(t-1) + (1 - beta2) D_t^2
    yogi        the same with                   v_t = v_(t-1) - (1 - beta2) D_t^2 sign(v_(t-1) - D_t^2)

m begins at 0 and v at tau^2; the last two are FedAdam and FedYogi (Reddi et al. 2021, arXiv:2003.00295, algorithm 2,
without a correction for how they begin, as there). All of it is post-processing of updates that were paid for. With
adam and yogi a weight moves by about eta, however small the update is: eta is then to be chosen for that.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from cmrfed.config import AggregationConfig
from cmrfed.updates import Weights


@dataclass(frozen=True)
class Moments:
    """m and v of every weight that has moved so far; float32, so that a checkpoint holds them to the bit."""

    first: Weights = field(default_factory=dict)
    second: Weights = field(default_factory=dict)


def server_step(config: AggregationConfig, moments: Moments, update: Weights) -> tuple[Weights, Moments]:
    """(What the weights move by, the moments of the next round). Weights that the update does not name keep theirs."""
    if config.server_optimizer == "none":
        return _scaled(update, config.server_learning_rate), moments
    first = {name: _first(config, _of(moments.first, name, array, 0.0), array) for name, array in update.items()}
    if config.server_optimizer == "momentum":
        return _scaled(first, config.server_learning_rate), Moments({**moments.first, **first}, moments.second)
    begun = {name: _of(moments.second, name, array, config.tau**2) for name, array in update.items()}
    second = {name: _second(config, begun[name], array) for name, array in update.items()}
    steps = {name: first[name] / (np.sqrt(second[name]) + np.float32(config.tau)) for name in update}
    kept = Moments({**moments.first, **first}, {**moments.second, **second})
    return _scaled(steps, config.server_learning_rate), kept


def _of(moments: Mapping[str, np.ndarray], name: str, like: np.ndarray, start: float) -> np.ndarray:
    return moments[name] if name in moments else np.full_like(like, start)


def _first(config: AggregationConfig, moment: np.ndarray, update: np.ndarray) -> np.ndarray:
    weight = 1.0 if config.server_optimizer == "momentum" else 1 - config.beta1
    return (config.beta1 * moment + weight * update).astype(np.float32)


def _second(config: AggregationConfig, moment: np.ndarray, update: np.ndarray) -> np.ndarray:
    square = np.square(update)
    if config.server_optimizer == "yogi":
        return (moment - (1 - config.beta2) * square * np.sign(moment - square)).astype(np.float32)
    return (config.beta2 * moment + (1 - config.beta2) * square).astype(np.float32)


def _scaled(steps: Weights, rate: float) -> Weights:
    return {name: (rate * step).astype(np.float32) for name, step in steps.items()}
