"""The sixteen features that run lengths and zone sizes share: a member is a piece of one grey level and some size."""

import numpy as np
from jaxtyping import Int64

from cmrfed.evaluation.fidelity.metrics.radiomics.counting import Groups, PerGroup


def emphasis(
    groups: Groups, levels: Int64[np.ndarray, " member"], sizes: Int64[np.ndarray, " member"], names: dict[str, str]
) -> dict[str, PerGroup]:
    """Features by PyRadiomics' names, which `names` completes: {"Short": ..., "Long": ..., "Size": ..., "Piece": ...}.

    levels, sizes: of each piece, from 1 on. For zones that is {"Short": "SmallArea", "Long": "LargeArea",
    "Size": "SizeZone", "Piece": "Zone"}.
    """
    i, s, pieces = levels.astype(np.float64), sizes.astype(np.float64), groups.sums()
    short, long, size, piece = names["Short"], names["Long"], names["Size"], names["Piece"]
    by_level, by_size = groups.spread(levels).squared_counts, groups.spread(sizes).squared_counts
    return {
        f"{short}Emphasis": groups.means(1 / s**2),
        f"{long}Emphasis": groups.means(s**2),
        "GrayLevelNonUniformity": by_level / pieces,
        "GrayLevelNonUniformityNormalized": by_level / pieces**2,
        f"{size}NonUniformity": by_size / pieces,
        f"{size}NonUniformityNormalized": by_size / pieces**2,
        f"{piece}Percentage": pieces / groups.sums(s),
        "GrayLevelVariance": groups.means(i**2) - groups.means(i) ** 2,
        f"{piece}Variance": groups.means(s**2) - groups.means(s) ** 2,
        f"{piece}Entropy": groups.spread(levels, sizes).entropy,
        f"LowGrayLevel{piece}Emphasis": groups.means(1 / i**2),
        f"HighGrayLevel{piece}Emphasis": groups.means(i**2),
        f"{short}LowGrayLevelEmphasis": groups.means(1 / (i**2 * s**2)),
        f"{short}HighGrayLevelEmphasis": groups.means(i**2 / s**2),
        f"{long}LowGrayLevelEmphasis": groups.means(s**2 / i**2),
        f"{long}HighGrayLevelEmphasis": groups.means(i**2 * s**2),
    }
