"""The built-in data set: procedural short-axis cine MRI of hearts in thoraxes, as four vendors' scanners would show it.

It reads from top to bottom as a scan does: `heart` and `thorax` are shapes in mm, `anatomy` cuts them into slices of
tissue, `texture` turns tissue into signal and `receiver` takes it through coils and k-space, by the laws in `physics`
and with the settings drawn from `styles`; `scan` does this for one patient, and `layout` writes patients to disk the
way M&Ms is laid out. It is drawn from published physiology and physics alone, so it costs no patient any privacy.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from cmrfed.conditions import UNKNOWN
from cmrfed.parallel import map_in_order
from cmrfed.phantom.layout import write_phantom
from cmrfed.phantom.physics import Sequence
from cmrfed.phantom.scan import PHASES, Scan, scan_patient, scan_patient_twice
from cmrfed.volumes import Case

__all__ = ["phantom_cases", "phantom_patient", "phantom_patient_twice", "write_phantom"]


def phantom_cases(patients: int, seed: int, vendor: str | None = None) -> Iterator[Case]:
    """Yield ED and ES of `patients` phantom hearts, decided by (seed, vendor) alone.

    With `vendor` None every scan's settings are drawn from wide ranges and the case's vendor is "unknown": the public
    data for pretraining. Raises UserError when the vendor is not one of `styles.STYLES`.
    """
    one = partial(phantom_patient, seed=seed, vendor=vendor)
    for cases in map_in_order(one, range(patients)):
        yield from cases


def phantom_patient(index: int, seed: int, vendor: str | None = None) -> list[Case]:
    """ED and ES of the phantom heart number `index`, the same whoever else is drawn and in whatever order."""
    return _cases(scan_patient(seed, vendor, index), vendor, f"{seed}-{index}")


def phantom_patient_twice(index: int, seed: int, second: Sequence) -> list[Case]:
    """The same of any scanner, and as `source` of each case the same slices on another, in that sequence."""
    one, other = scan_patient_twice(seed, None, index, second)
    cases = _cases(one, None, f"{seed}-{index}")
    return [replace(case, source=other.images[phase]) for case, phase in zip(cases, PHASES, strict=True)]


def _cases(scan: Scan, vendor: str | None, name: str) -> list[Case]:
    return [
        Case(
            image=scan.images[phase],
            mask=scan.masks[phase],
            spacing_mm=scan.spacing_mm,
            patient=f"phantom-{vendor or UNKNOWN}-{name}",
            dataset="phantom",
            vendor=vendor or UNKNOWN,
            centre="phantom",
            phase=phase,
            pathology=scan.person.pathology,
            conditions=scan.person.conditions | {"style": scan.style.condition()},
        )
        for phase in PHASES
    ]
