"""Masks without images: hearts on demand, by disease and severity, whose masks belong to nobody.

`course.py` says what a heart is to measure, between health and a disease's extreme; `parametric.py` draws one from
the phantom's ventricles, as a reader outlines them (`reader.py`); `topology.py` is what no heart may be;
`segments.py` names its wall's segments; `measures.py` reads off masks what was asked for; `folder.py` writes hearts,
and what each was asked and measures; `slices.py` gives them on a generator's grid.
"""

from cmrfed.anatomy.folder import HeartRow, conditions_by_stack, draw_folder, read_requests, read_rows
from cmrfed.anatomy.measures import measure
from cmrfed.anatomy.parametric import HeartMasks, draw_heart
from cmrfed.anatomy.segments import aha_segments, thickness_mm
from cmrfed.anatomy.slices import heart_slices
from cmrfed.anatomy.topology import violations

__all__ = [
    "HeartMasks",
    "HeartRow",
    "aha_segments",
    "conditions_by_stack",
    "draw_folder",
    "draw_heart",
    "heart_slices",
    "measure",
    "read_requests",
    "read_rows",
    "thickness_mm",
    "violations",
]
