"""The segmentation networks of a comparison, each with a frozen recipe: nothing is tuned to any training set.

Changing a recipe makes earlier utility scores incomparable.
"""

from collections.abc import Callable
from dataclasses import dataclass

from monai.networks.nets import DynUNet, UNet
from torch import nn

from cmrfed.shapes import Label

_LEAKY_RELU = ("LEAKYRELU", {"negative_slope": 0.01, "inplace": True})


@dataclass(frozen=True)
class Backbone:
    """How a network is built, and how it is trained for images whose sides are multiples of `multiple`.

    `warm_up` is the part of all steps over which the learning rate rises. A network that gives outputs at several
    depths, stacked in dimension 1, is supervised at each of them, half as much as at the one before.
    """

    build: Callable[[], nn.Module]
    multiple: int
    batch_size: int = 16
    learning_rate: float = 1e-2
    weight_decay: float = 1e-4
    warm_up: float = 0.1


def residual_unet() -> nn.Module:
    """A 2-D residual U-Net (Kerfoot et al., STACOM 2018).

    Instance norm treats every image by itself, so that a prediction does not depend on what shares its batch. Leaky
    rectifiers, for the parametric ones' gradient takes a fifth of a step on a CPU.
    """
    channels = (16, 32, 64, 128)
    return UNet(
        spatial_dims=2,
        in_channels=1,
        out_channels=len(Label),
        channels=channels,
        strides=(2,) * (len(channels) - 1),
        num_res_units=2,
        norm="INSTANCE",
        act=_LEAKY_RELU,
    )


def dynamic_unet() -> nn.Module:
    """nnU-Net's plain U-Net (Isensee et al., Nature Methods 2021) at a quarter of its width, with deep supervision."""
    filters, strides = (8, 16, 32, 64, 128), (1, 2, 2, 2, 2)
    return DynUNet(
        spatial_dims=2,
        in_channels=1,
        out_channels=len(Label),
        kernel_size=(3,) * len(filters),
        strides=strides,
        upsample_kernel_size=strides[1:],
        filters=filters,
        norm_name=("INSTANCE", {"affine": True}),
        act_name=_LEAKY_RELU,
        deep_supervision=True,
        deep_supr_num=2,
    )


BACKBONES: dict[str, Backbone] = {
    "unet": Backbone(residual_unet, multiple=8),
    "dynunet": Backbone(dynamic_unet, multiple=16),
}
"""Every network by its name in a configuration."""
