"""Inception-v3, the network of the published FID (Heusel et al.), as torch-fidelity has it; weights are the user's."""

from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from torch import nn
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3


class InceptionV3(nn.Module):
    """Grey 8-bit images of any size -> 2048 pooled features, at 299 pixels a side, resized as TensorFlow once did."""

    def __init__(self, weights: Path) -> None:
        super().__init__()
        # torch-fidelity unpickles the file without restrictions: read it here first, where code is refused.
        torch.load(weights, weights_only=True)
        self.network = FeatureExtractorInceptionV3(
            "inception-v3", ["2048"], feature_extractor_weights_path=str(weights)
        )
        # The published inception score leaves the classifier's bias out.
        self.classifier: nn.Module = nn.Linear(2048, self.network.fc.out_features, bias=False)
        self.classifier.weight = self.network.fc.weight

    def forward(self, pixels: UInt8[torch.Tensor, "batch 1 row column"]) -> Float[torch.Tensor, "batch 2048"]:
        """Features after global average pooling, before the classifier."""
        return self.network(pixels.expand(-1, 3, -1, -1))[0]
