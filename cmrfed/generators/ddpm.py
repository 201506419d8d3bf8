"""Denoising diffusion (Ho et al. 2020, arXiv:2006.11239), sampled by DDIM (Song et al. 2020, arXiv:2010.02502).

x_t = sqrt(a_t) x + sqrt(1 - a_t) e; the network predicts the noise e. MONAI's schedule holds a_t.
"""

from itertools import pairwise

import torch
from jaxtyping import Float
from monai.networks.schedulers import DDPMScheduler
from torch import Tensor

from cmrfed.config import GeneratorConfig
from cmrfed.generators.protocol import Draws, Generator, Parts
from cmrfed.shapes import Condition, Image, Mask

TRAINING_STEPS = 1000


class DDPM(Generator):
    """A thousand discrete noise levels; a time t in [0, 1] stands for level round(999 t)."""

    alphas: Tensor

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__(config)
        # A buffer: MONAI's own `add_noise` moves its table at each call, which functional transforms cannot bear.
        alphas = DDPMScheduler(num_train_timesteps=TRAINING_STEPS).alphas_cumprod
        self.register_buffer("alphas", alphas, persistent=False)

    def draw_times(self, count: int, random: torch.Generator) -> Float[Tensor, " batch"]:
        return torch.randint(TRAINING_STEPS, (count,), generator=random) / (TRAINING_STEPS - 1)

    def target(self, images: Image, noises: Image) -> Image:
        return noises

    def losses(self, images: Image, masks: Mask, conditions: Condition, draws: Draws) -> Float[Tensor, " batch"]:
        levels = (draws.times * (TRAINING_STEPS - 1)).round().long()
        a_t = self.alphas.to(images.dtype)[levels][:, None, None, None]
        x_t = a_t.sqrt() * images + (1 - a_t).sqrt() * draws.noises
        noise = self.network(x_t, levels / (TRAINING_STEPS - 1), masks, conditions, draws.kept)
        return (noise - self.target(images, draws.noises)).square().flatten(1).mean(1)

    def denoise(self, noises: Image, masks: Mask, conditions: Condition, steps: int, guidance: float) -> Image:
        """Deterministic DDIM (eta = 0) over `steps` of the thousand levels, evenly spaced from noisiest to first.

        MONAI's scheduler steps by 1000 // steps levels, and asks the network at others, 999 / (steps - 1) apart.
        """
        levels = torch.linspace(TRAINING_STEPS - 1, 0, steps, device=noises.device).round()
        times = (levels / (TRAINING_STEPS - 1))[:, None].expand(-1, len(noises))

        def seen(x_t: Image, t: Float[Tensor, " batch"]) -> Parts:
            parts = self.take_apart(self.guided(x_t, t, masks, conditions, guidance), x_t, t)
            return Parts(image=parts.image.clamp(-1, 1), noise=parts.noise)

        x_t = noises
        for t, to in pairwise(times):
            parts = seen(x_t, t)
            x_t = self.corrupt(parts.image, parts.noise, to)
        return seen(x_t, times[-1]).image

    def scales(self, t: Float[Tensor, " batch"]) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
        a_t = self.alphas[(t * (TRAINING_STEPS - 1)).round().long()]
        return a_t.sqrt(), (1 - a_t).sqrt()

    def time_at(self, noise_share: float) -> float:
        signal, noise = self.alphas.sqrt(), (1 - self.alphas).sqrt()
        level = (noise / (signal + noise) - noise_share).abs().argmin()
        return float(level) / (TRAINING_STEPS - 1)

    def take_apart(self, prediction: Image, x_t: Image, t: Float[Tensor, " batch"]) -> Parts:
        """e as predicted, and x = (x_t - noise e) / signal; the signal is never 0, but small at t = 1."""
        signal, noise = (scale[:, None, None, None] for scale in self.scales(t))
        return Parts(image=(x_t - noise * prediction) / signal, noise=prediction)
