"""A bundle in a process of its own, where cmrfed cannot be imported; and every way of drawing that can be exported."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from cmrfed.api import sample
from cmrfed.batches import unknown_conditions
from cmrfed.bundle.program import Drawing, refuse_inexpressible, traced
from cmrfed.config import GeneratorConfig, SamplingConfig
from cmrfed.generators import build_generator
from cmrfed.volumes import read_mask, read_volume

TOLERANCE = {"flow": 1e-5, "edm": 1e-5, "shortcut": 1e-5, "ddpm": 1e-4}
"""In images from -1 to 1; DDPM's first step divides by a signal of 0.006, and so multiplies what rounding does."""
LABELS = {label: label for label in (0, 1, 2, 3, 255)}
WITHOUT_CMRFED = """
import sys
for name in ("cmrfed", "hydra", "pydantic"):
    sys.modules[name] = None  # an import of it raises ImportError
from monai.bundle import run
run(config_file="configs/inference.json", bundle_root=".", phase="ES", seed=3, output="drawn.nii.gz")
"""


def test_the_foundations_bundle_draws_its_images_without_cmrfed(run_cmrfed, tmp_path, monkeypatch):
    out = tmp_path / "bundle"
    code, printed = run_cmrfed("export", "model=foundation", f"out={out}", "sampling.steps=2")
    assert code == 0 and "differ from this generator's by" in printed
    words = [sys.executable, "-c", WITHOUT_CMRFED]
    ended = subprocess.run(words, cwd=out, env={"PATH": "/usr/bin", "OMP_NUM_THREADS": "1"}, capture_output=True)
    assert ended.returncode == 0, ended.stderr.decode()
    masks, _ = read_mask(out / "example" / "mask.nii.gz", LABELS)
    monkeypatch.setattr("cmrfed.sampling.autocast", lambda *_: torch.autocast("cpu", enabled=False))
    own = sample(out / "models" / "model.safetensors", masks, seed=3, phase="ES")
    np.testing.assert_allclose(2 * read_volume(out / "drawn.nii.gz")[0] - 1, own, rtol=0, atol=TOLERANCE["flow"])
    code, printed = run_cmrfed("export", "model=foundation", f"out={out}")
    assert code == 2 and "is not empty" in printed


@pytest.mark.parametrize("family", TOLERANCE)
@pytest.mark.parametrize("sampler", ["euler", "heun", "dpm_solver"])
@torch.no_grad()
def test_every_path_and_sampler_is_drawn_alike_by_its_program(family, sampler):
    if family == "shortcut" and sampler != "euler":
        pytest.skip("goes its own steps, whatever the sampler")
    sampling = SamplingConfig(steps=2, guidance=1.5, sampler=sampler)
    config = GeneratorConfig(family=family, channels=(8,), norm_groups=4, init=None, trainable="all")
    generator = build_generator(config, seed=0).eval()
    for weight in generator.parameters():
        weight += 0.1 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(weight.numel()))
    program = traced(Drawing(refuse_inexpressible(generator, sampling), sampling), 16).module()
    for rows in (1, 3):
        told = unknown_conditions(config.conditions, rows, (16, 16)) | {
            "mask": torch.arange(rows * 256).view(-1, 16, 16) % 4
        }
        noises = torch.randn((rows, 1, 16, 16), generator=torch.Generator().manual_seed(7))
        own = generator.sample(told, sampling, torch.Generator().manual_seed(7))
        torch.testing.assert_close(program(noises, told), own, rtol=0, atol=TOLERANCE[family])
