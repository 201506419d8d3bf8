"""What one segmenter learns from: slices of one or more origins, read as batches ask for them."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Int64, UInt8

from cmrfed.batches import joined
from cmrfed.shapes import Image, Mask, structures_of
from cmrfed.slices import Slices

Augmentation = Literal["light", "strong"]
Masks = UInt8[np.ndarray, "slice row column"]
"""Labels of `cmrfed.shapes.Label`, as predicted or as a reader drew them."""


@dataclass(frozen=True)
class TrainingSet:
    """Labelled slices, one part after the other; a patient may be in several parts, as real and as synthetic.

    Slices that lie on disk stay there. `augmentation` names one of `cmrfed.evaluation.utility.metrics.AUGMENTATIONS`.
    """

    parts: tuple[Slices, ...]
    augmentation: Augmentation = "light"

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def batch(self, rows: Int64[np.ndarray, " batch"]) -> tuple[Image, Mask]:
        """Those slices, counted through all parts, with classes of tissue as background.

        They come part by part: the order inside a batch says nothing.
        """
        ends = np.cumsum([len(part) for part in self.parts])
        of_part = np.searchsorted(ends, rows, side="right")
        pieces = [
            part.batch(rows[of_part == number] - (ends[number] - len(part)))
            for number, part in enumerate(self.parts)
            if (of_part == number).any()
        ]
        whole = joined(pieces)
        return whole.images, structures_of(whole.masks)
