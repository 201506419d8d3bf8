"""Training at one site: slices + weights + plan -> what may leave the site, and the accountant's event of it."""

from cmrfed.training.directions import public_directions
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
from cmrfed.training.pretraining import Patients, Pretrained, pretrain, steps_kept
from cmrfed.training.private import noised_sum, patient_batch, trained_weights
from cmrfed.training.public import has_public_objectives, train_publicly

__all__ = [
    "DistributedRun",
    "FewSteps",
    "LocalRun",
    "LocalTask",
    "Patients",
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
    "public_directions",
    "single_pixel_losses",
    "steps_kept",
    "train",
    "train_publicly",
    "trained_weights",
    "validation_losses",
]
