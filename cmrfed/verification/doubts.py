"""Warnings: what does not stop anything, but a cardiac imaging engineer would look at before training on it.

A check takes one stack, or all of a patient's visit or of a data set, and returns what is odd and what to do, or None.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping

from cmrfed.conditions import UNKNOWN, VENDORS
from cmrfed.datasets import doubtful_names
from cmrfed.shapes import Label
from cmrfed.verification.facts import StackFacts
from cmrfed.verification.findings import Finding
from cmrfed.verification.ventricles import are_swapped

END_DIASTOLE_ML = (20.0, 500.0)
"""Believable LV volumes at end diastole: a newborn's, and twice a severely dilated one."""
FEWEST_SLICES = 5
"""A stack of 8 mm slices with fewer than this ends before an adult's apex."""
NARROW = 0.02
"""An image whose middle 98 % span less than this part of its whole range is nearly constant."""

Stacks = list[StackFacts]


def doubts_about(stacks: Iterable[StackFacts]) -> Iterator[Finding]:
    """Warnings about each stack, each visit of a patient, each data set and its names, alike ones together."""
    stacks = list(stacks)
    visits: defaultdict[tuple[str, str], Stacks] = defaultdict(list)
    data_sets: defaultdict[str, Stacks] = defaultdict(list)
    for stack in stacks:
        visits[stack.patient, stack.visit].append(stack)
        data_sets[stack.dataset].append(stack)
    for doubt in doubtful_names((stack.dataset, stack.patient) for stack in stacks):
        yield Finding("doubtful name", doubt)
    for kind, of_visit in VISIT_CHECKS.items():
        for own in visits.values():
            if said := of_visit(own):
                yield Finding(kind, f"{own[-1].image_path}: {said}")
    for kind, of_stack in STACK_CHECKS.items():
        for stack in stacks:
            if said := of_stack(stack):
                at_fault = stack.mask_path if kind in _OF_MASKS and stack.mask_path else stack.image_path
                yield Finding(kind, f"{at_fault}: at {stack.phase}, {said}")
    for kind, of_data_set in DATA_SET_CHECKS.items():
        for name, own in data_sets.items():
            if said := of_data_set(own):
                yield Finding(kind, f"{name}: {said}")


def _phases_swapped(own: Stacks) -> str | None:
    by_phase = {stack.phase: stack.volume_ml(Label.LV) for stack in own}
    diastole, systole = by_phase.get("ED"), by_phase.get("ES")
    if diastole is None or systole is None or systole <= diastole:
        return None
    return f"the LV holds {diastole:.0f} mL at ED but {systole:.0f} mL at ES; swap the two frames in the table"


def _rv_grows(own: Stacks) -> str | None:
    by_phase = {stack.phase: stack.volume_ml(Label.RV) for stack in own}
    diastole, systole = by_phase.get("ED"), by_phase.get("ES")
    if diastole is None or systole is None or systole <= diastole or _phases_swapped(own):
        return None
    return f"the RV holds {diastole:.0f} mL at ED but {systole:.0f} mL at ES; check its outline in the basal slices"


def _same_image_twice(own: Stacks) -> str | None:
    hashes = {stack.image_hash: stack.phase for stack in own}
    if len(hashes) == len(own):
        return None
    phases = " and ".join(stack.phase for stack in own)
    return f"{phases} show the same image; check the frame numbers in the table"


def _one_phase(own: Stacks) -> str | None:
    if len({stack.phase for stack in own}) > 1:
        return None
    at = f"{own[0].phase} at visit {own[0].visit}" if own[0].visit else own[0].phase
    return f"the patient has one phase only ({at}); add the other one if the scan has it"


def _implausible_volume(stack: StackFacts) -> str | None:
    low, high = END_DIASTOLE_ML
    volume = stack.volume_ml(Label.LV)
    if stack.phase == "ES" or volume is None or low <= volume <= high:
        return None
    return f"the LV holds {volume:.0f} mL, not {low:g} to {high:g} mL; check spacing, slice gap and labels"


def _ventricles_swapped(stack: StackFacts) -> str | None:
    rv = stack.enclosed[Label.RV]
    if not are_swapped(stack.enclosed):
        return None
    return (
        f"myocardium encloses {rv:.0%} of the RV's edge as it should the LV's; the labels of the ventricles are "
        "swapped: choose the data set whose label numbers these are"
    )


def _mirrored(stack: StackFacts) -> str | None:
    right_mm = stack.rv_to_the_right_mm
    if right_mm is None or right_mm <= 0 or _ventricles_swapped(stack):
        return None
    return (
        f"the RV lies {right_mm:.0f} mm to the right of the LV on the screen; the image is mirrored or turned: "
        "restore the orientation in the header"
    )


def _gap_in_mask(stack: StackFacts) -> str | None:
    slices = stack.heart_slices
    missing = sorted(set(range(slices[0], slices[-1])) - set(slices)) if slices else []
    if not missing:
        return None
    return f"{_numbered(missing)} between labelled slices show no structure; complete the segmentation"


def _mask_at_border(stack: StackFacts) -> str | None:
    if not stack.at_border:
        return None
    names = " and ".join(structure.name for structure in stack.at_border)
    return f"{names} touches the edge of the image; the heart is cut off: check the crop"


