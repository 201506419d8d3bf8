"""How fast the endless stream of phantoms comes, prepared for training, on all processors."""

import time
from contextlib import closing
from itertools import islice

from cmrfed.config import PreprocessingConfig
from cmrfed.console import console
from cmrfed.preparation import phantom_stream

AIMS = {64: 200, 128: 60}
"""Pixels a side -> slices a second."""
_BEFORE, _MEASURED = 8, 80


def main() -> None:
    """Print slices a second at each size, once the workers run."""
    for size, aim in AIMS.items():
        with closing(phantom_stream(1, PreprocessingConfig(size=size))) as hearts:
            for _ in islice(hearts, _BEFORE):
                pass
            started = time.monotonic()
            slices = sum(len(heart) for heart in islice(hearts, _MEASURED))
            console.print(f"{size} x {size}: {slices / (time.monotonic() - started):.0f} slices a second (aim {aim})")


if __name__ == "__main__":
    main()
