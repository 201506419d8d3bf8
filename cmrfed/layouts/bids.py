"""A data set named as BIDS names derivatives (Gorgolewski et al., Scientific Data 2016; specification 1.10):
sub-HEART/anat/sub-HEART_acq-VENDOR_desc-MOMENT_cine.nii.gz, its mask as _dseg, and a JSON file beside each.

BIDS knows no heart: `cine` is none of its suffixes, and .bidsignore says so to its validator. Everything else, names,
entities, dataset_description.json, participants.tsv and the table of labels dseg.tsv, is as it asks.
"""

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cmrfed import __version__
from cmrfed.conditions import CONDITIONS, UNLABELLED, Categorical, Scalar
from cmrfed.core import atomic
from cmrfed.layouts.contract import AUTHOR, Asked, Files, Layout, Provenance, Synthetic, Written, write_json
from cmrfed.shapes import COLOURS, Label

BIDS_VERSION = "1.10.0"
_MISSING = "n/a"
_OF_PERSONS = ("sex", "age", "bmi", "pathology", "severity")
"""Conditions that do not change from one moment of a heart to another."""


class Bids(Layout):
    """A participant is a heart; the vendor whose look was asked for is the entity acq, the moment of the cycle desc."""

    def files(self, out: Path, asked: Asked) -> Files:
        participant = _participant(asked)
        named = {"acq": asked.known_as("vendor"), "desc": asked.moment}
        entities = [participant, *(f"{entity}-{_label(value)}" for entity, value in named.items() if value)]
        stem = "_".join(entities)
        return Files(*(out / participant / "anat" / f"{stem}_{suffix}.nii.gz" for suffix in ("cine", "dseg")))

    def write(self, files: Files, pair: Synthetic, asked: Asked, made_by: Provenance) -> None:
        told = {"Description": made_by.sentence, "AskedFor": dict(asked.known), "Mask": asked.name}
        image = f"bids::{_participant(asked)}/anat/{files.image.name}"
        write_json(_beside(files.image), made_by.facts | told | {"Units": "arbitrary", "BodyPart": "HEART"})
        write_json(_beside(files.mask), made_by.mask_facts | told | {"SpatialReference": image})
        super().write(files, pair, asked, made_by)

    def describe(self, out: Path, written: Sequence[Written], made_by: Provenance) -> None:
        atomic.write_text(out / ".bidsignore", "*_cine.*\n")
        atomic.write_text(out / "dseg.tsv", _table(("index", "name", "color"), _labels()))
        persons = {_participant(one.asked): one.asked for one in reversed(written)}
        columns = {"participant_id": {"Description": "the heart's number"}, **_columns(persons.values())}
        rows = [{"participant_id": name, **_row(persons[name])} for name in sorted(persons)]
        atomic.write_text(out / "participants.tsv", _table(columns, rows))
        write_json(out / "participants.json", columns)
        told = {"pairs": len(written), "hearts": len(persons), "made_by": made_by.sentence}
        atomic.write_text(out / "README.md", _README.format(**told))
        write_json(out / "dataset_description.json", _description(made_by))


def _participant(asked: Asked) -> str:
    return f"sub-{_label(asked.heart)}"


def _label(name: str) -> str:
    """Letters and digits alone, as BIDS has them."""
    return re.sub(r"[^A-Za-z0-9]", "", name)


def _beside(path: Path) -> Path:
    return path.with_name(path.name.replace(".nii.gz", ".json"))


def _description(made_by: Provenance) -> dict[str, Any]:
    tool = {"Name": AUTHOR, "Version": __version__, "Description": made_by.sentence}
    return {
        "Name": "Synthetic short-axis cardiac MRI",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [tool | made_by.facts],
    }


def _labels() -> list[dict[str, object]]:
    """The rows of dseg.tsv, the table of labels that BIDS asks for beside a segmentation."""
    rows: list[dict[str, object]] = [
        {"index": label.value, "name": label.name, "color": COLOURS.get(label, "#000000")} for label in Label
    ]
    return [*rows, {"index": UNLABELLED, "name": "unlabelled", "color": "#FFFFFF"}]


def _columns(persons: Iterable[Asked]) -> dict[str, dict[str, Any]]:
    """What participants.json says of the columns besides the first; those alone of which something is known."""
    known = {name for asked in persons for name in asked.known}
    found: dict[str, dict[str, Any]] = {"mask": {"Description": "name of the heart's masks in the folder of masks"}}
    for name in _OF_PERSONS:
        condition = CONDITIONS[name]
        if name in known:
            found[name] = {"Description": f"asked for: {condition.meaning}"}
            if isinstance(condition, Categorical):
                found[name]["Levels"] = dict.fromkeys(condition.values[:-1], "as in cmrfed.conditions")
            if isinstance(condition, Scalar):
                found[name]["Units"] = condition.unit
    return found


def _row(asked: Asked) -> dict[str, str]:
    return {"mask": asked.heart, **{name: asked.known_as(name) or _MISSING for name in _OF_PERSONS}}


def _table(columns: Iterable[str], rows: Iterable[Mapping[str, object]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(columns), delimiter="\t", lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


_README = """# {pairs} synthetic cardiac MR stacks of {hearts} hearts, named as in BIDS

{made_by}

- `sub-HEART/anat/..._cine.nii.gz`: an image from 0 to 1; `..._dseg.nii.gz`: its mask, with the labels of `dseg.tsv`
- `acq-`: the vendor whose look was asked for; `desc-`: the moment of the cardiac cycle
- the `.json` beside each: what it was asked to be, and which generator drew it
- `participants.tsv`: what the hearts were asked to be

BIDS names no suffix for the heart; `.bidsignore` tells its validator to pass over `cine`.
"""
