"""What a patient may still take part in: a stopping rule that holds though each run is chosen after the last was seen.

A composed epsilon is a theorem about events that were fixed beforehand. Whoever looks at one run's generator and then
decides on the next run's noise chooses events adaptively, and a rule that stops "before epsilon is exceeded" needs a
theorem of its own, a *privacy filter*:

- **One kind of event** (one noise multiplier and sampling rate), however often and in however many runs. Every step is
  dominated by the same pair of distributions whatever was seen before; only *when it ends* is chosen, and stopping
  early is post-processing. Any valid accountant decides: the smallest of PRV and Renyi DP at its best order.
- **Several kinds.** The Renyi filter (Feldman and Zrnic 2021, arXiv:2008.11193): the sum of the events'
  Renyi divergences at *one order fixed beforehand* stays below

      epsilon - log(1 - 1/alpha) + log(delta alpha) / (alpha - 1)

  and all that was ever released is (epsilon, delta)-DP (conversion: Canonne, Kamath and Steinke 2020,
  arXiv:2004.00010). The order comes from the site's own limits, `renyi_order`, and from nothing that was seen.

Whoever asks decides, by what was seen, which of the two rules will have been the one that held. Outcomes with one kind
of event exceed epsilon with probability delta at most by the first rule, those with several by the second: together
2 delta. So a site holds each rule to half of its largest delta.

**By individual** (the same paper): each patient's events are summed over the releases that this patient was
in, and a patient whose budget is used up takes no further part. Whether somebody takes part is decided by that
somebody's own history and by public requests; so for two data sets that differ in one patient everybody else takes part
alike, and the one who differs does so only in releases that the filter has admitted for that one.
"""

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache

from opacus.accountants import RDPAccountant
from opacus.accountants.analysis.rdp import compute_rdp

from cmrfed.privacy.accounting import CannotBound, GaussianEvent, epsilon

_ORDERS = tuple(map(float, (*RDPAccountant.DEFAULT_ALPHAS, 128, 256, 512)))
_LARGEST_EPSILON = 10.0
"""Where a site sets no limit, or one that protects nobody, an order must come from somewhere: as if this were it."""


def renyi_order(total_epsilon: float, delta: float) -> float:
    """The order at which a site's limits admit most of a mechanism whose divergence grows like the order's, as a
    Gaussian's does: argmax over alpha of (epsilon - conversion(alpha, delta)) / alpha. A function of the limits alone.

    >>> renyi_order(8.0, 1e-4)
    3.3
    """
    allowed = min(total_epsilon, _LARGEST_EPSILON)
    return max(_ORDERS, key=lambda order: (allowed - _conversion(order, delta)) / order)


def spent(events: Iterable[GaussianEvent], delta: float, order: float) -> float:
    """Epsilon at `delta` that a filter at `order` has admitted after these events; 0 for none, infinite where no
    accountant can bound it. Compare it with the limit before the next event, that event included."""
    composed = list(events)
    if not composed:
        return 0.0
    bounds = [_renyi_epsilon(composed, delta, order)]
    if len({(event.noise_multiplier, event.sample_rate) for event in composed}) == 1:
        bounds += [_by(composed, delta, accountant) for accountant in ("prv", "rdp")]
    return max(0.0, min(bounds))


def _renyi_epsilon(events: Sequence[GaussianEvent], delta: float, order: float) -> float:
    divergence = sum(event.steps * _divergence(event.noise_multiplier, event.sample_rate, order) for event in events)
    return divergence + _conversion(order, delta)


def _conversion(order: float, delta: float) -> float:
    """What Renyi DP of an order costs on top when it is said as (epsilon, delta)."""
    return math.log1p(-1 / order) - math.log(delta * order) / (order - 1)


@lru_cache(maxsize=4096)
def _divergence(noise_multiplier: float, sample_rate: float, order: float) -> float:
    """Of one step of the Poisson-sampled Gaussian, for either direction (Mironov et al. 2019, arXiv:1908.10530)."""
    return float(compute_rdp(q=sample_rate, noise_multiplier=noise_multiplier, steps=1, orders=[order])[0])


def _by(events: Sequence[GaussianEvent], delta: float, accountant: str) -> float:
    try:
        return epsilon(events, delta, accountant)
    except CannotBound:
        return math.inf
