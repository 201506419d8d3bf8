"""Feature likelihood divergence and its generalisation gap (FLD; Jiralerspong et al., NeurIPS 2023, arXiv:2302.04440).

Made images are the centres of a mixture of round Gaussians; each Gaussian's width is fitted so that training images are
likely. Where centres are copies of training images, their widths shrink to nothing and other real images become
unlikely. FID sees no difference; this does.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float

Features = Float[torch.Tensor, "n feature"]

_STEPS, _LEARNING_RATE, _BACKGROUND_SHRINKAGE = 50, 0.5, 0.9
_SMALLEST, _LARGEST = -40.0, 20.0


@dataclass(frozen=True)
class Mixture:
    """Equal shares of round Gaussians: N(centre_j, exp(log_variance_j) I)."""

    centres: Float[torch.Tensor, "centre feature"]
    log_variances: Float[torch.Tensor, " centre"]

    @classmethod
    def fitted(cls, centres: Float[torch.Tensor, "centre feature"], to: Features) -> "Mixture":
        """Widths by 50 steps of Adam on the likelihood of `to`, from the best ones for the nearest image alone.

        During the fit one more Gaussian stands in the middle of `to`, as in the paper's code, so that an image that no
        centre is near does not widen them all.
        """
        squared, features = torch.cdist(to, centres).square(), centres.shape[1]
        from_middle = _BACKGROUND_SHRINKAGE**2 * (to - to.mean(0)).square().sum(1)
        start = ((squared.min(0).values + 1e-3) / features).log()
        free = torch.cat([start, start.new_zeros(1)])
        optimizer = torch.optim.Adam([free], lr=_LEARNING_RATE)
        squared = torch.cat([squared, from_middle[:, None]], 1)
        shares = torch.cat([torch.full_like(start, -math.log(len(centres))), start.new_zeros(1)])
        for _ in range(_STEPS):
            free.grad = _slope(squared, free, shares, features)
            optimizer.step()
            free[:-1].clamp_(_SMALLEST, _LARGEST)
        return cls(centres, free[:-1])

    def nats_a_feature(self, images: Features) -> float:
        """Mean negative log-likelihood of images, divided by the number of features."""
        terms = _log_densities(torch.cdist(images, self.centres).square(), self.log_variances, images.shape[1])
        mean = (torch.logsumexp(terms, 1) - math.log(len(self.centres))).mean()
        return -float(mean) / images.shape[1]


def _slope(
    squared: Float[torch.Tensor, "n centre"],
    log_variances: Float[torch.Tensor, " centre"],
    log_shares: Float[torch.Tensor, " centre"],
    features: int,
) -> Float[torch.Tensor, " centre"]:
    """By log-variances, of the mean over n of -log sum_j share_j N_j / features: with r_ij the share of Gaussian j in
    the density at image i, mean_i r_ij (features - squared_ij / variance_j) / (2 features)."""
    responsible = torch.softmax(_log_densities(squared, log_variances, features) + log_shares, 1)
    return (responsible * (features - squared / log_variances.exp())).mean(0) / (2 * features)


def _log_densities(
    squared: Float[torch.Tensor, "n centre"], log_variances: Float[torch.Tensor, " centre"], features: int
) -> Float[torch.Tensor, "n centre"]:
    return -0.5 * squared / log_variances.exp() - 0.5 * features * (log_variances + math.log(2 * math.pi))


def feature_likelihood(
    made: Float[torch.Tensor, "n feature"],
    train: Float[torch.Tensor, "m feature"],
    test: Float[torch.Tensor, "k feature"],
    others: Float[torch.Tensor, "o feature"],
) -> tuple[float, float]:
    """(FLD, generalisation gap) of made images, both in hundredths of nats a feature.

    train: real images that the generator learnt from. test: real images that it did not. others: further real
    ones, as many as `made`, of patients in neither: the mixture around them sets the likelihood that FLD counts from,
    so that FLD is 0 for images as good as real ones and larger for worse. The gap is 100 times (nats of train - nats of
    test): the further below that of `others`, the more of the training images the made ones repeat. Both are NaN where
    no feature varies among the test images, in which no image is then likelier than another.

    Features are standardised by the test images'. Made images that are drawn for masks should be drawn for equally many
    masks of train and test, for an image resembles that of its mask. Raises ValueError when a set has fewer than two
    images.
    """
    if min(map(len, (made, train, test, others))) < 2:
        raise ValueError("FLD needs two images in all four sets, found fewer")
    made, train, test, others = _in_units_of_test(made, train, test, others)
    if made.shape[1] == 0:
        return math.nan, math.nan
    mixture, real = Mixture.fitted(made, train), Mixture.fitted(others, train)
    nats = mixture.nats_a_feature(test)
    return 100 * (nats - real.nats_a_feature(test)), 100 * (mixture.nats_a_feature(train) - nats)


def _in_units_of_test(
    made: torch.Tensor, train: torch.Tensor, test: torch.Tensor, others: torch.Tensor
) -> tuple[torch.Tensor, ...]:
    """In units of the test images' spread, without the features that do not vary among them."""
    mean, spread = test.double().mean(0), test.double().std(0, correction=0)
    varies = spread > 1e-9 * mean.abs()
    return tuple(((side.double() - mean)[:, varies]) / spread[varies] for side in (made, train, test, others))
