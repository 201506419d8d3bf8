"""MONAI's diffusion U-Net, told of its conditions."""

from collections.abc import Iterator
from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from monai.networks.nets import DiffusionModelUNet
from torch import Tensor, nn

from cmrfed.batches import Conditions
from cmrfed.config import GeneratorConfig
from cmrfed.generators.encoders import DenseEncoder, GlobalEncoder
from cmrfed.generators.networks.contract import Network
from cmrfed.shapes import Latent


class UNet(Network):
    """`patch` x `patch` pixels are folded into channels first, which keeps the cost of a 64 x 64 image that of a
    32 x 32 one. Conditions of the whole image are added to the embedding of time."""

    def __init__(self, config: GeneratorConfig, channels: int) -> None:
        super().__init__(config, channels)
        self.patch = config.patch
        self.dense = DenseEncoder(config.conditions, config.tissue_classes)
        self.unet = DiffusionModelUNet(
            spatial_dims=2,
            in_channels=(channels + self.dense.channels) * config.patch**2,
            out_channels=channels * config.patch**2,
            channels=config.channels,
            attention_levels=(False,) * len(config.channels),
            num_res_blocks=config.residual_blocks,
            norm_num_groups=config.norm_groups,
            num_head_channels=config.channels[-1],  # of the one attention block, at the coarsest level: a single head
            num_class_embeds=1,  # MONAI then calls `class_embedding`, which is ours
        )
        self.unet.register_module("class_embedding", GlobalEncoder(config.conditions, 4 * config.channels[0]))

    def forward(self, x_t: Latent, t: Float[Tensor, " batch"], conditions: Conditions) -> Latent:
        dense = [one.to(x_t.dtype) for one in self.dense(conditions, x_t.shape[2:])]
        folded = F.pixel_unshuffle(torch.cat([x_t, *dense], dim=1), self.patch)
        prediction = self.unet(folded, timesteps=1000.0 * t, class_labels=conditions)
        return F.pixel_shuffle(prediction, self.patch).float()

    def groups(self) -> dict[str, Iterator[nn.Parameter]]:
        """all: every weight. modulation: norms and the embeddings of conditions. adaptation: these, and the first and
        the last layer."""
        return {
            "all": self.parameters(),
            "modulation": self._modulation(),
            "adaptation": self._adaptation(),
        }

    def _modulation(self) -> Iterator[nn.Parameter]:
        for module in self.modules():
            if isinstance(module, nn.GroupNorm):
                yield from module.parameters()
        yield from cast(GlobalEncoder, self.unet.class_embedding).embeddings()

    def _adaptation(self) -> Iterator[nn.Parameter]:
        yield from self._modulation()
        yield from self.unet.conv_in.parameters()
        yield from self.unet.out[2].parameters()
