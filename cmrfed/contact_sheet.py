"""A contact sheet: patients drawn at random from every site, as stored and as training will see them, masks outlined.

It shows patients. It is drawn for the eyes of the hospital whose patients they are, says so in its footer, and goes to
one file that only its owner may read.
"""

import io
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image, UnidentifiedImageError

from cmrfed.conditions import UNKNOWN
from cmrfed.config import PreprocessingConfig, UserError
from cmrfed.core import atomic
from cmrfed.core.progress import Progress
from cmrfed.outputs import output_file, writing
from cmrfed.preprocessing import centre_of_mask, kept_slices, prepare
from cmrfed.preprocessing.grid import Grid
from cmrfed.shapes import COLOURS, STRUCTURES, Label
from cmrfed.volumes import Case, Entry, load_case

SiteKey = tuple[str, str, str]
"""Data set, vendor, centre."""
FOOTER = "Shows patients. Made for this hospital's own eyes: must not leave the hospital."
FOOTER_OF_PHANTOM = "The built-in phantom: shows no patient."
SOFTWARE = "cmrfed data preview"
"""Written into the file, so that a later preview knows it may replace it."""
POSITIONS: dict[int, dict[str, float]] = {
    1: {"mid": 0.5},
    2: {"basal": 0.2, "apical": 0.8},
    3: {"basal": 0.15, "mid": 0.5, "apical": 0.85},
}
"""Number of slices -> their names and where they are along the heart, 0 base to 1 apex."""

_PANEL_INCH, _GAP_INCH, _CAPTION_INCH, _TITLE_INCH, _NAME_INCH, _MARGIN_INCH = 1.55, 0.05, 0.17, 0.22, 0.16, 0.45
_DOTS_PER_INCH = 130
_TEXT, _FAINT = "#e8e8e8", "#a0a0a0"


@dataclass(frozen=True)
class Panel:
    """One slice with its mask. pixel_mm: (row, column). window: intensities that become black and white."""

    image: Float32[np.ndarray, "row column"]
    mask: UInt8[np.ndarray, "row column"]
    pixel_mm: tuple[float, float]
    window: tuple[float, float]
    caption: str
    smooth: bool


@dataclass(frozen=True)
class Column:
    """One patient at one phase, panels from top to bottom; what is None could not be made."""

    panels: tuple[Panel | None, ...]
    head: str
    error: str | None = None


@dataclass(frozen=True)
class Block:
    """One site: a title, the names of its lines, and patients side by side, each with a column a phase."""

    title: str
    lines: tuple[str, ...]
    patients: tuple[tuple[Column, ...], ...]


def draw_patients(patients: Iterable[list[Entry]], number: int, seed: int) -> dict[SiteKey, list[list[Entry]]]:
    """Up to `number` of each site's patients, each with the entries of all phases; decided by the seed."""
    sites: defaultdict[SiteKey, dict[str, list[Entry]]] = defaultdict(dict)
    for own in patients:
        sites[own[0].dataset, own[0].vendor, own[0].centre][own[0].patient] = own
    rngs = ((site, np.random.default_rng(seed)) for site in sorted(sites))
    return {
        site: [sites[site][str(name)] for name in rng.permutation(sorted(sites[site]))[:number]] for site, rng in rngs
    }


def make_blocks(
    drawn: Mapping[SiteKey, list[list[Entry]]],
    slices: int,
    prepared: PreprocessingConfig | None,
    names: bool = False,
    progress: Progress | None = None,
) -> list[Block]:
    """Read the drawn patients one after the other. `prepared`: None leaves out what training will see.

    A patient who cannot be used leaves empty panels, with the reason in `Column.error`.
    """
    total, done = sum(map(len, drawn.values())), 0
    blocks = []
    for site, patients in drawn.items():
        columns = []
        for entries in patients:
            columns.append(_columns(entries, slices, prepared, names))
            done += 1
            if progress:
                progress(done, total)
        kinds = ("as stored", f"prepared, {prepared.size} px") if prepared else ("as stored",)
        lines = tuple(f"{position}, {kind}" for position in POSITIONS[slices] for kind in kinds)
        blocks.append(Block(_title(*site), lines, tuple(columns)))
    return blocks


def _title(dataset: str, vendor: str, centre: str) -> str:
    return f"{dataset}, {'vendor unknown' if vendor == UNKNOWN else vendor}" + (
        "" if centre == UNKNOWN else f", centre {centre}"
    )


