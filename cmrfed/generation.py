"""A folder of masks -> a folder of synthetic cases: NAME.nii.gz, an image from 0 to 1, and NAME_gt.nii.gz, its mask.

Where no masks are given they are those of hearts on demand, `masks_of_nobody`: a patient's mask is a patient's data,
which no generator's guarantee covers.

Whatever can be wrong is found before the first image is drawn, and what of the masks is not drawn is counted. Masks are
written with the labels of `cmrfed.shapes.Label`, whatever numbers they came with. A pair's place in `out` is its mask's
place in the folder of masks, inside a folder for the vendor and one for the phase where several are drawn; a frame of a
4-D mask is a pair of its own, NAME_frame07.
"""

import hashlib
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import product
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float32

from cmrfed.anatomy import everybody, whole_heart
from cmrfed.columns import columns
from cmrfed.conditions import CONDITIONS, UNLABELLED, Categorical
from cmrfed.config import PreprocessingConfig, SamplingConfig, UserError, VoxelsConfig
from cmrfed.core.progress import Progress, ProgressBar, counted
from cmrfed.datasets import acdc, folder, mnms, mnms2, mscmrseg, ukbiobank
from cmrfed.generators import Generator
from cmrfed.generators.encoders import has_learnt
from cmrfed.outputs import output_folder, refuse_in_the_way, writing
from cmrfed.parallel import map_in_order
from cmrfed.preprocessing import PreparedMask, prepare_mask
from cmrfed.sampling import synthesise
from cmrfed.screening import Draw, Screen
from cmrfed.shapes import STRUCTURES, VolumeMask
from cmrfed.slices import Slices, masks_alone
from cmrfed.verification.ventricles import contradict_anatomy, enclosed
from cmrfed.volumes import is_written_by, open_cine, read_mask, write_on_grid_of, write_volume
from cmrfed.volumes.nifti import SUFFIXES
from cmrfed.volumetry import slice_levels

LABEL_TABLES: Mapping[str, Mapping[int, int]] = {
    name: {**table, UNLABELLED: UNLABELLED}
    for name, table in {
        "cmrfed": folder.LABELS,
        "mnms": mnms.LABELS,
        "mnms2": mnms2.LABELS,
        "ukbiobank": ukbiobank.LABELS,
        "acdc": acdc.LABELS,
        "mscmrseg": mscmrseg.LABELS,
    }.items()
}
"""Which number stands for which structure, by the data set whose masks are numbered so; 255 is unlabelled."""

_AUTHOR = "cmrfed generate"
"""Signed into every file's header, so that what is ours is known again, and images are known as synthetic."""
_BYTES_A_VOXEL = 5
"""Of an image and its mask, before compression."""


@dataclass(frozen=True)
class Stack:
    """A 3-D mask on disk: a file, or one frame of it. name: its place in the folder of masks, without suffixes."""

    path: Path
    frame: int | None
    name: str


@dataclass(frozen=True)
class Pair:
    """A stack to be drawn for one vendor and phase, and the files that it gives."""

    stack: Stack
    vendor: str
    phase: str
    image: Path
    mask: Path


@dataclass(frozen=True)
class Order:
    """What is to be drawn.

    labels: a name in `LABEL_TABLES`. frames: of a 4-D mask, counted from 0; None for all that show a structure.
    grid: "input" puts images on their masks' own voxels, "model" puts both on the generator's grid.
    vendors, phases: every mask is drawn for each pair of them. told: what else the generator is told of all of them, by
    condition. of_stack: and of some alone, by their names.
    """

    masks: Path
    out: Path
    labels: str = "cmrfed"
    frames: tuple[int, ...] | None = None
    grid: Literal["input", "model"] = "input"
    vendors: tuple[str, ...] = ("unknown",)
    phases: tuple[str, ...] = ("unknown",)
    seed: int = 0
    told: Mapping[str, object] = field(default_factory=dict)
    of_stack: Mapping[str, Mapping[str, object]] = field(default_factory=dict)

    @cached_property
    def table(self) -> Mapping[int, int]:
        return LABEL_TABLES[self.labels]

    @property
    def conditions(self) -> list[tuple[str, str]]:
        return list(product(self.vendors, self.phases))

    def pair(self, stack: Stack, vendor: str, phase: str) -> Pair:
        """Where the image and mask of that stack go."""
        folder = self.out
        for value, several in ((vendor, self.vendors), (phase, self.phases)):
            folder = folder / value if len(several) > 1 else folder
        image, mask = (folder / f"{stack.name}{end}.nii.gz" for end in ("", "_gt"))
        return Pair(stack, vendor, phase, image, mask)


