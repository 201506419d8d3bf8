"""A network of stacks: (batch, 1, level, row, column)."""

import torch
from torch import nn

from cmrfed.batches import Conditions
from cmrfed.config import GeneratorConfig
from cmrfed.generators.encoders import DenseEncoder, GlobalEncoder
from cmrfed.generators.networks.contract import Network
from cmrfed.shapes import spread

WIDTH = 4


class ToyVolumeNetwork(Network):
    spatial_dims = 3

    def __init__(self, config: GeneratorConfig, channels: int) -> None:
        super().__init__(config, channels)
        self.dense = DenseEncoder(config.conditions, config.tissue_classes)
        self.told = GlobalEncoder(config.conditions, WIDTH)
        self.first = nn.Conv3d(2 * channels + self.dense.channels, WIDTH, 3, padding=1)
        self.last = nn.Conv3d(WIDTH, channels, 3, padding=1)

    def forward(self, x_t: torch.Tensor, t: torch.Tensor, conditions: Conditions) -> torch.Tensor:
        times = spread(t, x_t).expand_as(x_t)
        hidden = self.first(torch.cat([x_t, times, *self.dense(conditions, x_t.shape[2:])], dim=1))
        return self.last((hidden + self.told(conditions)[:, :, None, None, None]).sin())

    def groups(self) -> dict[str, object]:
        return {"all": self.parameters(), "last": self.last.parameters()}
