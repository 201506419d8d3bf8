"""A bundle draws what its generator draws, where there is no cmrfed."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from refusals import refuses
from toy_hearts import toy_mask

from cmrfed.api import load_model, sample
from cmrfed.bundle import export_bundle
from cmrfed.bundle.export import TOLERANCE
from cmrfed.bundle.program import Drawing, refuse_inexpressible, traced
from cmrfed.conditions import CONDITIONS
from cmrfed.config import GeneratorConfig, PreprocessingConfig, SamplingConfig
from cmrfed.generators import build_generator
from cmrfed.layouts import Provenance
from cmrfed.volumes import read_mask, read_volume

GRID = PreprocessingConfig(size=16)
SAMPLING = SamplingConfig(steps=1, guidance=1.5)
LABELS = {label: label for label in (0, 1, 2, 3, 255)}
TOLD = ("mask", "vendor", "age", "style")
WITHOUT_CMRFED = """
import sys
for name in ("cmrfed", "hydra", "pydantic"):
    sys.modules[name] = None  # an import of it raises ImportError
from monai.bundle import run
run(config_file="configs/inference.json", bundle_root=".", vendor="GE", age="61.5", seed=3, output="drawn.nii.gz")
"""


def tiny(**changes):
    config = {"channels": (8,), "norm_groups": 4, "init": None, "conditions": TOLD, **changes}
    return build_generator(GeneratorConfig(**config), seed=0)


@torch.no_grad()
def shaken(generator):
    """With no weight at zero, as most of what is told starts."""
    random = torch.Generator().manual_seed(1)
    for weight in generator.parameters():
        weight += 0.1 * torch.randn(weight.shape, generator=random)
    return generator.eval()


def conditions_of(rows):
    """Something of every condition; of which the last row knows nothing."""
    random = torch.Generator().manual_seed(rows)
    masks = torch.from_numpy(np.repeat(toy_mask(1, 40, 48)[:, 12:28, 20:36], rows, axis=0)).long()
    found = {
        "mask": masks,
        "vendor": torch.randint(4, (rows,), generator=random),
        "age": torch.rand(rows, generator=random) * 90,
        "style": torch.rand((rows, *(CONDITIONS["style"].shape or ())), generator=random),
    }
    for name in TOLD:
        found[name][-1] = CONDITIONS[name].unknown
    return found


@pytest.mark.parametrize(
    ("changes", "sampling"),
    [
        ({"trainable": "directions", "directions": 3}, SAMPLING),
        ({"family": "ddpm"}, SamplingConfig(steps=2, sampler="dpm_solver")),
    ],
)
@torch.no_grad()
def test_a_program_draws_the_generators_own_images_of_any_number(changes, sampling):
    generator = shaken(tiny(**changes))
    program = traced(Drawing(refuse_inexpressible(generator, sampling), sampling), GRID.size).module()
    for rows in (1, 3):
        told = conditions_of(rows)
        noises = torch.randn((rows, 1, 16, 16), generator=torch.Generator().manual_seed(7))
        own = generator.sample(told, sampling, torch.Generator().manual_seed(7))
        assert own.std() > 0.01
        torch.testing.assert_close(program(noises, told), own, rtol=0, atol=TOLERANCE)


def test_monai_draws_the_same_images_where_no_cmrfed_can_be_imported(tmp_path, monkeypatch):
    def bar(_):
        from contextlib import nullcontext

        return nullcontext(lambda *_: None)

    generator = shaken(tiny())
    out = tmp_path / "bundle"
    made_by = Provenance("0" * 64, "model.safetensors", SAMPLING)
    assert export_bundle(generator, GRID, SAMPLING, made_by, out, bar) <= TOLERANCE
    words = [sys.executable, "-c", WITHOUT_CMRFED]
    ended = subprocess.run(words, cwd=out, env={"PATH": "/usr/bin", "OMP_NUM_THREADS": "1"}, capture_output=True)
    assert ended.returncode == 0, ended.stderr.decode()
    drawn, spacing_mm = read_volume(out / "drawn.nii.gz")
    masks, mask_mm = read_mask(out / "example" / "mask.nii.gz", LABELS)
    assert spacing_mm == mask_mm
    monkeypatch.setattr("cmrfed.sampling.autocast", lambda *_: torch.autocast("cpu", enabled=False))
    model = out / "models" / "model.safetensors"
    assert load_model(model).sampling == SAMPLING
    np.testing.assert_allclose(2 * drawn - 1, sample(model, masks, seed=3, vendor="GE", age=61.5), atol=TOLERANCE)
    told = json.loads((out / "configs" / "metadata.json").read_text())
    assert list(told["network_data_format"]["inputs"]) == ["noises", *TOLD]
    assert told["provenance"]["GeneratorSHA256"] == "0" * 64 and told["provenance"]["Synthetic"] is True


@pytest.mark.parametrize(
    ("changes", "sampler", "said"),
    [
        ({"family": "cvae"}, "euler", "family cvae"),
        ({}, "adaptive", "adaptive chooses its steps"),
        ({"family": "volume", "network": "unet3d", "levels": 4, "conditions": ("vendor",)}, "euler", "stacks of 4"),
    ],
)
def test_what_no_program_can_express_is_refused(changes, sampler, said):
    with refuses(said):
        refuse_inexpressible(tiny(**changes), SAMPLING.model_copy(update={"sampler": sampler}))
