"""cmrfed's trainers beside other people's: what is learnt from as many examples of the same real patients, how fast,
and how long a slice takes to be drawn.

`motfm` (github.com/milad1378yz/MOTFM, Yazdani et al. 2025) is run beside `generator=flow`, and `segguided`
(github.com/mazurowski-lab/segmentation-guided-diffusion, Konz et al. 2024) beside `generator=segmentation_guided`. Each
trains by its own loop, with its own network, batch and optimiser as its authors set them, on the same slices at 64x64;
its code is read from a checkout of theirs, and needs what they say it needs. The losses of both are computed here: of
what each takes to be noise and image in the same held-out slices, at the same noises and shares of noise.

    python -m benches.peers motfm CHECKOUT --data DATA --store STORE
"""

import argparse
import json
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import chdir
from itertools import chain, repeat
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import yaml
from torch import Tensor

from benches.phantom import read_real
from cmrfed.batches import Conditions
from cmrfed.composition import option
from cmrfed.config import PretrainingConfig, RunConfig, SamplingConfig, TrainingConfig
from cmrfed.console import console, progress_bar
from cmrfed.generators import Denoiser, build_generator
from cmrfed.generators.path import Parts
from cmrfed.sampling import sample_images
from cmrfed.slices import Slices, split_patients
from cmrfed.training import pretrain
from cmrfed.updates import write_weights

SHARES = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Noise / (signal + noise) at which held-out slices are asked for."""
DRAWN, HELD_OUT = 8, 100
"""Slices drawn to see how long one takes, and slices that losses are of."""


class Trained(NamedTuple):
    seconds_per_example: float
    seconds_per_slice: float
    weights: int
    loss: float


class Peer(ABC):
    """A trainer of somebody else's, given images (slice, 1, row, column) in [-1, 1] and masks of labels alike."""

    preset: str
    """Of ours, that is the same method."""
    velocity: bool
    """Whether a loss is of the velocity from noise to image; else it is of the noise."""

    @abstractmethod
    def __init__(self, code: Path) -> None: ...

    @abstractmethod
    def train(self, images: Tensor, masks: Tensor, examples: int) -> int:
        """Learn from so many examples, or as many more as fill its last batch; how many they were."""

    @abstractmethod
    def parts(self, images: Tensor, noises: Tensor, masks: Tensor, share: float) -> Parts:
        """What it takes to be image and noise where these are mixed at that share of noise."""

    @abstractmethod
    def draw(self, masks: Tensor) -> float:
        """Seconds in which it draws an image for each mask as its authors draw them."""

    @abstractmethod
    def weights(self) -> int: ...


