"""A site's update in fewer bytes, once its noise is in it: what the site sends, and what the server reads from it.

none     every number in 32 bits
int8     of each tensor w, round(w / s) in 8 bits, and its scale s = max |w| / 127 in 32
top_k    of all numbers the k = share d largest, 64 bits each with their places. What is not sent is the site's
         residual, and is added to its next update: nothing is lost, but it comes later (Stich et al. 2018,
         arXiv:1809.07599; Seide et al. 2014)

All of it is post-processing: an update has its noise and was paid for before it comes here, rounding is by arithmetic
alone, and a residual is made of nothing but updates that were paid for. A masked vector is not compressed: masks make
all of its bits count.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np

from cmrfed.config import MessageConfig, UserError
from cmrfed.updates import Weights

Arrays = dict[str, np.ndarray]
"""An update as it is sent, by name."""
Shapes = Mapping[str, tuple[int, ...]]
"""Of the trained weights, by name."""
NumberFormat = Literal["float32", "int8", "uint32"]
"""Of what is sent."""
_LARGEST = 127


class Form(NamedTuple):
    """What an array in a message must be."""

    dtype: NumberFormat
    shape: tuple[int, ...]


def forms(messages: MessageConfig, shapes: Shapes) -> dict[str, Form]:
    """The arrays that an update of such weights is sent as: their number and sizes follow from public facts alone."""
    entries = sum(map(_size, shapes.values()))
    match messages.compression:
        case "none":
            return {name: Form("float32", shape) for name, shape in shapes.items()}
        case "int8":
            return {"values": Form("int8", (entries,)), "scales": Form("float32", (len(shapes),))}
        case "top_k":
            kept = _kept(messages, entries)
            return {"places": Form("uint32", (kept,)), "values": Form("float32", (kept,))}


def compressed(messages: MessageConfig, update: Weights, residual: Weights) -> tuple[Arrays, Weights]:
    """(What a site sends, the residual that it keeps). `residual` is that of the run's last answer, empty at first."""
    match messages.compression:
        case "none":
            return update, {}
        case "int8":
            return _quantised(update), {}
        case "top_k":
            return _largest(update, residual, messages)


def decompressed(messages: MessageConfig, arrays: Arrays, shapes: Shapes) -> Weights:
    """The update that arrays of these `forms` stand for. Raises UserError where they stand for none."""
    match messages.compression:
        case "none":
            return arrays
        case "int8":
            return _unquantised(arrays, shapes)
        case "top_k":
            return _spread(arrays, shapes)


def _quantised(update: Weights) -> Arrays:
    values, scales = [], []
    for _, array in sorted(update.items()):
        scale = np.float32(np.abs(array).max(initial=0) / _LARGEST)
        with np.errstate(invalid="ignore"):  # what is not finite is found where it is read
            steps = np.rint(array.ravel() / scale) if scale else np.zeros(array.size)
            values.append(steps.clip(-_LARGEST, _LARGEST).astype(np.int8))
        scales.append(scale)
    return {"values": np.concatenate(values), "scales": np.array(scales, np.float32)}


def _unquantised(arrays: Arrays, shapes: Shapes) -> Weights:
    scales = arrays["scales"]
    if not (np.isfinite(scales) & (scales >= 0)).all():
        raise UserError("its scales are not all finite and 0 or more")
    sizes = [_size(shape) for _, shape in sorted(shapes.items())]
    with np.errstate(over="ignore"):  # what is too large for a number is too large for an update
        return _by_weight(arrays["values"] * np.repeat(scales, sizes), shapes)


def _largest(update: Weights, residual: Weights, messages: MessageConfig) -> tuple[Arrays, Weights]:
    whole = {name: array + residual.get(name, np.float32(0)) for name, array in update.items()}
    flat = np.concatenate([array.ravel() for _, array in sorted(whole.items())])
    kept = _kept(messages, flat.size)
    places = np.sort(np.argpartition(-np.abs(flat), kept - 1)[:kept]).astype(np.uint32)
    sent = {"places": places, "values": flat[places]}
    rest = flat.copy()
    rest[places] = 0
    rest[~np.isfinite(rest)] = 0  # or no later update would be finite either
    return sent, _by_weight(rest, {name: array.shape for name, array in update.items()})


def _spread(arrays: Arrays, shapes: Shapes) -> Weights:
    places, entries = arrays["places"].astype(np.int64), sum(map(_size, shapes.values()))
    if (np.diff(places) <= 0).any() or places[-1] >= entries:
        raise UserError(f"its places do not grow from one to the next and stay below {entries}")
    flat = np.zeros(entries, np.float32)
    flat[places] = arrays["values"]
    return _by_weight(flat, shapes)


def _by_weight(flat: np.ndarray, shapes: Shapes) -> Weights:
    """Numbers in order of their weights' names, cut up."""
    names = sorted(shapes)
    parts = np.split(flat, np.cumsum([_size(shapes[name]) for name in names])[:-1])
    return {name: part.reshape(shapes[name]) for name, part in zip(names, parts, strict=True)}


def _kept(messages: MessageConfig, entries: int) -> int:
    return max(1, round(messages.top_k_share * entries))


def _size(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape, dtype=np.int64))
