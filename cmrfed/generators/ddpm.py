"""Denoising diffusion (Ho et al. 2020, arXiv:2006.11239), sampled by DDIM (Song et al. 2020, arXiv:2010.02502).

x_t = sqrt(a_t) x + sqrt(1 - a_t) e; the network predicts the noise e. MONAI's schedule holds a_t.
"""

import torch
from jaxtyping import Float, Int
from monai.networks.schedulers import DDPMScheduler
from torch import Tensor

from cmrfed.generators.path import AlphaSigma, Parts, Path, Times
from cmrfed.shapes import Latent, spread

TRAINING_STEPS = 1000


class DDPM(Path):
    """A thousand discrete noise levels; a time t in [0, 1] stands for level round(999 t)."""

    clips = True
    alphas: Tensor

    def __init__(self) -> None:
        super().__init__()
        # A buffer: MONAI's own `add_noise` moves its table at each call, which functional transforms cannot bear.
        alphas = DDPMScheduler(num_train_timesteps=TRAINING_STEPS).alphas_cumprod
        self.register_buffer("alphas", alphas, persistent=False)

    def draw_times(self, count: int, random: torch.Generator) -> Times:
        return torch.randint(TRAINING_STEPS, (count,), generator=random) / (TRAINING_STEPS - 1)

    def alpha_sigma(self, t: Times) -> AlphaSigma:
        a_t = self.alphas[_level(t)]
        return a_t.sqrt(), (1 - a_t).sqrt()

    def time_at(self, noise_share: float) -> float:
        signal, noise = self.alphas.sqrt(), (1 - self.alphas).sqrt()
        level = (noise / (signal + noise) - noise_share).abs().argmin()
        return float(level) / (TRAINING_STEPS - 1)

    def sampling_times(self, steps: int) -> Float[Tensor, " steps"]:
        """Evenly spaced levels from the noisiest to the first.

        MONAI's scheduler steps by 1000 // steps levels, and asks the network at others, 999 / (steps - 1) apart.
        """
        return torch.linspace(TRAINING_STEPS - 1, 0, steps).round() / (TRAINING_STEPS - 1)

    def network_times(self, t: Times) -> Times:
        return _level(t) / (TRAINING_STEPS - 1)

    def target(self, parts: Parts, t: Times) -> Latent:
        return parts.noise

    def to_x0_eps(self, prediction: Latent, x_t: Latent, t: Times) -> Parts:
        """e as predicted, and x = (x_t - noise e) / signal; the signal is never 0, but small at t = 1."""
        signal, noise = (spread(scale, x_t) for scale in self.alpha_sigma(t))
        return Parts(image=(x_t - noise * prediction) / signal, noise=prediction)


def _level(t: Times) -> Int[Tensor, " batch"]:
    return (t * (TRAINING_STEPS - 1)).round().long()
