"""A federation small enough to run whole within a test: two vendors, six phantom patients each, two rounds."""

from pathlib import Path
from typing import Any

from cmrfed.config import RunConfig, read_stage

TINY_WORDS = [
    "data.phantom.patients_per_vendor=6",
    "data.phantom.vendors=[Siemens,GE]",
    "preprocessing.size=16",
    "generator.channels=[8,8]",
    "generator.norm_groups=4",
    "generator.init=phantom",
    "generator.directions=8",
    "pretraining.mixed_slices=8",
    "pretraining.steps=3",
    "training.local_steps=1",
    "training.slices_per_patient=2",
    "training.precision=fp32",
    "privacy.minimum_patients=2",
    "privacy.declared_patients=5",
    "federation.largest_start_loss=null",
]
"""One as small on the command line, but for its rounds and where its data are."""


def tiny_run_config(cache: Path, **changes: Any) -> RunConfig:
    """Values by stage; a dict in `changes` is merged into its stage."""
    values: dict[str, Any] = {
        "data": {
            "root": str(cache),
            "sources": {"phantom": "phantom"},
            "phantom": {"patients_per_vendor": 6, "vendors": ["Siemens", "GE"]},
        },
        "preprocessing": {"size": 16},
        "generator": {"channels": [8, 8], "norm_groups": 4, "trainable": "all", "init": None},
        "sampling": {"steps": 2},
        "pretraining": {"mixed_slices": 8, "steps": 3},
        "training": {"local_steps": 2, "learning_rate": 1e-3, "slices_per_patient": 2, "precision": "fp32"},
        "privacy": {"minimum_patients": 2, "declared_patients": 5, "delta": 1e-3, "clipping": "norm", "seed": 1},
        # three steps of pretraining are no start that the default would let private rounds begin from
        "federation": {"rounds": 2, "engine": "inprocess", "held_out_fraction": 0.34, "largest_start_loss": None},
        "evaluation": {
            "fidelity": {"slices": 12, "segmenter_steps": 2},
            "utility": {"slices": 16, "steps": 2, "augmented": True},
            "leakage": {"attacks": None, "times": 2, "inversion_steps": 1, "shadow_models": 2, "shadow_steps": 1},
            "bootstrap": 100,
        },
    }
    for key, value in changes.items():
        values[key] = {**values.get(key, {}), **value} if isinstance(value, dict) else value
    return read_stage(RunConfig, values)
