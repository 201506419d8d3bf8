"""A folder of hearts: a mask for each phase, a table of what each was asked and measures, and a picture."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.random import default_rng

from cmrfed.anatomy.measures import measure
from cmrfed.anatomy.parametric import PHASES, HeartMasks, draw_heart
from cmrfed.anatomy.topology import cropped, violations
from cmrfed.config import HeartConfig, Stage, UserError, VoxelsConfig, read_stage
from cmrfed.core import atomic
from cmrfed.core.progress import Progress, counted
from cmrfed.outputs import refuse_in_the_way, writing
from cmrfed.parallel import map_in_order
from cmrfed.pictures import panels
from cmrfed.shapes import VolumeMask
from cmrfed.volumes import is_written_by, read_mask, write_volume

TABLE, PICTURE = "hearts.csv", "hearts.png"
_AUTHOR = "cmrfed anatomy"
"""Signed into every mask's header, so that what is ours is known again."""
_TRIES = 8
_WALL_MM = 1.0
"""How far the thickest segment may be from what is asked."""
_SHOWN, _COLUMNS = 10, 8
_TOLD_AS = {"ASD": "CIA", "TOF": "FALL"}
"""By the names that M&Ms-2 has for it, of which `cmrfed.conditions` has its own."""
_BODY = ("age", "height_cm", "weight_kg")
_ASKED = tuple(
    name for name in HeartConfig.model_fields if name not in ("pathology", "severity", "sex", "body_surface_m2", *_BODY)
)


class HeartRow(Stage):
    """A line of hearts.csv: what the masks measure, named as in `HeartConfig`; and what was asked, after `asked_`."""

    name: str
    pathology: str
    severity: float
    sex: Literal["F", "M"]
    age: float | None
    height_cm: float | None
    weight_kg: float | None
    body_surface_m2: float | None
    bmi: float | None
    edv_ml: float
    esv_ml: float
    ef: float
    rv_edv_ml: float
    rv_esv_ml: float
    mass_g: float
    wall_mm: float
    asked_edv_ml: float | None
    asked_esv_ml: float | None
    asked_ef: float | None
    asked_rv_edv_ml: float | None
    asked_wall_mm: float | None
    asked_mass_g: float | None
    tries: int

    def conditions(self, phase: str) -> dict[str, object]:
        """What a generator may be told of the stack at this phase, by names in `cmrfed.conditions`."""
        measured = {"edv": self.edv_ml, "esv": self.esv_ml, "ejection_fraction": 100 * self.ef}
        pathology = _TOLD_AS.get(self.pathology, self.pathology)
        person = {"sex": self.sex, "age": self.age, "bmi": self.bmi}
        known = {name: value for name, value in person.items() if value is not None}
        return {"phase": phase, "severity": self.severity, "pathology": pathology, **known, **measured}


def draw_folder(
    requests: Sequence[HeartConfig], voxels: VoxelsConfig, seed: int, out: Path, progress: Progress | None = None
) -> list[HeartRow]:
    """Draw and write NAME_ED.nii.gz and NAME_ES.nii.gz for every heart, and hearts.csv, hearts.png and README.md.

    A heart is decided by the seed and its number; one that cannot be (`violations`) is drawn again. Raises UserError
    when what was asked cannot be drawn, and when a file to be written is there and is not of an earlier call.
    """
    paths = [_path(out, index, phase) for index in range(len(requests)) for phase in PHASES]
    refuse_in_the_way(paths, lambda path: is_written_by(path, _AUTHOR))
    refuse_in_the_way([out / name for name in (TABLE, PICTURE, "README.md")], lambda path: _is_ours(path.parent))
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        drawn = map_in_order(partial(_drawn, voxels=voxels, seed=seed, out=out), list(enumerate(requests)))
        rows = list(counted(drawn, len(requests), progress))
        atomic.write_text(out / TABLE, _table(rows))
        _draw_picture(rows, out)
        atomic.write_text(out / "README.md", _README.format(hearts=len(rows)))
    return rows


def read_requests(path: Path) -> list[HeartConfig]:
    """Of a table with a line for each heart, its columns named as `HeartConfig`'s fields; what is empty is not asked.

    Raises UserError naming the file, the line and the column.
    """
    try:
        table = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig")))
        lines = list(table)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"hearts: {path} cannot be read as a table ({error}); give a .csv file") from None
    if strangers := set(table.fieldnames or ()) - HeartConfig.model_fields.keys():
        known = ", ".join(HeartConfig.model_fields)
        raise UserError(f"{path}: there is no column {sorted(map(str, strangers))[0]!r}; columns are {known}")
    if not lines:
        raise UserError(f"hearts: {path} has no lines below its first; give one for each heart")
    return [
        read_stage(HeartConfig, {name: value for name, value in line.items() if value}, f"{path}: line {number}")
        for number, line in enumerate(lines, start=2)
    ]


def read_rows(folder: Path) -> list[HeartRow]:
    """The table that `draw_folder` wrote. Raises UserError where there is none."""
    path = folder / TABLE
    if not path.exists():
        raise UserError(f"anatomy: {folder} holds no {TABLE}; give a folder that `cmrfed anatomy` wrote")
    lines = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8")))
    return [
        read_stage(HeartRow, {name: value or None for name, value in line.items()}, f"{path}: line {number}")
        for number, line in enumerate(lines, start=2)
    ]


