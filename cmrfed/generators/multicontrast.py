"""Several contrasts of one heart from one code, after variational manifold models of cardiac MRI (V-SToRM, Zou et al.
2021, arXiv:2101.08196), in which images of one heart are what one network makes of points of a low-dimensional space.

The image and a second contrast of the same slice, `source_image`, are drawn together by a conditional VAE
(`cmrfed.generators.cvae`): one anatomy, one code, two channels of one decoder. The posterior of the code is the product
of the prior and of what either contrast says (Wu and Goodman 2018, arXiv:1802.05335), so that either may be missing: in
training each is now and then left out of what the code is read from, and never of what is to be drawn from it. Where
the second contrast is known when an image is drawn, the code is read from it.

Ours: the manifold is of many patients and is told of conditions, where V-SToRM has one for each patient and recovers it
from undersampled measurements.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from cmrfed.batches import Batch, Conditions
from cmrfed.config import GeneratorConfig, UserError
from cmrfed.generators.contract import Objective
from cmrfed.generators.cvae import CVAE, Bound, Contrasts, Gaussian
from cmrfed.shapes import Image

SOURCE = "source_image"
_SUBSETS = 3
"""What a code is read from in training: both contrasts, the image alone, the source alone; each equally often."""


class MultiContrast(CVAE):
    contrasts = 2

    def __init__(self, config: GeneratorConfig) -> None:
        if SOURCE not in config.conditions:
            raise UserError(f"generator.conditions: family {config.family} draws {SOURCE} too: name it among them")
        super().__init__(config)

    @property
    def objectives(self) -> Sequence[Objective]:
        return (JointBound(self),)

    @property
    def anatomy_conditions(self) -> Sequence[str]:
        return [name for name in self.config.conditions if name != SOURCE]

    def contrasts_of(self, images: Image, conditions: Conditions) -> Contrasts:
        unknown = torch.full_like(images, torch.nan)
        source = conditions[SOURCE][:, None].to(images) if SOURCE in conditions else unknown
        return torch.cat([images, source], dim=1)

    def codes_for(self, conditions: Conditions) -> Gaussian:
        no_image = torch.full(conditions["mask"][:, None].shape, torch.nan, device=conditions["mask"].device)
        return self.posterior(self.contrasts_of(no_image, conditions), conditions)


class JointBound(Bound):
    """The evidence lower bound of all contrasts that are known, at a code that is read from some of them."""

    name = "joint bound"

    def drawn(self, batch: Batch, random: torch.Generator) -> Batch:
        subset = torch.randint(_SUBSETS, (batch.size,), generator=random)
        drawn = super().drawn(batch, random)
        return drawn._replace(draws=drawn.draws | {"subset": subset.to(batch.images.device)})

    def seen(self, contrasts: Contrasts, draws: dict[str, Tensor]) -> Contrasts:
        """The image is left out only where there is a source to read from."""
        source_known = ~contrasts[:, 1].isnan().flatten(1).all(1)
        left_out = torch.stack([(draws["subset"] == 2) & source_known, draws["subset"] == 1], dim=1)
        return contrasts.masked_fill(left_out[:, :, None, None], torch.nan)