class Motfm(Peer):
    """The mask-conditioned configuration: a U-Net of MONAI Generative with a control branch, one example a step."""

    preset, velocity = "flow", True

    def __init__(self, code: Path) -> None:
        self._settings = yaml.safe_load((code / "configs" / "mask_conditioning.yaml").read_text())
        self._settings["model_args"]["use_flash_attention"] = False  # of xformers, which is for GPUs
        import trainer  # of the checkout
        from utils import general_utils, utils_fm

        self._data, self._drawing = general_utils, utils_fm
        self._module = trainer.FlowMatchingLightningModule(self._settings)
        self._module.on_validation_epoch_end = lambda: None

    def train(self, images: Tensor, masks: Tensor, examples: int) -> int:
        import pytorch_lightning as lightning

        batch = self._settings["train_args"]["batch_size"]
        loader = self._data.create_dataloader(images, self._scaled(masks), batch_size=batch)
        extras = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
        quiet: dict[str, Any] = dict.fromkeys(extras, False)
        steps = -(-examples // batch)
        lightning.Trainer(accelerator="cpu", max_epochs=-1, max_steps=steps, **quiet).fit(self._module, loader)
        return steps * batch

    @torch.no_grad()
    def parts(self, images: Tensor, noises: Tensor, masks: Tensor, share: float) -> Parts:
        x_t, t = (1 - share) * images + share * noises, torch.full((len(images),), 1 - share)
        velocity = self._module.eval().model(x=x_t, t=t, masks=self._scaled(masks))
        return Parts(x_t + share * velocity, x_t - (1 - share) * velocity)

    @torch.no_grad()
    def draw(self, masks: Tensor) -> float:
        began = time.perf_counter()
        model, settings = self._module.eval().model, self._settings["solver_args"]
        self._drawing.sample_with_solver(model, torch.randn(masks.shape), settings, masks=self._scaled(masks))
        return time.perf_counter() - began

    def weights(self) -> int:
        return _count(self._module)

    @staticmethod
    def _scaled(masks: Tensor) -> Tensor:
        return masks.float() / masks.max().clamp(min=1)


class SegmentationGuided(Peer):
    """The command line's own defaults: a `UNet2DModel` of diffusers, the mask in a channel, 32 examples a step, a
    thousand steps to draw. The mask is not ablated, as it is not unless asked for. Its 500 steps of warming up are a
    tenth of all steps where these are few, or nothing would be learnt; its pictures after an epoch, and the weights
    that it keeps, are left out: they would count as training."""

    preset, velocity = "segmentation_guided", False
    CHANNELS = (128, 128, 256, 256, 512, 512)

    def __init__(self, code: Path) -> None:
        import diffusers
        import training  # of the checkout

        self._training, self._diffusers = training, diffusers
        down, up = ["DownBlock2D"] * 6, ["UpBlock2D"] * 6
        down[4], up[1] = "AttnDownBlock2D", "AttnUpBlock2D"
        self._network = diffusers.UNet2DModel(
            sample_size=64,
            in_channels=2,
            out_channels=1,
            layers_per_block=2,
            block_out_channels=self.CHANNELS,
            down_block_types=tuple(down),
            up_block_types=tuple(up),
        )
        self._scheduler = diffusers.DDPMScheduler(num_train_timesteps=1000)
        self._signal = self._scheduler.alphas_cumprod.sqrt()

    def train(self, images: Tensor, masks: Tensor, examples: int) -> int:
        from diffusers.optimization import get_cosine_schedule_with_warmup

        settings = self._training.TrainingConfig(
            image_size=64, segmentation_guided=True, segmentation_channel_mode="single", num_segmentation_classes=4
        )
        settings.num_epochs, size = 1, settings.train_batch_size
        steps = -(-examples // size)
        chosen = torch.randint(len(images), (steps, size))
        batches = [{"images": images[rows], "seg_all": masks[rows] / 255} for rows in chosen]
        optimizer = torch.optim.AdamW(self._network.parameters(), lr=settings.learning_rate)
        rates = get_cosine_schedule_with_warmup(optimizer, min(settings.lr_warmup_steps, steps // 10), steps)
        self._training.evaluate = lambda *told: None
        self._training.SegGuidedDDPMPipeline.save_pretrained = lambda *told: None
        with tempfile.TemporaryDirectory() as folder, chdir(folder):
            settings.output_dir = folder
            model = torch.nn.DataParallel(self._network)
            self._training.train_loop(settings, model, self._scheduler, optimizer, batches, batches, rates, "cpu")
        return steps * size

    @torch.no_grad()
    def parts(self, images: Tensor, noises: Tensor, masks: Tensor, share: float) -> Parts:
        noise_levels = (1 - self._signal.square()).sqrt()
        step = int((noise_levels / (noise_levels + self._signal) - share).abs().argmin())
        signal, noise = self._signal[step], noise_levels[step]
        x_t = signal * images + noise * noises
        steps = torch.full((len(images),), step)
        seen = self._network.eval()(torch.cat([x_t, masks / 255], 1), steps, return_dict=False)[0]
        return Parts((x_t - noise * seen) / signal, seen)

    @torch.no_grad()
    def draw(self, masks: Tensor) -> float:
        """A thousand times one of the questions that it asks."""
        asked = torch.cat([torch.randn(masks.shape), masks / 255], 1)
        self._network.eval()(asked, torch.tensor(500))
        began = time.perf_counter()
        self._network(asked, torch.tensor(500))
        return self._scheduler.config.num_train_timesteps * (time.perf_counter() - began)

    def weights(self) -> int:
        return _count(self._network)


PEERS: dict[str, type[Peer]] = {"motfm": Motfm, "segguided": SegmentationGuided}


def main() -> None:
    """Measure, and print one JSON object."""
    options = _options()
    torch.set_num_threads(options.threads)
    real = read_real(options.data, options.store)
    held_out, trained = (real.subset(names) for names in split_patients(real.records, 0.2, seed=0, strata=("vendor",)))
    held_out = held_out.take(np.random.default_rng(0).choice(len(held_out), HELD_OUT, replace=False))
    sys.path.insert(0, str(options.code))
    torch.manual_seed(options.seed)
    peer = PEERS[options.peer](options.code)
    found = {options.peer: _peer(peer, trained, held_out, options), "cmrfed": _own(peer, trained, held_out, options)}
    theirs, own = found[options.peer], found["cmrfed"]
    ratios = {
        "examples a second, times theirs": theirs.seconds_per_example / own.seconds_per_example,
        "slices a second, times theirs": theirs.seconds_per_slice / own.seconds_per_slice,
        "loss, times theirs": own.loss / theirs.loss,
    }
    table = {name: one._asdict() for name, one in found.items()} | {"ratios": ratios, "examples": options.examples}
    console.print(json.dumps(table, indent=2), markup=False, highlight=False)


def _peer(peer: Peer, trained: Slices, held_out: Slices, options: argparse.Namespace) -> Trained:
    batch = trained.batch(range(len(trained)))
    began = time.perf_counter()
    examples = peer.train(batch.images, batch.masks[:, None].float(), options.examples)
    seconds = time.perf_counter() - began
    losses = []
    for images, noises, conditions, share in _asked(held_out):
        seen = peer.parts(images, noises, conditions["mask"][:, None].float(), share)
        losses.append(_error(peer, seen, Parts(images, noises)))
    drawn = held_out.batch(range(DRAWN)).masks[:, None].float()
    return Trained(seconds / examples, peer.draw(drawn) / DRAWN, peer.weights(), float(np.mean(losses)))


def _own(peer: Peer, trained: Slices, held_out: Slices, options: argparse.Namespace) -> Trained:
    """The preset on the same examples, by public pretraining's loop; drawn from as by default."""
    preset = option("generator", peer.preset)
    config = RunConfig(data={"root": ".", "sources": {}}, generator=preset | {"trainable": "all", "init": "phantom"})
    generator = build_generator(config.generator, options.seed)
    assert isinstance(generator, Denoiser)
    settings = PretrainingConfig()
    settings = settings.model_copy(update={"steps": -(-options.examples // settings.batch_size)})

    def patients(first: int) -> Iterator[Slices]:
        names = np.random.default_rng(options.seed).permutation(trained.patient_names)
        yield from (trained.subset([name]) for name in chain.from_iterable(repeat(names)))

    began = time.perf_counter()
    with progress_bar("training cmrfed's") as progress:
        done = pretrain(generator, patients, settings, TrainingConfig(), options.seed, progress=progress)  # type: ignore[arg-type]
    seconds = time.perf_counter() - began
    write_weights(generator, done.weights)
    losses = []
    for images, noises, conditions, share in _asked(held_out):
        t = torch.full((len(images),), generator.time_at(share))
        with torch.no_grad():
            seen = generator.eval().predict_x0_eps(generator.corrupt(images, noises, t), t, conditions)
        losses.append(_error(peer, seen, Parts(images, noises)))
    few = held_out.take(np.arange(DRAWN))
    began = time.perf_counter()
    sample_images(generator, few, SamplingConfig(), options.seed)
    drawn = time.perf_counter() - began
    examples = settings.steps * settings.batch_size
    return Trained(seconds / examples, drawn / DRAWN, _count(generator), float(np.mean(losses)))


def _asked(held_out: Slices) -> Iterator[tuple[Tensor, Tensor, Conditions, float]]:
    """Images, noises and conditions at each share of noise; the same whoever is asked."""
    random = torch.Generator().manual_seed(0)
    for share in SHARES:
        for rows in torch.arange(len(held_out)).split(50):
            batch = held_out.batch(rows.tolist())
            yield batch.images, torch.randn(batch.images.shape, generator=random), batch.conditions, share


def _error(peer: Peer, seen: Parts, true: Parts) -> float:
    """The mean squared error of what the peer learns: a flow its velocity, a diffusion its noise."""
    off = seen.noise - true.noise
    return float((off - (seen.image - true.image) if peer.velocity else off).square().mean())


def _count(network: torch.nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters())


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("code", type=Path, help="a checkout of its repository")
    parser.add_argument("--data", required=True, help="folder that holds mnms/ and acdc/")
    parser.add_argument("--store", type=Path, required=True, help="file to keep the real patients' slices in")
    parser.add_argument("--examples", type=int, default=4000, help="slices that both learn from")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--seed", type=int, default=0, help="decides networks and batches")
    return parser.parse_args()


if __name__ == "__main__":
    main()
