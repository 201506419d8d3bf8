"""Objectives that no patient's data touch: post-processing, at the coordinator, of what the sites have paid for."""

from collections.abc import Iterator

import torch

from cmrfed.config import TrainingConfig
from cmrfed.generators import Generator
from cmrfed.privacy import SeededRandom
from cmrfed.slices import Slices
from cmrfed.training.losses import choose_device, plain_gradient
from cmrfed.training.pretraining import Mixed


def has_public_objectives(generator: Generator) -> bool:
    """Whether there is anything to do in the present stage."""
    return any(not one.private and one.stage == generator.stage for one in generator.objectives)


def train_publicly(
    generator: Generator, patients: Iterator[Slices], training: TrainingConfig, seed: int, round: int
) -> None:
    """`local_steps` steps of each public objective of the present stage, in turn, by the weights of each alone, on
    public patients' slices. Decided by seed and round, so that a round that is repeated comes out the same."""
    device, random = choose_device(training.device), SeededRandom(seed, round)
    pool = Mixed(training.batch_size, generator.config.levels)
    generator.to(device).train().requires_grad_(True)
    objectives = [one for one in generator.objectives if not one.private and one.stage == generator.stage]
    rate = training.public_learning_rate
    optimizers = [torch.optim.Adam(one.weights(), lr=rate * one.pace, betas=one.betas) for one in objectives]
    for _ in range(training.local_steps):
        for objective, optimizer in zip(objectives, optimizers, strict=True):
            batch = pool.draw(training.batch_size, patients, random).to(device)
            plain_gradient(objective, batch, training, random, device)
            optimizer.step()
