"""MONAI's diffusion U-Net for stacks of slices: convolutions see neighbouring slices, and every level has all of them.

A stack has few slices, some millimetres apart, so that halving them would leave nothing: rows and columns alone are
folded and halved.
"""

from typing import ClassVar

from monai.networks.nets import DiffusionModelUNet
from torch import nn

from cmrfed.config import GeneratorConfig
from cmrfed.generators.networks.unet import UNet

IN_PLANE = (1, 2, 2)


class UNet3d(UNet):
    """The block of attention at the coarsest level sees the whole stack."""

    spatial_dims: ClassVar[int] = 3

    def _built(self, config: GeneratorConfig, channels: int) -> DiffusionModelUNet:
        unet = self._plain(config, channels)
        for module in unet.modules():  # MONAI halves and doubles all three
            if isinstance(module, nn.Conv3d) and module.stride == (2, 2, 2):
                module.stride = IN_PLANE
            elif isinstance(module, nn.Upsample):
                module.scale_factor = tuple(float(factor) for factor in IN_PLANE)
        return unet
