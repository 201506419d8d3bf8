"""What every layout is, and what is told of every synthetic file: that it is one, and which generator drew it."""

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cmrfed import __version__
from cmrfed.conditions import UNKNOWN
from cmrfed.config import SamplingConfig
from cmrfed.core import atomic
from cmrfed.outputs import new_folder
from cmrfed.shapes import Volume, VolumeMask
from cmrfed.volumes import write_on_grid_of, write_volume

AUTHOR = "cmrfed generate"
"""Signed into every NIfTI header, so that what is ours is known again, and images are known as synthetic."""
_MOMENT = re.compile(r"(?P<heart>.+)_(?P<moment>ED|ES|frame\d+)")


@dataclass(frozen=True)
class Provenance:
    """Where synthetic images come from.

    generator_sha256: hex, of the generator's weights (`cmrfed.site.request.digest`). model: the run and arm, or the
    file, that it was read from. simulated: whether their masks are those of simulated hearts; masks that somebody gave
    may be patients'. seed: None before anything is drawn.
    """

    generator_sha256: str
    model: str
    sampling: SamplingConfig
    seed: int | None = None
    simulated: bool = False

    @property
    def facts(self) -> dict[str, Any]:
        """As an image's file tells it: plain values, by names in BIDS's way of writing them."""
        return {
            "Synthetic": True,
            "Software": f"cmrfed {__version__}",
            "Model": self.model,
            "GeneratorSHA256": self.generator_sha256,
            "Seed": self.seed,
            "Sampling": self.sampling.model_dump(mode="json"),
        }

    @property
    def mask_facts(self) -> dict[str, Any]:
        """As a mask's file tells it: of one that was given nobody here knows whether it is a patient's."""
        return self.facts | {"Synthetic": True if self.simulated else None}

    def notes(self, of_mask: bool = False) -> str:
        """The facts as text, for a NIfTI header."""
        return json.dumps(self.mask_facts if of_mask else self.facts)

    @property
    def sentence(self) -> str:
        """For people, in one line."""
        masks = "masks of simulated hearts, which are nobody's" if self.simulated else "masks that were given"
        return (
            f"Synthetic images, which no scanner made: drawn by {AUTHOR} (version {__version__}) from {self.model}, "
            f"weights SHA-256 {self.generator_sha256}, seed {self.seed}, for {masks}."
        )


@dataclass(frozen=True)
class Asked:
    """A synthetic stack before it is drawn.

    name: its mask's place in the folder of masks, without suffixes. folders: the vendor and the phase, where several
    are drawn for one mask. known: what the generator is told of it, by condition; what is unknown is left out.
    """

    name: str
    folders: tuple[str, ...] = ()
    known: Mapping[str, object] = field(default_factory=dict)

    @property
    def heart(self) -> str:
        """The name without what tells moments of one heart apart: _ED, _ES or _frame07 at its end."""
        found = _MOMENT.fullmatch(self.name)
        return found["heart"] if found else self.name

    @property
    def moment(self) -> str:
        """What tells this moment of the heart from others, "" where nothing does."""
        found = _MOMENT.fullmatch(self.name)
        named, phase = found["moment"] if found else "", self.known_as("phase")
        return named if phase in ("", named) else named + phase

    def known_as(self, condition: str) -> str:
        """The condition's value, "" where it is unknown."""
        value = self.known.get(condition, UNKNOWN)
        return "" if value == UNKNOWN else str(value)


class Files(NamedTuple):
    """Where a pair goes: files, or a folder where an image is one."""

    image: Path
    mask: Path


@dataclass(frozen=True)
class Synthetic:
    """A pair in memory. image: from 0 to 1. mask: labels of `cmrfed.shapes.Label`, or UNLABELLED. like: the file whose
    grid both have; None where they are on the generator's."""

    image: Volume
    mask: VolumeMask
    spacing_mm: tuple[float, float, float]
    like: Path | None = None

    def save(self, path: Path, array: Volume | VolumeMask, notes: str) -> None:
        """An array on this grid as NIfTI, the notes in its header."""
        if self.like:
            write_on_grid_of(path, array, self.like, AUTHOR, notes)
        else:
            write_volume(path, array, self.spacing_mm, AUTHOR, notes)


class Written(NamedTuple):
    """A pair that is on disk. labels: those that its mask holds."""

    asked: Asked
    files: Files
    labels: frozenset[int]


class Layout(ABC):
    """Where pairs go in a folder `out`, which is new unless the layout says otherwise, and what is told of them."""

    @abstractmethod
    def files(self, out: Path, asked: Asked) -> Files:
        """Where the image and the mask go."""

    def refuse(self, out: Path, files: Sequence[Files]) -> None:
        """Raise UserError where `out` cannot take these files."""
        new_folder(out)

    def write(self, files: Files, pair: Synthetic, asked: Asked, made_by: Provenance) -> None:
        """The mask last: an image without one is seen to be unfinished."""
        pair.save(files.image, pair.image, made_by.notes())
        pair.save(files.mask, pair.mask, made_by.notes(of_mask=True))

    @abstractmethod
    def describe(self, out: Path, written: Sequence[Written], made_by: Provenance) -> None:
        """Write what is told of all pairs together, once all of them are there."""


def labels_in(mask: VolumeMask) -> frozenset[int]:
    return frozenset(int(label) for label in np.unique(mask))


def write_json(path: Path, content: Any) -> None:
    atomic.write_text(path, json.dumps(content, indent=2) + "\n")


def safe(name: str) -> str:
    """The name in letters that every tool and file system takes; others, slashes among them, become dashes."""
    return re.sub(r"[^A-Za-z0-9_-]", "-", name)
