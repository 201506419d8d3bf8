"""How synthetic pairs lie on disk, by name (`cmrfed.members.LAYOUTS`): for cmrfed itself, or as other tools read them.

A layout is one file with one class: where the image and the mask of a stack go, how they are written, and what is
written about all of them once they are there. `cmrfed.datasets` is the other way round.
"""

from cmrfed.layouts.contract import Asked, Files, Layout, Provenance, Synthetic, Written

__all__ = ["Asked", "Files", "Layout", "Provenance", "Synthetic", "Written"]
