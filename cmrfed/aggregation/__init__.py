"""Rules that join the sites' updates into one, each with its stated sensitivity; `cmrfed.members` lists them."""

from cmrfed.aggregation.rule import join
from cmrfed.aggregation.shrinkage import shrunk

__all__ = ["join", "shrunk"]