def _columns(
    entries: list[Entry], slices: int, prepared: PreprocessingConfig | None, names: bool
) -> tuple[Column, ...]:
    """A patient's columns, ED first; both show the same slices where they can."""
    config = prepared or PreprocessingConfig()
    head = entries[0].patient if names else ""
    try:
        cases = [load_case(entry) for entry in entries]
        kept = [_kept(case, config) for case in cases]
    except UserError as error:
        empty = (None,) * len(POSITIONS[slices]) * (2 if prepared else 1)
        return (Column(empty, head, str(error)),)
    if entries[0].vendor == UNKNOWN != cases[0].vendor:  # the file tells it
        head = f"{head}  {cases[0].vendor}".strip()
    common = sorted(set(kept[0]).intersection(*kept[1:]))
    return tuple(
        _column(case, own, common or own, slices, prepared, head if case is cases[0] else "")
        for case, own in zip(cases, kept, strict=True)
    )


def _column(
    case: Case, kept: list[int], common: list[int], slices: int, prepared: PreprocessingConfig | None, head: str
) -> Column:
    try:
        crop, error = prepare(case, prepared) if prepared else None, None
    except UserError as failure:
        crop, error = None, str(failure)
    panels: list[Panel | None] = []
    for index in choose_slices(case, common, slices):
        panels.append(_panel(case, index, smooth=True))
        if prepared:
            panels.append(_panel(crop, kept.index(index), smooth=False) if crop else None)
    return Column(tuple(panels), head, error)


def _kept(case: Case, config: PreprocessingConfig) -> list[int]:
    """Which slices training keeps."""
    labelled = np.isin(case.mask, STRUCTURES).any()
    rows, columns = case.image.shape[1:]
    centre = centre_of_mask(case.mask) if labelled else ((rows - 1) / 2, (columns - 1) / 2)
    mask = Grid.around(centre, (rows, columns), case.spacing_mm, config).majority(case.mask)
    return np.flatnonzero(kept_slices(mask, config, f"{case.patient} {case.phase}")).tolist()


def choose_slices(case: Case, among: Sequence[int], slices: int) -> list[int]:
    """That many of these slices, base first: scanners store stacks either way round, and the heart is wider there."""
    areas = np.isin(case.mask[list(among)], STRUCTURES).sum(axis=(1, 2))
    half = len(among) // 2
    base_first = list(among)[::-1] if areas[:half].sum() < areas[len(areas) - half :].sum() else list(among)
    return [base_first[round(place * (len(among) - 1))] for place in POSITIONS[slices].values()]


def _panel(case: Case, index: int, smooth: bool) -> Panel:
    """`smooth` for stored images, windowed as on a console; prepared ones show their pixels, from -1 to 1."""
    low, high = np.percentile(case.image, [1, 99]) if smooth else (-1.0, 1.0)
    slice_mm, row_mm, column_mm = case.spacing_mm
    caption = f"{case.phase}   {row_mm:.3g} x {column_mm:.3g} x {slice_mm:.3g} mm"
    return Panel(case.image[index], case.mask[index], (row_mm, column_mm), (float(low), float(high)), caption, smooth)


def write_sheet(path: Path, blocks: Sequence[Block]) -> int:
    """Draw the blocks below each other into a PNG that only its owner may read. Returns how many panels it shows.

    Raises UserError when something else is there already, or nothing can be written there.
    """
    path = output_file(path, (".png",), is_sheet)
    figure, panels = _draw(blocks)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DOTS_PER_INCH, metadata={"Software": SOFTWARE})
    with writing(path):
        atomic.write_bytes(path, buffer.getvalue(), mode=atomic.PRIVATE)
    return panels


def is_sheet(path: Path) -> bool:
    """Whether the file is a preview of ours."""
    try:
        with Image.open(path) as image:
            return bool(image.info.get("Software") == SOFTWARE)
    except (OSError, UnidentifiedImageError, ValueError):
        return False