def _mask_elsewhere(stack: StackFacts) -> str | None:
    if not stack.mask_is_elsewhere:
        return None
    return (
        f"the mask's header places it up to {stack.mask_offset_mm:.0f} mm from its image; copy the image's affine into "
        "it if both are of one grid, else export it again"
    )


def _nearly_constant(stack: StackFacts) -> str | None:
    low, low_1, high_99, high = stack.intensity
    if low == high or high_99 - low_1 >= NARROW * (high - low):
        return None
    return f"98 % of voxels lie between {low_1:.4g} and {high_99:.4g}; the image is nearly constant: export it again"


def _blank_slices(stack: StackFacts) -> str | None:
    if not stack.blank_slices or len(stack.blank_slices) == stack.shape[0]:
        return None
    return f"{_numbered(stack.blank_slices)} of the image are blank; remove them or export the stack again"


def _lost_spacing(stack: StackFacts) -> str | None:
    if stack.spacing_mm != (1.0, 1.0, 1.0):
        return None
    return (
        "spacing is exactly 1 x 1 x 1 mm, which tools write when they have lost it; restore it from the scanner's "
        "PixelSpacing and slice positions"
    )


def _spacing_told_twice(stack: StackFacts) -> str | None:
    if stack.spacing_conflict is None:
        return None
    slice_mm, row_mm, column_mm = stack.spacing_mm
    return (
        f"{stack.spacing_conflict}; slices of {slice_mm:.4g} mm and pixels of {row_mm:.4g} x {column_mm:.4g} mm are "
        "believed: write the true spacing into both"
    )


def _thin_slices(stack: StackFacts) -> str | None:
    slice_mm, row_mm, column_mm = stack.spacing_mm
    if slice_mm >= min(row_mm, column_mm):
        return None
    return (
        f"slices are {slice_mm:g} mm apart, closer than pixels ({row_mm:g} x {column_mm:g} mm); the axes' order or the "
        "spacing is wrong"
    )


def _few_slices(stack: StackFacts) -> str | None:
    if stack.shape[0] >= FEWEST_SLICES:
        return None
    return f"the stack has {stack.shape[0]} slices; check that it is the whole short-axis stack"


def _heart_not_to_be_found(stack: StackFacts) -> str | None:
    if any(stack.voxels.values()) or stack.has_motion or stack.unlabelled == 0:
        return None
    return (
        "there is no mask and only one moment, so the heart cannot be found by its motion; give the cine, or set "
        "preprocessing.unlabelled_centre=image"
    )


def _unknown_vendor(stacks: Stacks) -> str | None:
    nameless = {stack.patient for stack in stacks if stack.vendor == UNKNOWN}
    if not nameless:
        return None
    vendors = ", ".join(vendor for vendor in VENDORS if vendor != UNKNOWN)
    return (
        f"the scanner's vendor is unknown for {len(nameless)} of its patients; give it in the table ({vendors}), since "
        "the generator learns by vendor, unless it is another maker's"
    )


def _no_pixel_spacing(stacks: Stacks) -> str | None:
    """One scan may well have pixels of 1 mm; a whole data set has lost its spacing, or was resampled."""
    lost = all(stack.spacing_mm[1:] == (1.0, 1.0) for stack in stacks)
    if not lost or len({stack.patient for stack in stacks}) < 2 or any(map(_lost_spacing, stacks)):
        return None
    return (
        "pixels of every patient are exactly 1 x 1 mm, which tools write when they have lost the spacing; restore it "
        "from the scanner's PixelSpacing, or ignore this if the images were resampled to 1 mm"
    )


def _numbered(slices: Iterable[int]) -> str:
    """Slices as people count them."""
    numbers = [str(number + 1) for number in slices]
    return f"slice {numbers[0]}" if len(numbers) == 1 else f"slices {', '.join(numbers)}"


VISIT_CHECKS: Mapping[str, Callable[[Stacks], str | None]] = {
    "ED and ES swapped": _phases_swapped,
    "RV larger at ES": _rv_grows,
    "ED and ES the same image": _same_image_twice,
    "one phase only": _one_phase,
}
STACK_CHECKS: Mapping[str, Callable[[StackFacts], str | None]] = {
    "ventricles swapped": _ventricles_swapped,
    "mirrored": _mirrored,
    "implausible volume": _implausible_volume,
    "gap in the mask": _gap_in_mask,
    "mask at the border": _mask_at_border,
    "mask elsewhere": _mask_elsewhere,
    "nearly constant": _nearly_constant,
    "blank slices": _blank_slices,
    "spacing lost": _lost_spacing,
    "spacing told twice": _spacing_told_twice,
    "slices too close": _thin_slices,
    "few slices": _few_slices,
    "heart not to be found": _heart_not_to_be_found,
}
DATA_SET_CHECKS: Mapping[str, Callable[[Stacks], str | None]] = {
    "vendor unknown": _unknown_vendor,
    "pixel spacing lost": _no_pixel_spacing,
}
_OF_MASKS = ("ventricles swapped", "gap in the mask", "mask at the border", "mask elsewhere")
