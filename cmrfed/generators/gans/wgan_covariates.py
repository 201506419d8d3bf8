"""A Wasserstein GAN biased by covariates (Campello et al. 2022, doi:10.3389/fcvm.2022.983091): what is known of a
patient, age and body mass index among it, as sines and cosines, scales and biases the features of every level.

The critic's slope is kept to one by a penalty between images (Gulrajani et al. 2017, arXiv:1704.00028).
"""

from cmrfed.config import GeneratorConfig
from cmrfed.generators.gans.adversarial import WASSERSTEIN, Adversarial, Judge, Rows, gradient_penalty
from cmrfed.generators.gans.critics import PatchCritic
from cmrfed.generators.gans.painters import StyledPainter
from cmrfed.shapes import Image


class CovariateWGAN(Adversarial):
    """The paper ages a given heart; here hearts are painted from noise."""

    game = WASSERSTEIN
    penalty_weight = 10.0
    betas = (0.0, 0.99)  # a penalty of slopes wants no momentum, and shorter steps
    critics_pace = painters_pace = 0.3

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__(config)
        self.painter = StyledPainter(config)
        self.critic = PatchCritic(config)

    def penalty(self, judge: Judge, acquired: Image, painted: Image, between: Rows) -> Rows:
        return gradient_penalty(judge, acquired, painted, between)
