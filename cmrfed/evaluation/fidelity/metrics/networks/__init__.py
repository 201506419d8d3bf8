"""Networks that turn grey images into features: each a module from 8-bit pixels to one row of features an image.

No network's weights are ever downloaded, and none are unpickled with code in them.
"""

from cmrfed.evaluation.fidelity.metrics.networks.efficientnet import EfficientNetLite0
from cmrfed.evaluation.fidelity.metrics.networks.inception import InceptionV3
from cmrfed.evaluation.fidelity.metrics.networks.resnet import ImageNetResNet50, RadImageNetResNet50

__all__ = ["EfficientNetLite0", "ImageNetResNet50", "InceptionV3", "RadImageNetResNet50"]
