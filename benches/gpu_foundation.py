"""The public foundation in so many minutes on this machine's GPU, else its CPU: checks, timing, training, weights.

First `benches.gpu_check`, since a device that fails it must not train privately either. Then some steps are taken on
trial: from how long one takes, and from how fast hearts are drawn, follow how many steps fit in, and how often each
slice is used so that the device does not wait for hearts. Then `cmrfed pretrain` with these settings, which can be
interrupted and gone on with, writes OUT and its card.

    python -m benches.gpu_foundation --minutes 10 --out foundation.safetensors
"""

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from benches import gpu_check
from cmrfed.cli.runs import pretrain as command
from cmrfed.cli.stages import Pretrain
from cmrfed.config import RunConfig
from cmrfed.console import console
from cmrfed.generators import build_generator
from cmrfed.preparation import phantom_stream
from cmrfed.training import choose_device, pretrain


@dataclass(frozen=True)
class Pace:
    """What a trial found: seconds the network takes for a step, and slices that are drawn in a second."""

    step_s: float
    drawn_per_s: float

    def settings(self, minutes: float, batch_size: int) -> dict[str, int]:
        """Keys of `pretraining`."""
        uses = max(1, math.ceil(batch_size / self.step_s / self.drawn_per_s))
        return {"steps": max(1, int(60 * minutes / self.step_s)), "batch_size": batch_size, "uses": uses}


def main(arguments: Sequence[str] | None = None) -> int:
    """Train; returns the exit code of the check."""
    options = _options(arguments)
    code = gpu_check.main(["--device", str(choose_device(options.device)), *options.check])
    shape = {"channels": options.channels, "norm_groups": options.norm_groups, "init": None}
    values = {
        "generator": {name: value for name, value in shape.items() if value is not None} | {"trainable": "all"},
        "preprocessing": {"size": options.size},
        "training": {"device": options.device},
    }
    pace = measure(Pretrain(**values).config, options.batch, options.trial)
    settings = pace.settings(options.minutes, options.batch)
    console.print(f"a step of {options.batch}: {pace.step_s:.4f} s; hearts come at {pace.drawn_per_s:.0f} slices/s")
    command(Pretrain(out=options.out, pretraining=settings | {"ema_decay": 0.999}, **values))
    return code


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0, help="of training")
    parser.add_argument("--out", default="foundation.safetensors", help="file for the weights; its card goes beside it")
    parser.add_argument("--batch", type=int, default=32, help="slices in a step")
    parser.add_argument("--trial", type=int, default=60, help="steps on trial")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--size", type=int, default=64, help="pixels a side")
    parser.add_argument("--channels", type=int, nargs="+", help="of each level of the U-Net")
    parser.add_argument("--norm-groups", type=int)
    parser.add_argument("--check", nargs=argparse.REMAINDER, default=[], help="the rest goes to benches.gpu_check")
    return parser.parse_args(arguments)


def measure(config: RunConfig, batch_size: int, steps: int) -> Pace:
    """Some steps with every slice used once, the start of the workers that draw hearts included: rather too slow."""
    settings = config.pretraining.model_copy(update={"batch_size": batch_size, "steps": steps, "mixed_slices": 1})
    generator, hearts = build_generator(config.generator, seed=0), partial(phantom_stream, 0, config.preprocessing, 0.7)
    found = pretrain(generator, hearts, settings, config.training, seed=0)
    return Pace((found.seconds_s - found.waited_s) / steps, found.slices / found.seconds_s)


if __name__ == "__main__":
    sys.exit(main())
