"""What the kernel distance finds wrong with a flow's images, and where on the way they are spoilt.

Phantom images of some slices, and what a flow that learnt from phantoms sees for their masks at several times of its
walk, as of no known vendor or style: at 0.9 that is what it draws in twenty steps, at 0.95 what the whole way comes to.
Both are also changed in one way at a time. By row: KID to the report half of each real set, their mean, the KID to the
phantom's own images, and the grain (spread of the Laplacian). For some, the Dice on the same real patients of
segmenters that learnt from them alone.

    python -m benches.realism --data DATA --store STORE
"""

import argparse
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from scipy.ndimage import distance_transform_edt, laplace

from benches.phantom import features, groups, halves, read_real
from cmrfed.columns import unknown_column
from cmrfed.config import PreprocessingConfig
from cmrfed.console import console, progress_bar
from cmrfed.evaluation.fidelity.metrics import PatientFeatures
from cmrfed.evaluation.fidelity.metrics.kernel import kernel_distance
from cmrfed.evaluation.subject import thin
from cmrfed.evaluation.utility.metrics import TrainingSet, predict, stack_scores, train_segmenter
from cmrfed.foundation import foundation_generator
from cmrfed.generators import Denoiser
from cmrfed.preparation import phantom_slices
from cmrfed.slices import Slices
from cmrfed.statistics import bootstrap_mean_interval

STEP = 0.05
TAKEN = (0.6, 0.75, 0.8, 0.9, 0.95)
"""Times at which the walk's image is taken."""
ALSO_LEARNT_FROM = (0.9, 0.8)
RESTORED_FROM = 0.75
NEAR_PX, REACH_PX = 2, 4
"""The heart and its next pixels are one image's; over so many more it becomes the other's."""

Images = Float[np.ndarray, "slice row column"]


def main() -> None:
    """Print a line a row."""
    options = _options()
    tested = [half for _, half in map(halves, groups(read_real(options.data, options.store)).values())]
    with progress_bar("imaging phantoms") as progress:
        hearts = phantom_slices(options.hearts, options.seed, PreprocessingConfig(), progress)
    phantom = _unknown(thin(thin(hearts, 2 * options.slices, options.seed), options.slices, options.seed))
    generator, _ = foundation_generator()
    assert isinstance(generator, Denoiser)
    noises = torch.randn(
        (len(phantom), 1, *phantom.images.shape[1:]), generator=torch.Generator().manual_seed(options.seed)
    )
    walk = taken(generator, phantom, noises, 0.0, TAKEN)
    real, own = [features(half) for half in tested], features(phantom)
    _print("the phantom's", np.asarray(phantom.images[:]), phantom, real, own)
    for t, images in walk.items():
        _print(f"walk, image taken at {t}", images, phantom, real, own)
    _print_dice(phantom, walk, tested, options)
    for name, images in changed(generator, phantom, noises, walk[TAKEN[-1]], options.seed):
        _print(name, images, phantom, real, own)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder that holds mnms/ and acdc/")
    parser.add_argument("--store", type=Path, required=True, help="file to keep the real patients' slices in")
    parser.add_argument("--hearts", type=int, default=100, help="phantom hearts whose masks are drawn for")
    parser.add_argument("--slices", type=int, default=300, help="slices of these hearts that are drawn")
    parser.add_argument("--training-steps", type=int, default=400, help="of every segmenter")
    parser.add_argument("--trainings", type=int, default=1, help="of a segmenter, over which Dice is averaged")
    parser.add_argument("--seed", type=int, default=0, help="decides hearts, noise and trainings")
    return parser.parse_args()


def _unknown(slices: Slices) -> Slices:
    hidden = {name: unknown_column(name, len(slices)) for name in ("vendor", "style")}
    return replace(slices, conditions=slices.conditions | hidden)


