"""Training at one site: slices + weights + plan -> what may leave the site, and the accountant's event of it."""

from cmrfed.training.local import Contribution, LocalRun, LocalTask, Progress, contribution, private_random, train
from cmrfed.training.losses import autocast, choose_device, mean_loss, plain_gradient, validation_losses
from cmrfed.training.pretraining import pretrain
from cmrfed.training.private import noised_sum, patient_batch, trained_weights

__all__ = [
    "Contribution",
    "LocalRun",
    "LocalTask",
    "Progress",
    "autocast",
    "choose_device",
    "contribution",
    "mean_loss",
    "noised_sum",
    "patient_batch",
    "plain_gradient",
    "pretrain",
    "private_random",
    "train",
    "trained_weights",
    "validation_losses",
]