def _draw(blocks: Sequence[Block]) -> tuple[Figure, int]:
    """Everything is placed in inches from the top left corner."""
    widest = max(sum(len(patient) for patient in block.patients) + 0.15 * len(block.patients) for block in blocks)
    width = 2 * _MARGIN_INCH + widest * (_PANEL_INCH + _GAP_INCH)
    height = 2 * _MARGIN_INCH + sum(map(_height, blocks))
    figure = Figure(figsize=(width, height), facecolor="black")
    page = _Page(figure, width, height)
    top, panels = _MARGIN_INCH, 0
    page.write(_MARGIN_INCH, 0.2, "cmrfed data preview; bars are 5 cm", size=9.0)
    for number, structure in enumerate(STRUCTURES):
        page.write(
            width - _MARGIN_INCH - 0.45 * (len(STRUCTURES) - number), 0.2, structure.name, COLOURS[structure], 9.0
        )
    for block in blocks:
        panels += _draw_block(page, block, top)
        top += _height(block)
    phantom = all(block.title.startswith("phantom") for block in blocks)
    page.write(
        _MARGIN_INCH, height - 0.2, FOOTER_OF_PHANTOM if phantom else FOOTER, _TEXT if phantom else "#ffb000", 9.0
    )
    return figure, panels


def _height(block: Block) -> float:
    return _head(block) + len(block.lines) * (_PANEL_INCH + _CAPTION_INCH) + 0.1


def _head(block: Block) -> float:
    named = any(column.head for patient in block.patients for column in patient)
    return _TITLE_INCH + (_NAME_INCH if named else 0)


def _draw_block(page: "_Page", block: Block, top: float) -> int:
    """Returns how many panels were drawn."""
    page.write(_MARGIN_INCH, top + 0.12, block.title, size=9.0)
    panels, step, first = 0, _PANEL_INCH + _CAPTION_INCH, top + _head(block)
    for line, name in enumerate(block.lines):
        middle = first + line * step + _CAPTION_INCH + _PANEL_INCH / 2
        page.write(_MARGIN_INCH / 2, middle, name, _FAINT, rotation=90.0)
    left = _MARGIN_INCH
    for patient in block.patients:
        for column in patient:
            page.write(left, first - 0.06, column.head, _FAINT)
            for line, panel in enumerate(column.panels):
                y = first + line * step
                if panel is None:
                    page.write(left + 0.1, y + step / 2, "cannot be used", _FAINT)
                    continue
                page.write(left, y + _CAPTION_INCH / 2 + 0.02, panel.caption)
                _show(page.axes(left, y + _CAPTION_INCH), panel)
                panels += 1
            left += _PANEL_INCH + _GAP_INCH
        left += 0.15 * (_PANEL_INCH + _GAP_INCH)
    return panels


@dataclass(frozen=True)
class _Page:
    figure: Figure
    width: float
    height: float

    def axes(self, left: float, top: float) -> Axes:
        size = (_PANEL_INCH / self.width, _PANEL_INCH / self.height)
        return self.figure.add_axes((left / self.width, 1 - (top + _PANEL_INCH) / self.height, *size))

    def write(self, x: float, y: float, text: str, colour: str = _TEXT, size: float = 6.5, rotation: float = 0) -> None:
        aligned = "center" if rotation else "left"
        text = text.replace("$", r"\$")  # matplotlib would set mathematics
        self.figure.text(
            x / self.width,
            1 - y / self.height,
            text,
            color=colour,
            size=size,
            rotation=rotation,
            ha=aligned,
            va="center",
        )


def _show(axes: Axes, panel: Panel) -> None:
    """The slice in a square, its pixels in proportion, with thin outlines."""
    row_mm, column_mm = panel.pixel_mm
    low, high = panel.window
    axes.imshow(
        panel.image,
        cmap="gray",
        vmin=low,
        vmax=max(high, low + 1e-6),
        aspect=row_mm / column_mm,
        interpolation="bilinear" if panel.smooth else "nearest",
    )
    for structure in (Label.MYO, Label.RV, Label.LV):  # the LV's edge lies on the myocardium's inner one: last, on top
        drawn = (panel.mask == structure).astype(np.float32)
        if drawn.any():
            axes.contour(drawn, [0.5], colors=COLOURS[structure], linewidths=0.7)
    bottom, length = panel.image.shape[0] * 0.95, 50 / column_mm
    left = panel.image.shape[1] * 0.04
    axes.plot([left, left + length], [bottom, bottom], color=_TEXT, linewidth=1.2)
    axes.set_axis_off()


def errors_in(blocks: Iterable[Block]) -> Iterator[str]:
    """Why panels are missing, each reason once."""
    yield from dict.fromkeys(
        column.error for block in blocks for patient in block.patients for column in patient if column.error
    )
