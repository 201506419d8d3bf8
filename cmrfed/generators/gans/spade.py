"""SPADE (Park et al. 2019, arXiv:1903.07291): residual blocks whose norms are modulated by the mask, place by place, so
that none washes it out; and a critic at several scales that sees image and mask.

Al Khalil et al. 2023 (doi:10.1016/j.media.2022.102688), Amirrajab et al. 2020 (arXiv:2007.13408) and Gheorghita et al.
2022 (doi:10.1038/s41598-022-06315-3) paint short-axis slices by it, each vendor in its own style.
"""

from cmrfed.config import GeneratorConfig
from cmrfed.generators.gans.adversarial import HINGE, Adversarial
from cmrfed.generators.gans.critics import MultiScaleCritic
from cmrfed.generators.gans.painters import StyledPainter


class SpadeGAN(Adversarial):
    """The style is noise and the conditions of the whole image. An encoder of styles (the paper's VAE) and losses on
    features of acquired images would have the painter meet patients: there are none."""

    game = HINGE

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__(config)
        self.painter = StyledPainter(config)
        self.critic = MultiScaleCritic(config)
