"""A family of another kind: a generator and its critic. Patients' images touch the critic alone."""

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cmrfed.batches import Batch, Conditions
from cmrfed.config import GeneratorConfig, SamplingConfig
from cmrfed.generators import Generator, Objective
from cmrfed.generators.encoders import DenseEncoder
from cmrfed.shapes import Image

WIDTH = 4


class ToyGAN(Generator):
    """Two small convolutional networks, told of the mask."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__(config)
        self.dense = DenseEncoder(["mask"], config.tissue_classes)
        told = 1 + self.dense.channels
        self.painter = nn.Sequential(nn.Conv2d(told, WIDTH, 3, padding=1), nn.SiLU(), nn.Conv2d(WIDTH, 1, 3, padding=1))
        self.critic = nn.Sequential(nn.Conv2d(told, WIDTH, 3, padding=1), nn.SiLU(), nn.Conv2d(WIDTH, 1, 3, padding=1))

    @property
    def objectives(self) -> Sequence[Objective]:
        return Criticising(self), Painting(self)

    def painted(self, noise: Image, conditions: Conditions) -> Image:
        return self.painter(torch.cat([noise, *self.dense(conditions, noise.shape[2:])], dim=1)).tanh()

    def judged(self, images: Image, conditions: Conditions) -> Tensor:
        return self.critic(torch.cat([images, *self.dense(conditions, images.shape[2:])], dim=1)).flatten(1).mean(1)

    @torch.no_grad()
    def sample(self, conditions: Conditions, sampling: SamplingConfig, random: torch.Generator) -> Image:
        masks = conditions["mask"]
        noise = torch.randn((len(masks), 1, *masks.shape[1:]), generator=random).to(masks.device)
        return self.painted(noise, conditions)


class _OnNoise(Objective):
    def __init__(self, gan: ToyGAN) -> None:
        self.gan = gan

    def drawn(self, batch: Batch, random: torch.Generator) -> Batch:
        noise = torch.randn(batch.images.shape, generator=random).to(batch.images)
        return batch._replace(draws={"noise": noise})


class Criticising(_OnNoise):
    """The hinge loss of the critic, on real images: what patients pay for."""

    name = "criticising"

    def weights(self) -> Iterator[nn.Parameter]:
        return self.gan.critic.parameters()

    def losses(self, batch: Batch) -> Tensor:
        fake = self.gan.painted(batch.draws["noise"], batch.conditions)
        real, made = (self.gan.judged(images, batch.conditions) for images in (batch.images, fake))
        return F.relu(1 - real) + F.relu(1 + made)


class Painting(_OnNoise):
    """The painter against the critic that the sites have paid for; the images of a batch are not looked at."""

    name = "painting"
    private = False

    def weights(self) -> Iterator[nn.Parameter]:
        return self.gan.painter.parameters()

    def losses(self, batch: Batch) -> Tensor:
        return -self.gan.judged(self.gan.painted(batch.draws["noise"], batch.conditions), batch.conditions)
