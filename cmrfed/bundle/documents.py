"""What MONAI reads of a bundle: metadata.json after its schema, and inference.json for its runner."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import torch

from cmrfed import __version__
from cmrfed.conditions import CONDITIONS, UNKNOWN, UNLABELLED, Categorical, Condition, Dense, Scalar
from cmrfed.shapes import STRUCTURES, Label

_SCHEMA = "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json"
"""By which metadata.json is written; MONAI's `verify_metadata` fetches it, and nothing else does."""


def metadata(names: tuple[str, ...], latent: tuple[int, ...], size: int, facts: Mapping[str, Any]) -> dict[str, Any]:
    """metadata.json. latent: shape of one row of noise."""
    channels, *grid = latent
    inputs = {
        "noises": _described("noise", channels, grid, "float32", [], {str(one): "noise" for one in range(channels)})
    }
    inputs |= {name: _input(CONDITIONS[name], size) for name in names}
    image = _described("image", 1, [size, size], "float32", [-1.0, 1.0], {"0": "synthetic image"})
    return {
        "schema": _SCHEMA,
        "version": __version__,
        "changelog": {__version__: "exported by cmrfed export"},
        "monai_version": version("monai"),
        "pytorch_version": torch.__version__.partition("+")[0],
        "numpy_version": version("numpy"),
        "required_packages_version": {"nibabel": version("nibabel")},
        "name": "Synthetic short-axis cardiac MRI",
        "task": "Images for masks of the heart",
        "description": "A generator of synthetic short-axis cardiac MR images, drawn for masks",
        "authors": "see Model in provenance",
        "copyright": "see the terms of the generator's own release",
        "intended_use": "Research. Not for diagnosis; images are of no patient",
        "data_type": "nibabel",
        "image_classes": "synthetic image, from -1 to 1",
        "label_classes": ", ".join(f"{label.value} {label.name}" for label in STRUCTURES),
        "network_data_format": {"inputs": inputs, "outputs": {"images": image}},
        "provenance": dict(facts),
    }


def _input(condition: Condition, size: int) -> dict[str, Any]:
    known = list(condition.limits or [])
    channels = {"0": condition.meaning}
    if isinstance(condition, Dense):
        limits = [0.0, float(max(Label))] if condition.labels else [-1.0, 1.0]
        return _described("segmentation", 1, [size, size], condition.dtype, limits, channels)
    return _described("tuples", 1, list(condition.shape or ()), condition.dtype, known, channels)


def _described(
    what: str, channels: int, grid: list[int], dtype: str, limits: Sequence[float], meaning: Mapping[str, str]
) -> dict[str, Any]:
    return {
        "type": what,
        "format": "magnitude" if what == "image" else "labels" if what == "segmentation" else "values",
        "num_channels": channels,
        "spatial_shape": grid,
        "dtype": dtype,
        "value_range": limits,
        "is_patch_data": False,
        "channel_def": dict(meaning),
    }


def inference(names: tuple[str, ...], latent: tuple[int, ...], size: int) -> dict[str, Any]:
    """inference.json: images for `mask`, written to `output`; every condition is a key, unknown until it is set."""
    others = [CONDITIONS[name] for name in names if name != "mask"]
    tables = {one.name: list(one.values) for one in others if isinstance(one, Categorical)}
    settable = {one.name: _unsaid(one) for one in others if isinstance(one, Categorical | Scalar)}
    shape = ", ".join(map(str, latent))
    return {
        "imports": ["$import nibabel", "$import numpy", "$import torch"],
        "bundle_root": ".",
        "mask": "$@bundle_root + '/example/mask.nii.gz'",
        "output": "$@bundle_root + '/example/image.nii.gz'",
        "seed": 0,
        **settable,
        **{f"{name}_values": values for name, values in tables.items()},
        "file": "$nibabel.load(@mask)",
        "masks": "$torch.from_numpy(numpy.asarray(@file.dataobj).T.astype('int64'))",
        "noises": f"$torch.randn((len(@masks), {shape}), generator=torch.Generator().manual_seed(@seed))",
        "conditions": {"mask": "@masks", **{one.name: _expression(one, size) for one in others}},
        "program": "$torch.export.load(@bundle_root + '/models/model.pt2').module()",
        "images": "$@program(@noises, @conditions)[:, 0].detach().numpy()",
        "stored": "$nibabel.Nifti1Image(((@images + 1) / 2).T, @file.affine)",
        "run": ["$nibabel.save(@stored, @output)"],
    }


def _unsaid(condition: Condition) -> str:
    return UNKNOWN if isinstance(condition, Categorical) else "nan"


def _expression(condition: Condition, size: int) -> str:
    """A column for all slices: of the key of that name, or unknown where a key cannot say it."""
    match condition:
        case Categorical(name=name):
            return f"$torch.full((len(@masks),), @{name}_values.index(@{name}))"
        case Scalar(name=name):
            return f"$torch.full((len(@masks),), float(@{name}))"
        case Dense(labels=labels):
            unknown = str(UNLABELLED) if labels else "float('nan')"
            return f"$torch.full((len(@masks), {size}, {size}), {unknown})"
        case _:
            shape = ", ".join(map(str, condition.shape or ()))
            return f"$torch.full((len(@masks), {shape}), float('nan'))"