@torch.no_grad()
def taken(
    generator: Denoiser, slices: Slices, noises: torch.Tensor, start: float, times: Iterable[float]
) -> dict[float, Images]:
    """The images that the network sees at some times of one walk in steps of STEP, by time. It begins with the slices'
    own images as they are at `start`; at 0 these are noise."""
    found: dict[float, list[torch.Tensor]] = {t: [] for t in times}
    for rows in np.array_split(np.arange(len(slices)), -(-len(slices) // 64)):
        batch = slices.batch(rows)
        x_t = generator.corrupt(batch.images, noises[rows], torch.full((len(rows),), start))
        for step in range(round(start / STEP), round(max(found) / STEP) + 1):
            t, to = (torch.full((len(rows),), number * STEP) for number in (step, step + 1))
            parts = generator.seen(x_t, t, batch.conditions)
            if (time := round(step * STEP, 2)) in found:
                found[time].append(parts.image[:, 0].clamp(-1, 1))
            x_t = generator.path.corrupt(parts, to)
    return {t: torch.cat(images).numpy() for t, images in found.items()}


def changed(
    generator: Denoiser, phantom: Slices, noises: torch.Tensor, flow: Images, seed: int
) -> Iterable[tuple[str, Images]]:
    """Phantom and flow images by what was done to them."""
    images = np.asarray(phantom.images[:])
    restored = taken(generator, phantom, noises, RESTORED_FROM, (RESTORED_FROM, TAKEN[-1]))
    for t, found in restored.items():
        yield f"the phantom's with noise of t={RESTORED_FROM}, taken at {t}", found
    around = np.stack([distance_transform_edt(mask == 0) for mask in np.asarray(phantom.masks[:])])
    share = np.clip((around - NEAR_PX) / REACH_PX, 0, 1).astype(np.float32)
    yield "the phantom's hearts, the flow's surroundings", images * (1 - share) + flow * share
    yield "the flow's hearts, the phantom's surroundings", flow * (1 - share) + images * share
    yield "the flow's, each of its phantom's radial spectrum", with_spectrum_of(images, flow)
    white = 0.05 * np.random.default_rng(seed).standard_normal(images.shape).astype(np.float32)
    yield "the phantom's, white noise of 0.05 added", images + white


def with_spectrum_of(wanted: Images, images: Images) -> Images:
    """Each image with the other's mean power at every whole radius of the frequency plane, in [-1, 1]."""
    side = images.shape[1]
    frequencies = np.fft.fftfreq(side) * side
    radii = np.hypot(frequencies[:, None], frequencies).round().astype(int)
    own, other = (_radial(each, radii) for each in (images, wanted))
    scaled = np.fft.fft2(images) * np.sqrt(other / own)[:, radii]
    return np.clip(np.fft.ifft2(scaled).real, -1, 1).astype(np.float32)


def _radial(images: Images, radii: np.ndarray) -> np.ndarray:
    power = np.abs(np.fft.fft2(images)) ** 2
    return np.stack([np.bincount(radii.ravel(), each.ravel()) / np.bincount(radii.ravel()) for each in power])


def _print(name: str, images: Images, phantom: Slices, real: list[PatientFeatures], own: PatientFeatures) -> None:
    shown = features(replace(phantom, images=images.astype(np.float32)))
    distances = [_kid(shown, half) for half in real]
    told = " ".join(f"{one:.4f}" for one in distances)
    console.print(
        f"{name}: KID {told}, mean {np.mean(distances):.4f}; to the phantom's {_kid(shown, own):.4f}; "
        f"grain {np.std(laplace(images, axes=(1, 2))):.3f}",
        soft_wrap=True,
    )


def _kid(first: PatientFeatures, second: PatientFeatures) -> float:
    count = min(len(first), len(second))
    return kernel_distance(first.thin(count, 0).features, second.thin(count, 0).features)


def _print_dice(phantom: Slices, walk: dict[float, Images], tested: list[Slices], options: argparse.Namespace) -> None:
    """Of the phantom's images, and of those taken at some times, beside those taken last."""
    drawn = _dice(replace(phantom, images=walk[TAKEN[-1]]), tested, options)
    console.print(f"Dice, image taken at {TAKEN[-1]}: {drawn.mean():.4f}", soft_wrap=True)
    others = {f"image taken at {t}": replace(phantom, images=walk[t]) for t in ALSO_LEARNT_FROM}
    for name, slices in {"the phantom's": phantom, **others}.items():
        found = _dice(slices, tested, options)
        low, high = bootstrap_mean_interval(found - drawn, replicates=2000, seed=0)
        told = f"{(found - drawn).mean():.4f} [{low:.4f}, {high:.4f}]"
        console.print(f"Dice, {name}: {found.mean():.4f}, paired difference {told}", soft_wrap=True)


def _dice(images: Slices, tested: list[Slices], options: argparse.Namespace) -> np.ndarray:
    """Every tested patient's mean Dice, averaged over trainings."""
    scores = []
    for seed in range(options.seed, options.seed + options.trainings):
        network = train_segmenter(TrainingSet((images,)), options.training_steps, seed)
        found = [stack_scores(predict(network, test), test).by_patient("dice")[:, -1] for test in tested]
        scores.append(np.concatenate(found))
    return np.mean(scores, axis=0)


if __name__ == "__main__":
    main()
