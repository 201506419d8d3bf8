"""MONAI's diffusion U-Net, told of its conditions."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from monai.networks.nets import DiffusionModelUNet
from torch import Tensor, nn

from cmrfed.batches import Conditions
from cmrfed.config import GeneratorConfig
from cmrfed.generators.encoders import GlobalEncoder, dense_encoder
from cmrfed.generators.folding import folded, unfolded
from cmrfed.generators.networks.contract import Network
from cmrfed.shapes import Latent

Diffusion = TypeVar("Diffusion", bound=nn.Module)


class UNet(Network):
    """`patch` x `patch` pixels are folded into channels first, which keeps the cost of a 64 x 64 image that of a
    32 x 32 one. Conditions of the whole image are added to the embedding of time."""

    def __init__(self, config: GeneratorConfig, channels: int) -> None:
        super().__init__(config, channels)
        self.patch = config.patch
        self.dense = dense_encoder(config.conditions, config)
        self.unet = self._built(config, channels)

    def _built(self, config: GeneratorConfig, channels: int) -> nn.Module:
        return self._plain(config, channels)

    def _plain(
        self, config: GeneratorConfig, channels: int, attention: Sequence[bool] | None = None, heads: int = 1
    ) -> DiffusionModelUNet:
        sizes = {
            "spatial_dims": self.spatial_dims,
            "in_channels": (channels + self.dense.channels) * config.patch**2,
            "out_channels": channels * config.patch**2,
        }
        return diffusion_network(DiffusionModelUNet, config, sizes, attention, heads)

    def forward(self, x_t: Latent, t: Float[Tensor, " batch"], conditions: Conditions) -> Latent:
        seen = folded(torch.cat([x_t, *self._dense_on(x_t, conditions)], dim=1), self.patch)
        prediction = self.unet(seen, timesteps=1000.0 * t, class_labels=conditions)
        return unfolded(prediction, self.patch).float()

    def _dense_on(self, x_t: Latent, conditions: Conditions) -> list[Float[Tensor, "batch channels *place"]]:
        return [one.to(x_t.dtype) for one in self.dense(conditions, x_t.shape[2:])]

    def groups(self) -> dict[str, Iterator[nn.Parameter]]:
        """all: every weight. modulation: norms and the embeddings of conditions. adaptation: these, and the first and
        the last layer."""
        return {
            "all": self.parameters(),
            "modulation": modulation(self),
            "adaptation": self._adaptation(),
        }

    def _adaptation(self) -> Iterator[nn.Parameter]:
        yield from modulation(self)
        yield from self.unet.get_submodule("conv_in").parameters()
        yield from self.unet.get_submodule("out.2").parameters()


def diffusion_network(
    kind: type[Diffusion],
    config: GeneratorConfig,
    sizes: Mapping[str, Any],
    attention: Sequence[bool] | None = None,
    heads: int = 1,
) -> Diffusion:
    """One of MONAI's networks, of the configured widths, told of conditions of the whole image.

    sizes: what this kind takes beside the widths. attention: the levels, finest first, with self-attention of so many
    heads, as far as they divide the width; none where it is None. Between the way down and the way up there is always
    a block of it.
    """
    network = kind(
        channels=config.channels,
        attention_levels=attention or (False,) * len(config.channels),
        num_head_channels=tuple(width // math.gcd(width, heads) for width in config.channels),
        num_res_blocks=config.residual_blocks,
        norm_num_groups=config.norm_groups,
        num_class_embeds=1,  # MONAI then calls `class_embedding`, which is ours
        **sizes,
    )
    network.register_module("class_embedding", GlobalEncoder(config.conditions, 4 * config.channels[0]))
    return network


def modulation(network: nn.Module) -> Iterator[nn.Parameter]:
    """Its group norms, and the embeddings of conditions."""
    for module in network.modules():
        if isinstance(module, nn.GroupNorm):
            yield from module.parameters()
    for module in network.modules():
        if isinstance(module, GlobalEncoder):
            yield from module.embeddings()
