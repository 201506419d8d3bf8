"""Training at one site: slices + weights + plan -> what may leave the site, and the accountant's event of it."""

from cmrfed.training.distillation import FewSteps
from cmrfed.training.local import DistributedRun, LocalRun, LocalTask, contribution, private_random, train
from cmrfed.training.losses import (
    autocast,
    choose_device,
    mean_loss,
    plain_gradient,
    single_pixel_losses,
    validation_losses,
)
from cmrfed.training.pretraining import Pretrained, pretrain, steps_kept
from cmrfed.training.private import noised_sum, patient_batch, trained_weights
from cmrfed.training.public import has_public_objectives, train_publicly

__all__ = [
    "DistributedRun",
    "FewSteps",
    "LocalRun",
    "LocalTask",
    "Pretrained",
    "autocast",
    "choose_device",
    "contribution",
    "has_public_objectives",
    "mean_loss",
    "noised_sum",
    "patient_batch",
    "plain_gradient",
    "pretrain",
    "private_random",
    "single_pixel_losses",
    "steps_kept",
    "train",
    "train_publicly",
    "trained_weights",
    "validation_losses",
]