def conditions_by_stack(rows: Sequence[HeartRow]) -> dict[str, Mapping[str, object]]:
    """What a generator may be told of each mask, by its name without suffixes."""
    return {f"{row.name}_{phase}": row.conditions(phase) for row in rows for phase in PHASES}


def _name(index: int) -> str:
    return f"heart{index:05d}"


def _path(out: Path, index: int, phase: str) -> Path:
    return out / f"{_name(index)}_{phase}.nii.gz"


def _drawn(numbered: tuple[int, HeartConfig], voxels: VoxelsConfig, seed: int, out: Path) -> HeartRow:
    heart, row = whole_heart(numbered, voxels, seed)
    for phase in PHASES:
        write_volume(_path(out, numbered[0], phase), heart.masks[phase], heart.spacing_mm, _AUTHOR)
    return row


def whole_heart(numbered: tuple[int, HeartConfig], voxels: VoxelsConfig, seed: int) -> tuple[HeartMasks, HeartRow]:
    """The heart of that number, drawn until nothing is wrong with it. Raises UserError where that never comes."""
    index, asked = numbered
    found: list[str] = []
    for number in range(1, _TRIES + 1):
        heart = draw_heart(asked, voxels, default_rng([seed, index, number]))
        measured = measure(heart.masks, heart.spacing_mm)
        found = violations(heart.masks) + list(_missed(asked, measured))
        if not found:
            return heart, _row(index, asked, heart, measured, number)
    raise UserError(
        f"{_name(index)}: no heart is like this ({found[0]}, the last of {_TRIES} that were drawn); ask for less of it"
    )


def _missed(asked: HeartConfig, measured: Mapping[str, float]) -> Iterator[str]:
    if asked.wall_mm is not None and not abs(measured["wall_mm"] - asked.wall_mm) <= _WALL_MM:
        yield f"wall_mm: {measured['wall_mm']:.1f} where {asked.wall_mm:g} was asked"


def _row(index: int, asked: HeartConfig, heart: HeartMasks, measured: Mapping[str, float], tries: int) -> HeartRow:
    physiology = heart.physiology
    return HeartRow(
        name=_name(index),
        pathology=physiology.pathology,
        severity=round(physiology.severity, 4),
        sex=physiology.sex,
        body_surface_m2=asked.surface_m2 and round(asked.surface_m2, 4),
        bmi=asked.bmi and round(asked.bmi, 4),
        tries=tries,
        **{name: getattr(asked, name) for name in _BODY},
        **{name: round(value, 4) for name, value in measured.items()},
        **{f"asked_{name}": getattr(asked, name) for name in _ASKED},
    )


def _is_ours(folder: Path) -> bool:
    """Whether its table is one that was written here."""
    path = folder / TABLE
    return path.is_file() and path.read_bytes().startswith(_table([]).encode())


def _table(rows: Sequence[HeartRow]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(HeartRow.model_fields), lineterminator="\n")
    writer.writeheader()
    writer.writerows(row.model_dump() for row in rows)
    return text.getvalue()


def _draw_picture(rows: Sequence[HeartRow], out: Path) -> None:
    """Some of the hearts, evenly from first to last, both phases from base to apex."""
    chosen = sorted({round(place) for place in np.linspace(0, len(rows) - 1, min(_SHOWN, len(rows)))})
    strips: dict[str, np.ndarray] = {}
    for index in chosen:
        masks = [read_mask(_path(out, index, phase), {label: label for label in range(4)})[0] for phase in PHASES]
        row = rows[index]
        for phase, strip in zip(PHASES, _strips(masks), strict=True):
            strips[f"{row.name} {phase}\n{row.pathology} {row.severity:.2f}"] = strip
    with atomic.replacing(out / PICTURE) as draft:
        panels(strips).savefig(draft, format="png", dpi=110)


def _strips(masks: Sequence[VolumeMask]) -> list[np.ndarray]:
    """As many slices of each phase, all of one size and at the same places."""
    both: np.ndarray = cropped(np.concatenate(masks))
    side = max(both.shape[1:])
    pad = [(0, 0), *(((side - length) // 2, side - length - (side - length) // 2) for length in both.shape[1:])]
    whole = np.pad(both, pad)
    levels = np.linspace(0, len(masks[0]) - 1, _COLUMNS).round().astype(int)
    return [whole[levels], whole[len(masks[0]) + levels]]


_README = """# {hearts} hearts, without images

Drawn by `cmrfed anatomy` from the built-in phantom's parametric ventricles: nobody's, so that what is drawn for them
may go wherever the generator may.

- `NAME_ED.nii.gz`, `NAME_ES.nii.gz`: masks at end diastole and end systole, slices from base to apex; 1 left
  ventricle, 2 its wall, 3 right ventricle
- `hearts.csv`: what each heart is, in which body where that was asked for, what else was asked (`asked_...`), and
  what it measures by Simpson's rule
- `hearts.png`: some of them

`cmrfed generate anatomy=THIS_FOLDER out=...` draws images for them, by any generator and of any vendor.
"""
