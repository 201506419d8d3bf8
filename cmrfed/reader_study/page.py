"""Items or hearts -> one offline HTML page, and its key beside it."""

import secrets
from pathlib import Path

import numpy as np
from jaxtyping import Float32
from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from cmrfed.config import Stage
from cmrfed.core import atomic
from cmrfed.outputs import new_folder, private_folder, writing
from cmrfed.pictures import image_uri
from cmrfed.reader_study.answers import ARTEFACTS, LONGEST_NOTE, SCALE
from cmrfed.reader_study.hearts import Heart, HeartImages
from cmrfed.reader_study.items import Item, StudyKey
from cmrfed.reader_study.plausibility import Ordering, Review

_README = """# A reader study of synthetic cardiac MRI

| file | what it is | who may have it |
| --- | --- | --- |
| {page} | {shown}; opens offline in any browser | {readers} |
| key.json | {truth} | nobody who still reads |

{care} A reader opens the page, {task}, and saves a file answers-NAME.json; it can be left and gone on with in the same
browser. Then:

    cmrfed reader-study score key=key.json answers=answers-A.json,answers-B.json
"""
_PATIENTS = "**{page} holds images of patients.** Treat it as patient data."
_NOBODY = "No patient is shown: every heart is nobody's, and was drawn by a generator."

_DISEASES = {
    "DCM": "dilated cardiomyopathy",
    "HCM": "hypertrophic cardiomyopathy",
    "MINF": "myocardial infarction",
    "RV": "overloaded right ventricle",
    "ASD": "atrial septal defect",
    "TOF": "repaired tetralogy of Fallot",
}


def write_study(items: list[Item], out: Path, run: str, arm: str) -> Path:
    """Write the page, the key and a README into the new folder `out`; returns the page's path.

    Only its owner may enter the folder. Raises UserError when it is not empty: a study's key must not be replaced.
    """
    study = secrets.token_hex(6)
    readme = _readme(
        "reader_study.html",
        shown="the images, in random order",
        truth="which images are synthetic",
        task="says for each image whether it is real or synthetic and how sure that is",
    )
    return _written(out, "reader_study.html", render(items, study), StudyKey.of(items, study, run, arm), readme)


def write_review(review: Review, out: Path) -> Path:
    """As `write_study`, of a review of plausibility."""
    readme = _readme(
        "plausibility.html",
        shown="the hearts, in random order",
        truth="which hearts are synthetic, of which disease, and how severe",
        task="rates each heart and puts those of one person in order of severity",
        patients=review.patients,
    )
    html = render_review(review.hearts, review.orderings, review.key.study, review.patients)
    return _written(out, "plausibility.html", html, review.key, readme)


def render(items: list[Item], study: str) -> str:
    """The page. Of an item it knows the name and the pixels, and not what it is."""
    shown = [{"name": item.name, "uri": image_uri(item.image)} for item in items]
    return _template("reader_study.html.jinja").render(items=shown, study=study)


def render_review(hearts: tuple[Heart, ...], orderings: tuple[Ordering, ...], study: str, patients: bool) -> str:
    """The page. Of a heart it knows the name and the pixels, and not what it is; `patients` says that some are real."""
    both = [*hearts, *(heart for ordering in orderings for heart in ordering.hearts)]
    tasks = [
        {"name": one.name, "pathology": one.pathology, "hearts": [_shown(heart) for heart in one.hearts]}
        for one in orderings
    ]
    items = {"size": both[0].images.shape[-1], "hearts": [_shown(heart) for heart in hearts], "orderings": tasks}
    return _template("plausibility.html.jinja").render(
        items=items,
        study=study,
        patients=patients,
        scale=SCALE,
        artefacts=ARTEFACTS,
        longest_note=LONGEST_NOTE,
        diseases=_DISEASES,
    )


def _shown(heart: Heart) -> dict[str, object]:
    there = ~np.isnan(heart.images).any(axis=(2, 3))
    return {"name": heart.name, "there": there.tolist(), "uri": image_uri(_sheet(heart.images))}


def _sheet(images: HeartImages) -> Float32[np.ndarray, "row column"]:
    """All slices in one picture: end diastole above end systole, from base to apex; black where there is none."""
    phases, levels, size, _ = images.shape
    filled = np.nan_to_num(images, nan=-1.0)
    return filled.transpose(0, 2, 1, 3).reshape(phases * size, levels * size)


def _template(name: str) -> Template:
    loader = PackageLoader("cmrfed.reader_study")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined).get_template(name)


def _readme(page: str, shown: str, truth: str, task: str, patients: bool = True) -> str:
    readers = "readers who may see patients' images" if patients else "any reader"
    care = _PATIENTS.format(page=page) if patients else _NOBODY
    return _README.format(page=page, shown=shown, truth=truth, task=task, readers=readers, care=care)


def _written(out: Path, name: str, html: str, key: Stage, readme: str) -> Path:
    out = new_folder(out)
    with writing(out):
        private_folder(out)
        atomic.write_text(out / "key.json", key.model_dump_json(indent=2))
        atomic.write_text(out / "README.md", readme)
        atomic.write_text(out / name, html)
    return out / name
