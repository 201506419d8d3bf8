"""DCGAN (Radford et al. 2016, arXiv:1511.06434): convolutions from a vector of noise to an image, and back."""

from cmrfed.config import GeneratorConfig
from cmrfed.generators.gans.adversarial import NON_SATURATING, Adversarial
from cmrfed.generators.gans.critics import PatchCritic
from cmrfed.generators.gans.painters import ConvPainter


class DCGAN(Adversarial):
    """With group norms for the paper's batch norms, which mix patients, and Mescheder's penalty in their place in the
    critic."""

    game = NON_SATURATING

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__(config)
        self.painter = ConvPainter(config)
        self.critic = PatchCritic(config)
