"""Which slices a reader sees: as many real as synthetic ones of every vendor, a patient once, in an order that tells
nothing."""

import secrets
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int64

from cmrfed.conditions import PHASES, VENDORS
from cmrfed.config import Stage, UserError
from cmrfed.slices import Slices


@dataclass(frozen=True)
class Item:
    """One image in [-1, 1] under a random name, and what it is."""

    name: str
    image: Float32[np.ndarray, "row column"]
    synthetic: bool
    vendor: str
    phase: str


class Origin(Stage):
    """What one item is."""

    synthetic: bool
    vendor: str
    phase: str


class StudyKey(Stage):
    """The answers to a study: kept from readers until they are done."""

    study: str
    run: str
    arm: str
    items: dict[str, Origin]

    @classmethod
    def of(cls, items: list[Item], study: str, run: str, arm: str) -> "StudyKey":
        """The key of these items."""
        truths = {item.name: Origin(synthetic=item.synthetic, vendor=item.vendor, phase=item.phase) for item in items}
        return cls(study=study, run=run, arm=arm, items=truths)


def choose_items(real: Slices, synthetic: Slices, most: int, seed: int) -> list[Item]:
    """At most `most` items, half of them synthetic, shuffled.

    real: held-out slices. synthetic: images drawn for the masks of the same patients. Every patient is used once, for a
    real image or for a synthetic one and never for both, or a reader could compare the two outlines; each gives the
    slice in the middle of one of its stacks. `seed` decides which patients and slices, never the names or the order.
    Raises UserError when there are fewer than two patients.
    """
    random = np.random.default_rng(seed)
    pairs = [pair for vendor in sorted(set(synthetic.vendors)) for pair in _pairs(synthetic, vendor, random)]
    if not pairs:
        raise UserError("reader study: needs two held-out patients of one vendor, of whom one is shown as he is")
    chosen = [pairs[index] for index in random.permutation(len(pairs))[: max(1, most // 2)]]
    items = [_item(real, one, False, random) for one, _ in chosen]
    items += [_item(synthetic, other, True, random) for _, other in chosen]
    secrets.SystemRandom().shuffle(items)
    return items


def _pairs(slices: Slices, vendor: str, random: np.random.Generator) -> list[tuple[str, str]]:
    """The vendor's patients two by two: the first shows a real image, the second a synthetic one."""
    names = [record.patient for record in slices.records if record.vendor == vendor]
    names = [names[index] for index in random.permutation(len(names))]
    return list(zip(names[::2], names[1::2], strict=False))


def _item(slices: Slices, patient: str, synthetic: bool, random: np.random.Generator) -> Item:
    row = _middle_of_a_stack(slices, slices.of_patient(slices.patient_names.index(patient)), random)
    vendor, phase = (slices.conditions[name][row] for name in ("vendor", "phase"))
    image = np.asarray(slices.images[row : row + 1])[0]
    return Item(secrets.token_hex(4), image, synthetic, VENDORS[vendor], PHASES[phase])


def _middle_of_a_stack(slices: Slices, rows: Int64[np.ndarray, " n"], random: np.random.Generator) -> int:
    stack = random.choice(np.unique(slices.stacks[rows]))
    own = rows[slices.stacks[rows] == stack]
    return int(own[len(own) // 2])
