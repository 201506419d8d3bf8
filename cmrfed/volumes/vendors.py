"""Vendors by any of their names, as tables and DICOM headers write them."""

import re

from cmrfed.config import UserError
from cmrfed.shapes import UNKNOWN, VENDORS

VENDOR_WORDS = {
    "siemens": "Siemens",
    "philips": "Philips",
    "general electric": "GE",
    "ge": "GE",
    "canon": "Canon",
    "toshiba": "Canon",
    UNKNOWN: UNKNOWN,
}
"""How a vendor's name begins in tables and DICOM headers -> its canonical name. Unknown is said, never assumed."""


def canonical_vendor(name: str, where: object) -> str:
    """The vendor's name as in `cmrfed.shapes.VENDORS`. Raises UserError, naming `where`, when it is none of them."""
    words = re.sub(r"[\W_]+", " ", name.lower()).strip() + " "
    for beginning, vendor in VENDOR_WORDS.items():
        if words.startswith(f"{beginning} "):
            return vendor
    raise UserError(f"{where}: vendor is {name!r}; allowed are {', '.join(VENDORS)}")
