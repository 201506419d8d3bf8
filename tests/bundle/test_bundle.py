"""A bundle draws what its generator draws, and asks nothing of cmrfed."""

import json
import sys
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from refusals import refuses

from cmrfed.api import load_model, sample
from cmrfed.bundle import export_bundle
from cmrfed.bundle.program import refuse_inexpressible
from cmrfed.config import GeneratorConfig, PreprocessingConfig, SamplingConfig
from cmrfed.generators import build_generator
from cmrfed.layouts import Provenance
from cmrfed.volumes import read_mask, read_volume

TOLERANCE = 1e-5
"""Of a flow; images go from -1 to 1."""
GRID = PreprocessingConfig(size=16)
SAMPLING = SamplingConfig(steps=2)
LABELS = {label: label for label in (0, 1, 2, 3, 255)}
TOLD = ("mask", "vendor", "age", "style")


def tiny(**changes):
    config = {"channels": (8,), "norm_groups": 4, "init": None, "conditions": TOLD, "directions": 3, **changes}
    return build_generator(GeneratorConfig(**config), seed=0)


@torch.no_grad()
def shaken(generator):
    """With no weight at zero, as most of what is told starts, and moved along its directions."""
    random = torch.Generator().manual_seed(1)
    for weight in generator.parameters():
        weight += 0.1 * torch.randn(weight.shape, generator=random)
    return generator.eval()


def test_monai_draws_the_generators_own_images_while_no_cmrfed_can_be_imported(tmp_path, monkeypatch):
    """In this process; tests/e2e does so in one that never had any of it."""
    from monai.bundle import run

    out = tmp_path / "bundle"
    made_by = Provenance("0" * 64, "model.safetensors", SAMPLING)
    bar = lambda _: nullcontext(lambda *_: None)  # noqa: E731
    assert export_bundle(shaken(tiny(trainable="directions")), GRID, SAMPLING, made_by, out, bar) <= TOLERANCE
    with monkeypatch.context() as blocked:
        for name in [name for name in sys.modules if name.split(".")[0] == "cmrfed"]:
            blocked.setitem(sys.modules, name, None)
        keys = {"vendor": "GE", "age": "61.5", "seed": 3, "output": str(out / "drawn.nii.gz")}
        run(config_file=str(out / "configs" / "inference.json"), bundle_root=str(out), **keys)
    drawn, spacing_mm = read_volume(out / "drawn.nii.gz")
    masks, mask_mm = read_mask(out / "example" / "mask.nii.gz", LABELS)
    assert spacing_mm == mask_mm and len(masks) > 2
    monkeypatch.setattr("cmrfed.sampling.autocast", lambda *_: torch.autocast("cpu", enabled=False))
    model = out / "models" / "model.safetensors"
    assert load_model(model).sampling == SAMPLING
    own = sample(model, masks, seed=3, vendor="GE", age=61.5)
    assert own.std() > 0.01
    np.testing.assert_allclose(2 * drawn - 1, own, rtol=0, atol=TOLERANCE)
    assert np.abs(own - sample(model, masks, seed=3, vendor="Canon", age=61.5)).max() > 10 * TOLERANCE
    told = json.loads((out / "configs" / "metadata.json").read_text())
    assert list(told["network_data_format"]["inputs"]) == ["noises", *TOLD]
    assert told["provenance"]["GeneratorSHA256"] == "0" * 64 and told["provenance"]["Synthetic"] is True


@pytest.mark.parametrize(
    ("changes", "sampler", "said"),
    [
        ({"family": "cvae"}, "euler", "family cvae"),
        ({}, "adaptive", "adaptive looks its times up"),
        ({}, "midpoint", "midpoint looks its times up"),
        ({"family": "volume", "network": "unet3d", "levels": 4, "conditions": ("vendor",)}, "euler", "stacks of 4"),
    ],
)
def test_what_no_program_can_express_is_refused(changes, sampler, said):
    with refuses(said):
        refuse_inexpressible(tiny(**changes), SAMPLING.model_copy(update={"sampler": sampler}))
