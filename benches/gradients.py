"""What real patients would teach a generator that knows the phantom: how long that lesson is, and in which directions.

Each patient's gradient of the private objective's loss is computed at the same weights, on all of its slices. Of real
patients, and of phantoms of the generator's own kind, told:

- `unit_mean`: the length of the mean of unit gradients; 1 where all patients ask for the same step, 1 / sqrt(patients)
  where they agree on nothing;
- `split_half`: the cosine between the mean gradients of two halves of the patients, which agree by chance alone where
  there is nothing to learn, or too few patients to see it;
- `with_phantom`: the cosine between the mean gradient of real patients and that of phantoms: what more phantom would
  teach too. `less_phantom` is `split_half` of what is left when the phantoms' mean is taken away;
- `held`: the share of the real signal, by halves (Q a)(Q b) / (a b), that the first k centred directions of phantoms'
  gradients hold, beside k random ones; of the mean itself and of what is left of it;
- `loss`: by time, of real and of phantom images, and their ratio.

    python -m benches.gradients --data DATA --store STORE
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64

from benches.phantom import read_real
from benches.recipes import TIMES, draw_hearts, losses_by_time
from cmrfed.config import GeneratorConfig, RunConfig
from cmrfed.console import console, progress_bar
from cmrfed.federation.start import initial_weights
from cmrfed.generators import Denoiser, build_generator
from cmrfed.slices import Slices
from cmrfed.updates import write_weights

DIRECTIONS = (5, 10, 20, 80)
DRAWS = 2
"""Noises and times for each slice."""

Gradients = Float64[np.ndarray, "patient weight"]
Direction = Float64[np.ndarray, " weight"]


def main() -> None:
    """Measure, and print one JSON object."""
    options = _options()
    config = RunConfig(
        data={"root": options.data, "sources": {}}, generator={"init": options.init, "trainable": options.trainable}
    )
    generator = build_generator(config.generator, seed=0)
    assert isinstance(generator, Denoiser)
    write_weights(generator, initial_weights(config)[0])
    real = read_real(options.data, options.store)
    phantom = draw_hearts(options.seed + 1000, options.hearts)
    told = compare(*(patient_gradients(generator, slices, options.seed) for slices in (real, phantom)))
    told["loss"] = _losses(generator, real, phantom)
    console.print(json.dumps(told | {"weights": options.trainable, "init": options.init}, indent=2), markup=False)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder that holds mnms/ and acdc/")
    parser.add_argument("--store", type=Path, required=True, help="file to keep the real patients' slices in")
    parser.add_argument("--init", default="foundation", help="as generator.init")
    parser.add_argument("--trainable", default=GeneratorConfig().trainable, help="as generator.trainable")
    parser.add_argument("--hearts", type=int, default=200, help="phantoms")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def patient_gradients(generator: Denoiser, slices: Slices, seed: int) -> Gradients:
    """The gradient of each patient's mean loss over its slices, by the objective's weights, flat."""
    (objective,) = generator.objectives
    weights, found = list(objective.weights()), []
    with progress_bar("gradients of patients") as progress:
        for patient in range(slices.number_of_patients):
            rows = np.repeat(slices.of_patient(patient), DRAWS)
            # of the patient and the seed alone: the same times for all would be a direction of their own
            random = torch.Generator().manual_seed(seed * 100_000 + patient)
            loss = objective.losses(objective.drawn(slices.batch(rows), random)).mean()
            parts = torch.autograd.grad(loss, weights, allow_unused=True)
            found.append(np.concatenate([_flat(part, weight) for part, weight in zip(parts, weights, strict=True)]))
            progress(patient + 1, slices.number_of_patients)
    return np.stack(found)


def _flat(gradient: torch.Tensor | None, weight: torch.Tensor) -> Direction:
    return (torch.zeros_like(weight) if gradient is None else gradient).detach().double().flatten().numpy()


def compare(real: Gradients, phantom: Gradients) -> dict[str, Any]:
    """What the module's docstring names, of each patient's unit gradient, as clipping makes them."""
    real, phantom = _unit(real), _unit(phantom)
    shared = phantom.mean(0)
    a, b = (real[start::2].mean(0) for start in (0, 1))
    left = [half - (half @ shared) / (shared @ shared) * shared for half in (a, b)]
    basis = np.linalg.svd(phantom - shared, full_matrices=False)[2]
    random = np.linalg.qr(np.random.default_rng(0).standard_normal((real.shape[1], max(DIRECTIONS))))[0].T
    return {
        "patients": [len(real), len(phantom)],
        "numbers": real.shape[1],
        "unit_mean": {"real": _length(real.mean(0)), "phantom": _length(shared)},
        "split_half": cosine(a, b),
        "with_phantom": cosine(real.mean(0), shared),
        "less_phantom": cosine(*left),
        "length_less_phantom": _length((left[0] + left[1]) / 2),
        "held": {
            str(k): {
                "phantom": _held(basis[:k], a, b),
                "phantom, of what is left": _held(basis[:k], *left),
                "random": _held(random[:k], a, b),
            }
            for k in DIRECTIONS
        },
    }


def cosine(a: Direction, b: Direction) -> float:
    """Of two directions."""
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def _held(basis: Gradients, a: Direction, b: Direction) -> float:
    """The share of what two halves agree on that lies in the span of orthonormal rows."""
    return float((basis @ a) @ (basis @ b) / (a @ b))


def _unit(gradients: Gradients) -> Gradients:
    return gradients / np.linalg.norm(gradients, axis=1, keepdims=True)


def _length(direction: Direction) -> float:
    return float(np.linalg.norm(direction))


def _losses(generator: Denoiser, real: Slices, phantom: Slices) -> dict[str, Sequence[float]]:
    own, other = (losses_by_time(generator, slices) for slices in (real, phantom))
    return {
        "times": [(step + 0.5) / TIMES for step in range(TIMES)],
        "real": own,
        "phantom": other,
        "ratio": [one / two for one, two in zip(own, other, strict=True)],
    }


if __name__ == "__main__":
    main()
