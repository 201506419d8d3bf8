"""Items -> one offline HTML page, and its key beside it."""

import secrets
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from cmrfed.core import atomic
from cmrfed.outputs import new_folder, private_folder, writing
from cmrfed.pictures import image_uri
from cmrfed.reader_study.items import Item, StudyKey

_README = """# A reader study of synthetic cardiac MRI

| file | what it is | who may have it |
| --- | --- | --- |
| reader_study.html | the images, in random order; opens offline in any browser | readers who may see patients' images |
| key.json | which images are synthetic | nobody who still reads |

**reader_study.html holds images of patients.** Treat it as patient data. A reader opens it, says for each image whether
it is real or synthetic and how sure that is, and saves a file answers-NAME.json; it can be left and gone on with in the
same browser. Then:

    cmrfed reader-study score key=key.json answers=answers-A.json,answers-B.json
"""


def write_study(items: list[Item], out: Path, run: str, arm: str) -> Path:
    """Write the page, the key and a README into the new folder `out`; returns the page's path.

    Only its owner may enter the folder. Raises UserError when it is not empty: a study's key must not be replaced.
    """
    out, study = new_folder(out), secrets.token_hex(6)
    page = out / "reader_study.html"
    with writing(out):
        private_folder(out)
        atomic.write_text(out / "key.json", StudyKey.of(items, study, run, arm).model_dump_json(indent=2))
        atomic.write_text(out / "README.md", _README)
        atomic.write_text(page, render(items, study))
    return page


def render(items: list[Item], study: str) -> str:
    """The page. Of an item it knows the name and the pixels, and not what it is."""
    templates = Environment(loader=PackageLoader("cmrfed.reader_study"), autoescape=True, undefined=StrictUndefined)
    shown = [{"name": item.name, "uri": image_uri(item.image)} for item in items]
    return templates.get_template("reader_study.html.jinja").render(items=shown, study=study)
