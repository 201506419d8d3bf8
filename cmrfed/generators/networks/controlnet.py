"""ControlNet (Zhang et al. 2023, arXiv:2302.05543; for cardiac images Skorupko et al. 2024, arXiv:2403.19508).

A U-Net that is not told of the mask, and beside its way down a branch that is: a second way down, whose every level is
added to the first's through a convolution that starts at zero. Once the base is taught, the branch alone is trained.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from monai.networks.nets import ControlNet
from torch import Tensor, nn

from cmrfed.batches import Conditions
from cmrfed.config import GeneratorConfig, UserError
from cmrfed.generators.encoders import dense_encoder
from cmrfed.generators.folding import folded, unfolded
from cmrfed.generators.networks.unet import UNet, diffusion_network, modulation
from cmrfed.shapes import Latent

CONTROLLING = "mask"
"""The condition that the branch alone is told of."""


class ControlledUNet(UNet):
    """The U-Net, and MONAI's branch, which is told of whatever the base is told of, and of the mask."""

    def __init__(self, config: GeneratorConfig, channels: int) -> None:
        if CONTROLLING not in config.conditions:
            raise UserError(
                f"generator.network: controlnet is steered by the {CONTROLLING}; name it in generator.conditions"
            )
        others = tuple(name for name in config.conditions if name != CONTROLLING)
        super().__init__(config.model_copy(update={"conditions": others}), channels)
        self.control_dense = dense_encoder([CONTROLLING], config)
        sizes = {
            "spatial_dims": self.spatial_dims,
            "in_channels": (channels + self.dense.channels) * config.patch**2,
            "conditioning_embedding_in_channels": self.control_dense.channels * config.patch**2,
            "conditioning_embedding_num_channels": config.channels[:1],
        }
        self.control = diffusion_network(ControlNet, config, sizes)

    def forward(self, x_t: Latent, t: Float[Tensor, " batch"], conditions: Conditions) -> Latent:
        seen = folded(torch.cat([x_t, *self._dense_on(x_t, conditions)], dim=1), self.patch)
        told = {"timesteps": 1000.0 * t, "class_labels": conditions}
        (mask,) = self.control_dense(conditions, x_t.shape[2:])
        down, middle = self.control(seen, controlnet_cond=folded(mask.to(x_t.dtype), self.patch), **told)
        prediction = self.unet(seen, down_block_additional_residuals=down, mid_block_additional_residual=middle, **told)
        return unfolded(prediction, self.patch).float()

    def groups(self) -> dict[str, Iterator[nn.Parameter]]:
        """all: every weight. control: the branch. modulation: the branch's norms and embeddings of conditions."""
        return {
            "all": self.parameters(),
            "control": self.control.parameters(),
            "modulation": modulation(self.control),
        }