@dataclass(frozen=True)
class Plan:
    """What was found to be drawn: pairs in the order in which they are written, and what is not drawn, by reason."""

    order: Order
    preprocessing: PreprocessingConfig
    pairs: list[Pair]
    not_drawn: Counter[str]


def plan_cases(order: Order, preprocessing: PreprocessingConfig, progress: Progress | None = None) -> Plan:
    """Read every mask in the folder and its subfolders once, and say what is to be drawn where.

    Raises UserError when a mask cannot be read or contradicts its label table, when two would be written to one place,
    when a file to be written is there and is not of an earlier call, and when there is no room for all.
    """
    _refuse_among_masks(order)
    stacks: list[Stack] = []
    voxels, not_drawn = 0, Counter[str]()
    paths = _mask_files(order, not_drawn)
    for number, path in enumerate(paths):
        for frame, mask, spacing_mm in _frames(path, order, not_drawn):
            _refuse_contradiction(path, mask, order.labels)
            _count(not_drawn, mask, prepare_mask(mask, spacing_mm, preprocessing, str(path)), preprocessing)
            stacks.append(Stack(path, frame, _name(order.masks, path, frame)))
            voxels += mask.size
        if progress:
            progress(number + 1, len(paths))
    pairs = [order.pair(stack, *condition) for stack, condition in product(stacks, order.conditions)]
    _refuse_collisions(pairs)
    output_folder(order.out, voxels * _BYTES_A_VOXEL * len(order.conditions))
    written = [path for pair in pairs for path in (pair.image, pair.mask)]
    refuse_in_the_way(written, lambda path: is_written_by(path, _AUTHOR))
    return Plan(order, preprocessing, pairs, not_drawn)


def draw_cases(
    generator: Generator,
    plan: Plan,
    sampling: SamplingConfig,
    progress: Progress | None = None,
    screen: Screen | None = None,
) -> Counter[str]:
    """Draw and write every pair of the plan, but for those that do not pass the screen; returns what that came to."""
    screened = Counter[str]()
    for number, pair in enumerate(plan.pairs):
        path = pair.stack.path
        mask, spacing_mm = read_mask(path, plan.order.table, pair.stack.frame)
        prepared = prepare_mask(mask, spacing_mm, plan.preprocessing, str(path))
        named = {"vendor": pair.vendor, "phase": pair.phase, "slice_level": slice_levels(prepared.masks)}
        known = {**named, **plan.order.told, **plan.order.of_stack.get(pair.stack.name, {})}
        asked = masks_alone(prepared.masks, columns(len(prepared.masks), known), prepared.spacing_mm)
        draw = partial(_drawn, generator, asked, sampling, f"{plan.order.seed}/{pair.stack.name}")
        images = _screened(screen, draw, screened) if screen else np.asarray(draw(0).images)
        if images is not None:
            _write(pair, mask, prepared, (images + 1) / 2, plan.order.grid)
        if progress:
            progress(number + 1, len(plan.pairs))
    return screened


def not_understood(generator: Generator, plan: Plan) -> Counter[str]:
    """What single stacks are known by and the generator makes nothing of, since it is not told of it or nobody's data
    taught it the value; by reason, of how many pairs."""
    counts = Counter[str]()
    for pair in plan.pairs:
        known = plan.order.of_stack.get(pair.stack.name, {})
        if untold := [name for name in known if name not in generator.config.conditions]:
            counts[f"drawn without their {', '.join(untold)}, of which this generator is not told"] += 1
        for name, value in known.items():
            if isinstance(CONDITIONS[name], Categorical) and name not in untold:
                unlearnt = not has_learnt(generator, name, str(value))
                counts[f"drawn as of unknown {name}, since this generator never learnt {value}"] += unlearnt
    return +counts


