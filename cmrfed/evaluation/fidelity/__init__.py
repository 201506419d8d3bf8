"""Fidelity of every arm: synthetic images for held-out masks against the held-out images of the same masks.

The floor of every score is what other real patients get in the place of the synthetic ones.
"""

from cmrfed.config import FidelityConfig
from cmrfed.core.progress import ProgressBar
from cmrfed.evaluation.fidelity.metrics import headline, refuse_unusable_spaces
from cmrfed.evaluation.fidelity.outlines import outlined
from cmrfed.evaluation.fidelity.pixels import measure_pixels
from cmrfed.evaluation.fidelity.sets import compared
from cmrfed.evaluation.fidelity.spaces import measure_spaces
from cmrfed.evaluation.fidelity.structure import measure_structure
from cmrfed.evaluation.schema import Fidelity
from cmrfed.evaluation.subject import Subject

__all__ = ["measure_fidelity"]

_HEADLINE = ("fid", "kid")


def measure_fidelity(subject: Subject, config: FidelityConfig, bar: ProgressBar) -> dict[str, Fidelity]:
    """By arm: FID and KID of the first space, and every score by part and its name in `metrics.SCORES`.

    The real reference has as many images as the test set, and its mix of vendors. Raises UserError for a space that is
    not known, or whose weights are not there.
    """
    refuse_unusable_spaces(config.spaces, config.weights)
    sets = compared(subject)
    spaces = measure_spaces(sets, config, bar)
    pixels = measure_pixels(sets, bar) if config.pixels else {}
    outlines = outlined(sets, config.segmenter_steps, bar) if config.segmenter_steps else None
    structure = measure_structure(sets, outlines, bar) if config.structure else {}
    first = config.spaces[0]
    return {
        arm: Fidelity.model_validate(
            {
                **headline({name: spaces[arm][first][name] for name in _HEADLINE if name in spaces[arm][first]}),
                "images": sets.images,
                "spaces": spaces[arm],
                "pixels": pixels.get(arm, {}),
                "structure": structure.get(arm, {}),
                "faithfulness": outlines.faithfulness.get(arm, {}) if outlines else {},
            }
        )
        for arm in subject.synthetic
    }
