"""The one network behind every generator family: MONAI's diffusion U-Net, conditioned on mask, vendor and phase."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from monai.networks.nets import DiffusionModelUNet
from torch import Tensor, nn

from cmrfed.config import GeneratorConfig, UserError
from cmrfed.shapes import PHASES, UNKNOWN, VENDORS, Condition, Image, Label, Mask

UNKNOWN_CONDITION = (VENDORS.index(UNKNOWN), PHASES.index(UNKNOWN))

_MODULATION = ("norm", "class_embedding", "out.0")
_TRAINED_PARTS = {
    "all": ("",),
    "modulation": _MODULATION,
    "adaptation": (*_MODULATION, "conv_in", "out.2"),
}
"""Name parts of the trained weights: all; norms and condition embeddings; those and the first and last layer."""


class ConditionEmbedding(nn.Module):
    """The sum of a vendor's and a phase's embedding, so that a vendor seen only at ED still means something at ES.

    Each is the generic embedding, that of UNKNOWN, plus a difference that starts at zero: a vendor that public
    pretraining never saw looks generic until somebody's data teach the difference.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.vendor = nn.Embedding(len(VENDORS), width)
        self.phase = nn.Embedding(len(PHASES), width)
        for table in (self.vendor, self.phase):
            nn.init.zeros_(table.weight)

    def forward(self, condition: Condition) -> Float[Tensor, "batch width"]:
        return _embed(self.vendor, condition[:, 0]) + _embed(self.phase, condition[:, 1])


def _embed(table: nn.Embedding, index: Int[Tensor, " batch"]) -> Float[Tensor, "batch width"]:
    """Generic + difference; UNKNOWN, the last row, has no difference from itself."""
    unknown = table.num_embeddings - 1
    return table.weight[unknown] + table(index) * (index != unknown)[:, None]


class ConditionalUNet(nn.Module):
    """U-Net from (x_t, t, mask, condition) to an image-shaped prediction.

    The mask enters one-hot beside x_t, all zeros (which differs from all background) where it is UNLABELLED; where a
    row is not `kept` its whole mask is all zeros and its condition UNKNOWN: the unconditional branch of classifier-free
    guidance (Ho and Salimans 2022, arXiv:2207.12598). `patch` x `patch` pixels are folded into channels first, which
    keeps the cost of a 64 x 64 image that of a 32 x 32 one.
    """

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.patch, self.labels = config.patch, len(Label) + config.tissue_classes
        self.unet = DiffusionModelUNet(
            spatial_dims=2,
            in_channels=(1 + self.labels) * config.patch**2,
            out_channels=config.patch**2,
            channels=config.channels,
            attention_levels=(False,) * len(config.channels),
            num_res_blocks=config.residual_blocks,
            norm_num_groups=config.norm_groups,
            num_head_channels=config.channels[-1],  # of the one attention block, at the coarsest level: a single head
            num_class_embeds=1,  # MONAI then calls `class_embedding`, which is ours
        )
        self.unet.register_module("class_embedding", ConditionEmbedding(4 * config.channels[0]))

    def forward(
        self, x_t: Image, t: Float[Tensor, " batch"], mask: Mask, condition: Condition, kept: Bool[Tensor, " batch"]
    ) -> Image:
        labels = torch.arange(self.labels, device=mask.device)[:, None, None]
        one_hot = (mask[:, None] == labels).to(x_t.dtype) * kept[:, None, None, None]
        unknown = torch.tensor(UNKNOWN_CONDITION, device=condition.device)
        condition = torch.where(kept[:, None], condition, unknown)
        folded = F.pixel_unshuffle(torch.cat([x_t, one_hot], dim=1), self.patch)
        prediction = self.unet(folded, timesteps=1000.0 * t, class_labels=condition)
        return F.pixel_shuffle(prediction, self.patch).float()


def mark_trainable(network: nn.Module, trainable: str) -> None:
    """Freeze what `trainable` ("all", "adaptation" or "modulation") leaves out, by `requires_grad`."""
    for name, weight in network.named_parameters():
        weight.requires_grad_(any(part in name for part in _TRAINED_PARTS[trainable]))


def refuse_batch_statistics(network: nn.Module) -> None:
    """Raise UserError if a layer mixes patients: batch norms read other examples, affine or not, tracked or not."""
    for name, module in network.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and not isinstance(
            module, nn.modules.instancenorm._InstanceNorm
        ):
            raise UserError(
                f"generator layer {name} is a {type(module).__name__}: it mixes patients in one statistic, so that "
                "clipping by patient promises nothing; use group norm"
            )
