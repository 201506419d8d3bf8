"""Rules that join the sites' updates into one, each with its stated sensitivity."""

from cmrfed.aggregation.mean import mean

RULES = {"mean": mean}

__all__ = ["RULES", "mean"]
