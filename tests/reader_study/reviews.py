"""Reviews of plausibility without a network: hearts of random pixels, and what readers say of them."""

from collections.abc import Mapping, Sequence

import numpy as np

from cmrfed.config import GeneratorConfig, HeartConfig, PreprocessingConfig, SamplingConfig, read_stage
from cmrfed.generators import build_generator
from cmrfed.reader_study.answers import PlausibilityAnswers
from cmrfed.reader_study.hearts import HeartImages, Painter
from cmrfed.reader_study.plausibility import PlausibilityKey

SIZE = 8


class Sketch(Painter):
    """Notes what it is asked for; its pixels are the severity. At end systole there is no first slice."""

    def __init__(self) -> None:
        config = GeneratorConfig(channels=(8, 8), norm_groups=4, trainable="all", init=None)
        generator = build_generator(config, seed=0)
        for name, value in (("generator", generator), ("preprocessing", PreprocessingConfig(size=16))):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "sampling", SamplingConfig())
        object.__setattr__(self, "asked", [])

    def heart(self, asked: HeartConfig, person: int, vendor: str, slice_mm: float) -> HeartImages:
        self.asked.append(([asked], person, vendor, slice_mm))  # type: ignore[attr-defined]
        return sketched(3, asked.severity or 0.0)

    def course(self, requests: Sequence[HeartConfig], person: int, vendor: str) -> list[HeartImages] | None:
        self.asked.append((requests, person, vendor, None))  # type: ignore[attr-defined]
        return [sketched(3, request.severity or 0.0) for request in requests]


def sketched(levels: int, value: float) -> HeartImages:
    images = np.full((2, levels, SIZE, SIZE), np.float32(value))
    images[1, 0] = np.nan
    return images


def key_of(hearts: Mapping[str, tuple], orderings: Mapping[str, Mapping[str, float]]) -> PlausibilityKey:
    """hearts: synthetic, pathology, severity. orderings: severities by heart, of DCM where the name has no other."""
    values = {
        "study": "s",
        "of": "r, private",
        "hearts": {
            name: {"synthetic": synthetic, "vendor": "GE", "pathology": pathology, "severity": severity}
            for name, (synthetic, pathology, severity) in hearts.items()
        },
        "orderings": {
            name: {"pathology": name.partition("-")[0], "severities": dict(truth)} for name, truth in orderings.items()
        },
    }
    return read_stage(PlausibilityKey, values)


def answers_of(
    ratings: Mapping[str, tuple[int, int]], orders: Mapping[str, Sequence[str]], reader: str = "A"
) -> PlausibilityAnswers:
    given = {
        name: {"anatomy": anatomy, "motion": motion, "artefact": "none", "note": "", "seconds": 1.0}
        for name, (anatomy, motion) in ratings.items()
    }
    ordered = {name: {"order": list(order), "seconds": 1.0} for name, order in orders.items()}
    values = {"study": "s", "reader": reader, "ratings": given, "orderings": ordered}
    return read_stage(PlausibilityAnswers, values)
