"""A U-Net that attends more on its way up than on its way down (Ozdemir and Erogul 2025,
doi:10.3390/diagnostics15161985).

On the way down early levels gather local texture, by convolutions alone, and only the coarsest attends to the whole
heart. On the way up every level but the finest does, where anatomy is put together from coarse to fine; there each has
one block more, too, as all of MONAI's have.
"""

from monai.networks.nets import DiffusionModelUNet

from cmrfed.config import GeneratorConfig
from cmrfed.generators.networks.unet import UNet

HEADS = 8


class AttentionUNet(UNet):
    """The U-Net with the way down of one of MONAI's, and the way up of another."""

    def _built(self, config: GeneratorConfig, channels: int) -> DiffusionModelUNet:
        finer = len(config.channels) - 1
        unet = self._plain(config, channels, (False,) * finer + (True,), HEADS)
        unet.up_blocks = self._plain(config, channels, (False,) + (True,) * finer, HEADS).up_blocks
        return unet
