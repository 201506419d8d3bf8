"""A U-Net whose way up is normalised by the mask, pixel by pixel (SPADE: Park et al. 2019, arXiv:1903.07291), as in
semantic diffusion (Wang et al. 2022, arXiv:2207.00050).

h <- gamma(mask) norm(h) + beta(mask) in every block of the decoder: what is shown of the mask is not washed out by
normalisation, as it may be where the mask is one more channel of the input. The norm is a group norm.
"""

import torch
from jaxtyping import Float
from monai.networks.blocks.spade_norm import SPADE
from monai.networks.nets import SPADEDiffusionModelUNet
from torch import Tensor, nn

from cmrfed.batches import Conditions
from cmrfed.config import GeneratorConfig, UserError
from cmrfed.generators.folding import folded, unfolded
from cmrfed.generators.networks.unet import UNet, diffusion_network
from cmrfed.shapes import Latent


class SPADEUNet(UNet):
    """MONAI's. The encoder sees the noisy image alone; the mask, and whatever else is dense, enters the decoder."""

    def _built(self, config: GeneratorConfig, channels: int) -> nn.Module:
        if not self.dense.channels:
            raise UserError("generator.network: spade shows the mask to its norms; name it in generator.conditions")
        sizes = {
            "spatial_dims": self.spatial_dims,
            "in_channels": channels * config.patch**2,
            "out_channels": channels * config.patch**2,
            "label_nc": self.dense.channels * config.patch**2,
            "spade_intermediate_channels": config.channels[0],
        }
        unet = diffusion_network(SPADEDiffusionModelUNet, config, sizes)
        for module in unet.modules():
            if isinstance(module, SPADE):
                # MONAI's default would normalise gamma and beta themselves, and blow up what little they say of no mask
                del module.mlp_gamma.adn, module.mlp_beta.adn
        return unet

    def forward(self, x_t: Latent, t: Float[Tensor, " batch"], conditions: Conditions) -> Latent:
        shown = folded(torch.cat(self._dense_on(x_t, conditions), dim=1), self.patch)
        seen = folded(x_t, self.patch)
        prediction = self.unet(seen, timesteps=1000.0 * t, seg=shown, class_labels=conditions)
        return unfolded(prediction, self.patch).float()
