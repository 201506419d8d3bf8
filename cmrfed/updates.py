"""The only wire format: weights as named float32 arrays, their differences, their average over rounds, safetensors."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float32
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from torch import nn

from cmrfed.config import GeneratorConfig, RunConfig, UserError, not_readable, read_json_text, read_stage
from cmrfed.core import atomic
from cmrfed.generators import Generator, build_generator

Weights: TypeAlias = dict[str, np.ndarray]
"""Name -> float32 array; all of a generator's weights, or the trained ones of an update."""


def read_weights(module: nn.Module, trainable_only: bool = False) -> Weights:
    """Copy a module's parameters out. Generators have no buffers that training changes."""
    return {
        name: weight.detach().cpu().float().numpy().copy()
        for name, weight in module.named_parameters()
        if weight.requires_grad or not trainable_only
    }


@torch.no_grad()
def write_weights(module: nn.Module, weights: Mapping[str, np.ndarray]) -> None:
    """Copy weights into a module. Raises UserError when a name or shape does not fit, and changes nothing."""
    own = dict(module.named_parameters())
    for name, array in weights.items():
        if name not in own or tuple(own[name].shape) != array.shape:
            wanted = tuple(own[name].shape) if name in own else "no such weight"
            raise UserError(f"weights: {name} has shape {array.shape}, the configured generator has {wanted}")
        _refuse_other_formats("weights", name, array)
        if not np.isfinite(array).all():
            raise UserError(f"weights: {name} holds values that are not finite")
    for name, array in weights.items():
        own[name].copy_(torch.from_numpy(np.array(array)))


def unflatten(flat: Float32[np.ndarray, " weight"], module: nn.Module) -> Weights:
    """A flat vector as the module's trained weights, in the module's order."""
    shapes = {name: weight.shape for name, weight in module.named_parameters() if weight.requires_grad}
    ends = np.cumsum([shape.numel() for shape in shapes.values()])
    if len(flat) != ends[-1]:
        raise ValueError(f"{len(flat)} values for {ends[-1]} trained weights")
    parts = np.split(flat, ends[:-1])
    return {name: part.reshape(tuple(shape)) for (name, shape), part in zip(shapes.items(), parts, strict=True)}


def difference(after: Weights, before: Weights) -> Weights:
    """after - before, for the names in `after`."""
    return {name: array - before[name] for name, array in after.items()}


def changed(after: Weights, before: Weights) -> Weights:
    """The weights in `after` that are not, to the bit, those in `before`."""
    return {n: a for n, a in after.items() if n not in before or a.tobytes() != before[n].tobytes()}


def apply_update(weights: Weights, update: Weights, scale: float = 1.0) -> Weights:
    """weights + scale * update; weights the update does not name stay as they are."""
    moved = {name: (weights[name] + scale * array).astype(np.float32) for name, array in update.items()}
    return {**weights, **moved}


def average(averaged: Weights, weights: Weights, decay: float) -> Weights:
    """One step of an exponential moving average, averaged + (1 - decay) (weights - averaged).

    In this form a weight that never moved, as a frozen one, stays exactly what it was.
    """
    return {n: (averaged[n] + (1 - decay) * (weights[n] - averaged[n])).astype(np.float32) for n in weights}


def save_weights(path: Path, weights: Mapping[str, np.ndarray], metadata: Mapping[str, object]) -> None:
    """Write safetensors with a JSON `metadata` header, whole or not at all."""
    with atomic.replacing(path) as draft:
        whole = {name: np.asarray(array, order="C") for name, array in weights.items()}  # strides are not written
        save_file(whole, draft, metadata={"cmrfed": json.dumps(metadata)})


def load_weights(path: Path) -> tuple[Weights, dict[str, object]]:
    """Read what `save_weights` wrote. Raises UserError when the file is missing, truncated or something else."""
    weights, notes = load_arrays(path)
    for name, array in weights.items():
        _refuse_other_formats(str(path), name, array)
    return weights, notes


def load_arrays(path: Path) -> tuple[dict[str, np.ndarray], dict[str, object]]:
    """The same of arrays of any number format, as those of a checkpoint are."""
    try:
        with safe_open(path, framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
            notes = read_json_text((file.metadata() or {}).get("cmrfed", "{}"), f"{path}: its header")
    except (OSError, SafetensorError, TypeError, ValueError) as error:  # TypeError: a number format NumPy does not have
        otherwise = f"{path}: not a readable weights file ({' '.join(str(error).split())})"
        raise not_readable(path, error, otherwise) from None
    if not isinstance(notes, dict):
        raise UserError(f"{path}: its header is no record of what the weights are")
    return arrays, notes


def _refuse_other_formats(where: str, name: str, array: np.ndarray) -> None:
    if array.dtype != np.float32:
        raise UserError(f"{where}: {name} is {array.dtype}; weights are float32")


def save_generator(path: Path, generator: Generator, weights: Weights, **notes: object) -> None:
    """Write a generator's weights with the configuration that rebuilds it."""
    save_weights(path, weights, {"generator": generator.config.model_dump(mode="json"), **notes})


def sampling_notes(config: RunConfig) -> dict[str, object]:
    """What a model file must say besides its network, so that it can be sampled from without its run: the grid that it
    draws on, and how it is drawn from."""
    return {name: getattr(config, name).model_dump(mode="json") for name in ("preprocessing", "sampling")}


def load_generator(path: Path) -> tuple[Generator, dict[str, object]]:
    """Rebuild the generator that `save_generator` wrote, with its notes."""
    weights, metadata = load_weights(path)
    if "generator" not in metadata:
        raise UserError(f"{path}: holds weights but not which generator they are of; choose a run's model.safetensors")
    config = read_stage(GeneratorConfig, metadata.pop("generator"), where=str(path))
    generator = build_generator(config, seed=0)
    write_weights(generator, weights)
    return generator.eval(), metadata
