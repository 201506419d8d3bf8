"""The Flower apps and what belongs to them: `cmrfed.apps.server`, `cmrfed.apps.client`, `cmrfed.apps.simulations`.

In a clone they stand at its top, for whoever reads them; a wheel carries them in this folder, since names such as
`server` would collide in site-packages. Either way they have one name, by which commands, Flower and simulations alike
find them. The library knows none of them.
"""

from pathlib import Path

_HERE = Path(__file__).resolve().parent
FOLDER = _HERE if (_HERE / "pyproject.toml").exists() else _HERE.parents[1]
"""Holds server/, client/, simulations/, configs/ and the pyproject.toml that names the apps to Flower."""

__path__ = [str(FOLDER)]
