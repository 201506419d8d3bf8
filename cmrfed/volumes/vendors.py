"""Vendors by any of their names, as tables and DICOM headers write them."""

import re

from cmrfed.conditions import UNKNOWN, VENDORS
from cmrfed.config import UserError

_OTHERS = (
    "uih", "united imaging", "shanghai united imaging", "hitachi", "fujifilm", "hyperfine", "esaote", "neusoft",
    "alltech", "xingaoyi", "anke", "shenzhen anke", "wandong", "beijing wandong", "time medical", "basda", "marconi",
    "picker", "elscint", "fonar", "paramed", "bruker", "agilent", "varian", "imris", "viewray", "promaxo", "other",
)  # fmt: skip
VENDOR_WORDS = {
    "siemens": "Siemens",
    "philips": "Philips",
    "general electric": "GE",
    "ge": "GE",
    "gems": "GE",
    "canon": "Canon",
    "toshiba": "Canon",
    **dict.fromkeys((UNKNOWN, *_OTHERS), UNKNOWN),
}
"""How a vendor's name begins in tables and DICOM headers -> its canonical name. Makers that the generator has no style
of are unknown; any other name is refused, since a misspelt vendor would be lost among them."""


def canonical_vendor(name: str, where: object) -> str:
    """The vendor's name as in `cmrfed.shapes.VENDORS`. Raises UserError, naming `where`, when it is no maker's."""
    words = re.sub(r"[\W_]+", " ", name.lower()).strip() + " "
    for beginning, vendor in VENDOR_WORDS.items():
        if words.startswith(f"{beginning} "):
            return vendor
    raise UserError(f"{where}: vendor is {name!r}; allowed are {', '.join(VENDORS)}")
