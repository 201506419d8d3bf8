"""Grey-level size zones (GLSZM; Thibault et al., ICPRIA 2009): connected areas of one level, diagonals included."""

import numpy as np
from jaxtyping import Float64, Int64
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from cmrfed.evaluation.fidelity.metrics.radiomics.counting import Groups
from cmrfed.evaluation.fidelity.metrics.radiomics.emphasis import emphasis

_NAMES = {"Short": "SmallArea", "Long": "LargeArea", "Size": "SizeZone", "Piece": "Zone"}


def size_zones(levels: Int64[np.ndarray, "image row column"]) -> dict[str, Float64[np.ndarray, " image"]]:
    """16 features of every image by PyRadiomics' names. Levels count from 1."""
    zones = _zones(levels)
    _, first, sizes = np.unique(zones, return_index=True, return_counts=True)
    owners = first // levels[0].size
    return emphasis(Groups(owners, len(levels)), levels.ravel()[first], sizes, _NAMES)


def _zones(levels: Int64[np.ndarray, "image row column"]) -> Int64[np.ndarray, " pixel"]:
    """The number of the zone of every pixel: components of one graph over the pixels of all images."""
    pixel = np.arange(levels.size).reshape(levels.shape)
    everywhere = (slice(None),)
    beside = [
        ((slice(None), slice(None, -1)), (slice(None), slice(1, None))),
        ((slice(None, -1), slice(None)), (slice(1, None), slice(None))),
        ((slice(None, -1), slice(None, -1)), (slice(1, None), slice(1, None))),
        ((slice(1, None), slice(None, -1)), (slice(None, -1), slice(1, None))),
    ]
    edges = []
    for one, other in beside:
        same = levels[everywhere + one] == levels[everywhere + other]
        edges.append(np.stack([pixel[everywhere + one][same], pixel[everywhere + other][same]]))
    start, end = np.concatenate(edges, 1)
    graph = coo_matrix((np.ones(len(start), dtype=np.int8), (start, end)), shape=(levels.size, levels.size))
    return connected_components(graph, directed=False)[1].astype(np.int64)
