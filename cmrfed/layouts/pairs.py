"""Pairs as `data=pairs` and `cmrfed evaluate images=` read them: NAME.nii.gz, an image, and NAME_gt.nii.gz, its mask.

A pair's place is its mask's place in the folder of masks, inside a folder for the vendor and one for the phase where
several are drawn. Pairs are added to what is there; each tells in its own header where it comes from.
"""

from collections.abc import Sequence
from pathlib import Path

from cmrfed.layouts.contract import AUTHOR, Asked, Files, Layout, Provenance, Written
from cmrfed.outputs import refuse_in_the_way
from cmrfed.volumes import is_written_by


class Pairs(Layout):
    """Only what an earlier call wrote is written over."""

    def files(self, out: Path, asked: Asked) -> Files:
        stem = Path(out, *asked.folders, asked.name)
        return Files(*(stem.with_name(f"{stem.name}{end}.nii.gz") for end in ("", "_gt")))

    def refuse(self, out: Path, files: Sequence[Files]) -> None:
        written = [path for pair in files for path in pair]
        refuse_in_the_way(written, lambda path: is_written_by(path, AUTHOR))

    def describe(self, out: Path, written: Sequence[Written], made_by: Provenance) -> None:
        """Nothing: what holds of some pairs need not hold of those of another call beside them."""
