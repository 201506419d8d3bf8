"""A template and what it shows -> one HTML file that opens offline."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from cmrfed.core import atomic

_TEMPLATES = Environment(
    loader=PackageLoader("cmrfed.report"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def write_page(path: Path, template: str, **shown: Any) -> Path:
    """Render a template of this package into `path`, which appears whole or not at all; everything is escaped."""
    html = _TEMPLATES.get_template(template).render(shown)
    atomic.write_text(path, html)
    return path