def _drawn(generator: Generator, asked: Slices, sampling: SamplingConfig, name: str, number: int) -> Slices:
    return synthesise(generator, asked, sampling, _seed(f"{name}/{number}" if number else name))


def _screened(screen: Screen, draw: Draw, counted: Counter[str]) -> Float32[np.ndarray, "kept size size"] | None:
    """The images of a stack; None where too little of its mask is found in them."""
    found = screen(draw)
    counted[DRAWN_AGAIN] += found.drawn_again
    passed = found.mean_dice >= screen.config.dice
    counted[LEFT_OUT] += not passed
    return found.images if passed else None


DRAWN_AGAIN = "slices drawn again by screening"
LEFT_OUT = "pairs left out by screening, in whose images their masks are not found"


@contextmanager
def masks_of_nobody(hearts: int, seed: int, phases: Sequence[str], bar: ProgressBar) -> Iterator[dict[str, Path]]:
    """Folders of masks of hearts on demand, one for each phase, for as long as they are needed: what is drawn for them
    may be given away wherever the generator may."""
    with tempfile.TemporaryDirectory(prefix="cmrfed-masks-") as root:
        folders = {phase: Path(root) / phase for phase in phases}
        for folder in folders.values():
            folder.mkdir()
        drawn = map_in_order(partial(whole_heart, voxels=VoxelsConfig(), seed=seed), list(enumerate(everybody(hearts))))
        with bar("drawing hearts") as progress:
            for number, (heart, _) in enumerate(counted(drawn, hearts, progress)):
                for phase, folder in folders.items():
                    path = folder / f"heart{number:04d}_{phase}.nii.gz"
                    write_volume(path, heart.masks[phase], heart.spacing_mm)
        yield folders


def _mask_files(order: Order, not_drawn: Counter[str]) -> list[Path]:
    """Masks in the folder and its subfolders; where some are named NAME_gt, the images beside them are left alone."""
    paths = [path for path in sorted(order.masks.rglob("*")) if path.name.endswith(SUFFIXES) and path.name[0] != "."]
    if not paths:
        raise UserError(f"{order.masks}: holds no .nii or .nii.gz masks; give a folder of short-axis label maps")
    named = {path.parent for path in paths if _stem(path).endswith("_gt")}
    images = {
        path
        for path in paths
        if path.parent in named and not _stem(path).endswith("_gt") and not _is_label_map(path, order.table)
    }
    not_drawn["images beside masks that are named NAME_gt"] = len(images)
    return [path for path in paths if path not in images]


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".nii")


def _name(masks: Path, path: Path, frame: int | None) -> str:
    stem = _stem(path).removesuffix("_gt") + ("" if frame is None else f"_frame{frame:02d}")
    return (path.parent.relative_to(masks) / stem).as_posix()


def _is_label_map(path: Path, table: Mapping[int, int]) -> bool:
    """Whether the file, or its first frame, holds labels of the table and nothing else, as no image does."""
    found = np.unique(next(open_cine(path).read_all()))
    return bool(np.allclose(found, np.rint(found), rtol=0, atol=1e-3) and np.isin(np.rint(found), list(table)).all())


def _frames(
    path: Path, order: Order, not_drawn: Counter[str]
) -> Iterator[tuple[int | None, VolumeMask, tuple[float, float, float]]]:
    """The frames to draw for, None for the only one."""
    frames = open_cine(path).frames or 1
    asked = order.frames if frames > 1 else (0,)
    if asked and max(asked) >= frames:
        raise UserError(f"frames: {path} holds frames 0 to {frames - 1}, found {max(asked)}")
    left_out = "frames that were not asked for" if asked else "frames without labels"
    chosen = 0
    for number in range(frames):
        mask, spacing_mm = read_mask(path, order.table, number if frames > 1 else None)
        if number in asked if asked else np.isin(mask, STRUCTURES).any():
            chosen += 1
            yield number if frames > 1 else None, mask, spacing_mm
        else:
            not_drawn[left_out] += 1
    if not chosen:
        raise UserError(f"{path}: no frame shows a structure; remove the file or restore its segmentation")


