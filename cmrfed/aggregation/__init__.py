"""Rules that join the sites' updates into one, each with its stated sensitivity; `cmrfed.members` lists them."""

from cmrfed.aggregation.rule import join

__all__ = ["join"]
