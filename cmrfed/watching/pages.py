"""The two pages, from their templates: a coordinator's, which can only be read, and a hospital's, which has buttons.

They look like the reports do and hold all they need; a small script loads a page again and takes over what has changed.
"""

import base64
import hashlib
import itertools
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

import cmrfed
from cmrfed import formats
from cmrfed.config import UserError
from cmrfed.door.decisions import Decisions
from cmrfed.site.pause import LONGEST_REASON
from cmrfed.watching import words
from cmrfed.watching.federation import ArmStatus, FederationStatus
from cmrfed.watching.hospital import HospitalReader
from cmrfed.watching.web import Page, Visit

_PACKAGE = Path(cmrfed.__file__).parent
_TEMPLATES = Environment(
    loader=FileSystemLoader([_PACKAGE / "watching" / "templates", _PACKAGE / "report" / "templates"]),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.filters["printable"] = words.printable
_TEMPLATES.globals.update(words=words, formats=formats)
_STYLE = "".join(_TEMPLATES.get_template(name).render() for name in ("style.css", "watching.css"))
_SCRIPT = _TEMPLATES.get_template("watching.js").render()

_ROUNDS_SHOWN = 30
_MOST_LINES = 5_000
"""Of a bundle's changes on a page; who wants to read more of them reads them in a terminal."""


def federation_page(read: Callable[[], FederationStatus]) -> Page:
    """A coordinator's view, read anew each time."""

    def shown(visit: Visit) -> str:
        found = read()
        curves = {arm.name: Curves.of(arm) for arm in found.arms}
        return _rendered("federation.html.jinja", status=found, curves=curves, shown=_ROUNDS_SHOWN)

    data = {"status.json": lambda: read().model_dump_json(indent=2)}
    return Page("the federation", {"": shown}, _failed, content_policy(), data)


def hospital_page(decisions: Decisions) -> Page:
    """A data-protection officer's view of a home, and the buttons that decide on it."""
    reader = HospitalReader(decisions.home)

    def shown(visit: Visit) -> str:
        found = reader.read(time.time())
        return _rendered("hospital.html.jinja", status=found, visit=visit, longest=LONGEST_REASON)

    def bundle(visit: Visit) -> str:
        name = visit.fields.get("name", "")
        if name not in (*decisions.bundles.approved, *decisions.bundles.waiting()):
            raise UserError("there is no such bundle here any more; go back to the list")
        lines = list(itertools.islice(decisions.bundles.changes(name), _MOST_LINES + 1))
        facts = {"bundle": name, "approved": name in decisions.bundles.approved, "home": decisions.home}
        return _rendered("bundle.html.jinja", lines=lines, most=_MOST_LINES, visit=visit, **facts)

    buttons = {
        "pause": lambda form: decisions.pause(form.get("why", "")),
        "resume": lambda form: decisions.resume(),
        "approve": lambda form: decisions.approve(_bundle(form.get("bundle", ""))),
        "withdraw": lambda form: decisions.withdraw(_bundle(form.get("bundle", ""))),
    }
    return Page("this hospital's door", {"": shown, "bundle": bundle}, _failed, content_policy(), buttons=buttons)


def _bundle(name: str) -> str:
    """A bundle's name becomes a file's."""
    if len(name) != 64 or set(name) - set("0123456789abcdef"):
        raise UserError("bundle: is not a SHA-256 in hex")
    return name


def _failed(reason: str) -> str:
    return _rendered("failed.html.jinja", reason=reason)


def _rendered(template: str, **facts: object) -> str:
    return _TEMPLATES.get_template(template).render(style=_STYLE, script=_SCRIPT, **facts)


def content_policy() -> str:
    """Nothing but the style and the script that are in every page, each known by its digest."""
    style, script = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (_STYLE, _SCRIPT))
    allowed = {
        "default-src": "'none'",
        "style-src": f"'sha256-{style}'",
        "script-src": f"'sha256-{script}'",
        "img-src": "data:",
        "connect-src": "'self'",
        "form-action": "'self'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in allowed.items())


@dataclass(frozen=True)
class Curves:
    """How the held-out loss has changed since the start, as lines of an SVG of WIDTH x HEIGHT: points by vendor; the
    changes at its lower and upper edge; and where no change is."""

    WIDTH, HEIGHT = 640, 180
    lines: dict[str, tuple[tuple[float, float], ...]]
    low: float
    high: float
    zero: float
    last_round: int

    @classmethod
    def of(cls, arm: ArmStatus) -> "Curves | None":
        """None where no round after the first that has such a loss has one."""
        changes = list(_changes(arm))
        last = max((round for _, round, _ in changes), default=0)
        if not last:
            return None
        low, high = min(change for *_, change in changes), max(change for *_, change in changes)
        scale = cls.HEIGHT / ((high - low) or 1.0)
        lines: dict[str, tuple[tuple[float, float], ...]] = {}
        for vendor, round, change in changes:
            lines[vendor] = (*lines.get(vendor, ()), (cls.WIDTH * round / last, scale * (high - change)))
        return cls(lines, low, high, scale * high, last)


def _changes(arm: ArmStatus) -> Iterator[tuple[str, int, float]]:
    """(Vendor, round, loss over the vendor's first) of each that is a number."""
    first: dict[str, float] = {}
    for one in arm.rounds:
        for vendor, loss in one.held_out_loss.items():
            if math.isfinite(loss):
                yield vendor, one.number, loss - first.setdefault(vendor, loss)