def _refuse_contradiction(path: Path, mask: VolumeMask, labels: str) -> None:
    """Raise UserError when myocardium does not ring what the table calls the LV, or rings what it calls the RV."""
    parts = enclosed(mask)
    if not contradict_anatomy(parts):
        return
    said = " and ".join(f"{part:.0%} of the {name.name}'s edge" for name, part in parts.items() if part is not None)
    fitting = _fitting(mask, labels)
    advice = f"labels={fitting} fits" if fitting else "correct the segmentation"
    raise UserError(f"{path}: by labels={labels} myocardium encloses {said}, but it rings the LV alone; {advice}")


def _fitting(mask: VolumeMask, labels: str) -> str | None:
    """The table by which the same numbers make a heart."""
    numbers = {label: number for number, label in LABEL_TABLES[labels].items()}
    for name, table in LABEL_TABLES.items():
        others = [table.get(numbers.get(label, -1)) for label in range(UNLABELLED + 1)]
        if all(others[label] is not None for label in np.unique(mask)):
            read = np.array([0 if other is None else other for other in others], np.uint8)[mask]
            if not contradict_anatomy(enclosed(read)):
                return name
    return None


def _count(
    not_drawn: Counter[str], mask: VolumeMask, prepared: PreparedMask, preprocessing: PreprocessingConfig
) -> None:
    """Add up the slices of a stack that are not drawn, and those that are drawn in part."""
    heart = np.isin(mask, STRUCTURES)
    shown, seen = heart.any(axis=(1, 2)), (heart & prepared.grid.seen).any(axis=(1, 2))
    width = f"{preprocessing.field_of_view_mm:g} mm around the heart"
    small = "slices whose labels fill no pixel of the generator's grid"
    if preprocessing.central_slices:
        small += f", or beyond the {preprocessing.central_slices} central ones that it knows"
    not_drawn["slices without labels"] += int(np.sum(~shown))
    not_drawn[f"slices whose labels lie outside the {width}"] += int(np.sum(shown & ~seen))
    not_drawn[small] += int(np.sum(seen & ~prepared.kept))
    cut = (heart & ~prepared.grid.seen).any(axis=(1, 2)) & prepared.kept
    not_drawn[f"labelled parts of slices beyond the {width}"] += int(np.sum(cut))


def _refuse_among_masks(order: Order) -> None:
    masks, out = order.masks.resolve(), order.out.resolve()
    if out == masks or masks in out.parents:
        raise UserError(f"out: {out} lies among the masks in {masks}, which are never written over; choose another")


def _refuse_collisions(pairs: list[Pair]) -> None:
    """Raise UserError when two would be one file."""
    writes: dict[Path, Path] = {}
    for pair in pairs:
        for path in (pair.image, pair.mask):
            if path in writes:
                both = f"{writes[path]} and {pair.stack.path}"
                raise UserError(f"{both}: both would be written to {path}; rename one of them")
            writes[path] = pair.stack.path


def _seed(name: str) -> int:
    """An image depends on the seed and its mask's name, not on which other masks are there."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:7])


def _write(
    pair: Pair, mask: VolumeMask, prepared: PreparedMask, images: Float32[np.ndarray, "kept size size"], grid: str
) -> None:
    """The mask last: an image without one is seen to be unfinished."""
    with writing(pair.image.parent):
        if grid == "model":
            write_volume(pair.image, images, prepared.spacing_mm, _AUTHOR)
            write_volume(pair.mask, prepared.masks, prepared.spacing_mm, _AUTHOR)
            return
        whole = np.zeros(mask.shape, np.float32)
        whole[prepared.kept] = prepared.grid.back(images).clip(0, 1)
        write_on_grid_of(pair.image, whole, pair.stack.path, _AUTHOR)
        write_on_grid_of(pair.mask, mask, pair.stack.path, _AUTHOR)
