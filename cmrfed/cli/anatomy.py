"""The command anatomy: hearts without images."""

from pathlib import Path

from cmrfed.cli.stages import Anatomy
from cmrfed.config import HeartConfig, HeartsConfig, UserError
from cmrfed.console import console, progress_bar
from cmrfed.outputs import output_folder

_BYTES_OF_HEART = 200_000


def draw(command: Anatomy) -> None:
    from cmrfed.anatomy import draw_folder

    requests = _requests(command)
    out = output_folder(command.out, _BYTES_OF_HEART * len(requests))
    with progress_bar("drawing hearts") as progress:
        rows = draw_folder(requests, command.voxels, command.seed, out, progress)
    console.print(f"{len(rows)} hearts in {out}; a picture of some: {out / 'hearts.png'}", soft_wrap=True, markup=False)
    if again := sum(row.tries - 1 for row in rows):
        console.print(f"  hearts drawn again, which could not be ({again})", style="yellow", markup=False)


def _requests(command: Anatomy) -> list[HeartConfig]:
    from numpy.random import default_rng

    from cmrfed.anatomy import read_requests

    if command.hearts is None:
        rngs = (default_rng([command.seed, index, 0]) for index in range(command.n))
        return [command.heart(index, rng.uniform) for index, rng in enumerate(rngs)]
    asked = [name for name in HeartsConfig.model_fields if getattr(command, name) != getattr(HeartsConfig(), name)]
    if asked:
        raise UserError(f"{asked[0]}: is a column of the table when hearts= is given; leave it out")
    return read_requests(Path(command.hearts).expanduser())
