"""Why rounding each site's value costs no privacy, neither alone nor in a sum over sites.

A site's value y_i = x_i + N(0, s^2) is rounded to a multiple of h. For one site that is post-processing. For the sum of
n rounded values it is not at once; but the sum is as good as post-processing of the real sum Y = y_1 + ... + y_n:

1. P(round(y_i / h) = k) = h f_i(k h), where f_i is the density of y_i plus a uniform variable on [-h/2, h/2].
2. If the sum had the probabilities p*(k) = h (f_1 * ... * f_n)(k h), it would be Y rounded at random with the weights
   of a cardinal B-spline of order n, whose integer shifts add up to one: post-processing of Y, and of x_i nothing else.
3. Its true probabilities p(k) are the discrete convolution of the samples h f_i(k h). By Poisson's summation formula
   their characteristic functions differ by the aliases alone: products over the sites of
   exp(-s^2 (w + 2 pi a_i / h)^2 / 2) in which the integers a_i are not all the same. Two different ones already make
   the product at most exp(-pi^2 (s / h)^2); the terms of largest size are 2 n in number, and all others together are
   smaller. Hence |p(k) - p*(k)| <= `aliasing_bound`.

Summed over a range of exp(20) s, outside which less is left than anything here, this bounds the total variation, and
with it what the rounding can add to delta. (Kairouz, Liu and Steinke 2021, arXiv:2102.06387, come to the same order for
sums of discrete Gaussians.) At h = 2^-10 sigma C it is below 10^-100000 for up to a thousand sites: no accountant needs
to know of it.
"""

import math

GRID = 2.0**-10
"""h as a part of sigma C. No low bit of a double tells what the noise was added to (Mironov 2012, CCS), and 32 bits
hold a sum over a million patients."""


def aliasing_bound(ratio: float, sites: int) -> float:
    """The largest |p(k) - p*(k)|; `ratio` is s / h, a share's standard deviation in units of the grid."""
    return 4 * sites * math.exp(-((math.pi * ratio) ** 2)) if sites > 1 else 0.0


def log10_rounding_delta(ratio: float, sites: int, coordinates: int, steps: int, epsilon: float) -> float:
    """Decimal logarithm of what the rounding can add to delta over all coordinates and steps: (1 + e^epsilon) TV."""
    if sites == 1:
        return -math.inf
    points = math.log(ratio) + 20
    per_coordinate = math.log(4 * sites) - (math.pi * ratio) ** 2 + points - math.log(2)
    return (per_coordinate + math.log(coordinates * steps) + math.log1p(math.exp(epsilon))) / math.log(10)
