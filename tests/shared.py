"""Shared by all tests: shapes in signatures are checked as the code runs, in one process and on one thread."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import shape_checks

os.environ.setdefault("OMP_NUM_THREADS", "1")
shape_checks.install()

import lone_process  # noqa: E402

lone_process.install()

import known_hearts  # noqa: E402
import known_slices  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402
from hypothesis import settings  # noqa: E402
from tiny_runs import tiny_run_config  # noqa: E402

from cmrfed import cli  # noqa: E402
from cmrfed.apps.simulations.simulate import simulate  # noqa: E402
from cmrfed.columns import columns  # noqa: E402
from cmrfed.conditions import PHASES, VENDORS  # noqa: E402
from cmrfed.config import GeneratorConfig, TrainingConfig  # noqa: E402
from cmrfed.console import console  # noqa: E402
from cmrfed.evaluation.fidelity.metrics import scores  # noqa: E402
from cmrfed.privacy import DistributedNoise, LocalNoise  # noqa: E402
from cmrfed.runs import Run  # noqa: E402
from cmrfed.slices import Patient, Slices  # noqa: E402

torch.set_num_threads(1)
settings.register_profile("busy machine", deadline=None)
settings.load_profile("busy machine")


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache of the tests' own: what a user has cached must neither help nor be touched."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CMRFED_CACHE", str(folder))
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))
        yield folder


@pytest.fixture(scope="session", autouse=True)
def hearts_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    own = tmp_path_factory.getbasetemp()
    with known_hearts.known((own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "hearts"):
        yield


@pytest.fixture(scope="session", autouse=True)
def slices_once() -> Iterator[None]:
    with known_slices.known():
        yield


@pytest.fixture(scope="module")
def hearts_anew(hearts_once: None) -> Iterator[None]:
    with known_hearts.unknown():
        yield


@pytest.fixture(scope="session")
def finished_tiny_run(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A whole simulated federation with all arms, run once; tests must leave its folder as it is."""
    generator = {"init": "phantom", "trainable": "adaptation"}
    config = tiny_run_config(cache, federation={"arms": "all"}, generator=generator)
    return simulate(config, tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def few_halves() -> Iterator[None]:
    """Intervals of fidelity from 4 halves of the patients instead of 40, where it does not matter how wide they are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scores, "HALVES", 4)
        yield


@pytest.fixture
def run_in_one_line(run_cmrfed: Callable[..., tuple[int, str]]) -> Callable[..., tuple[int, str]]:
    """The console script; what it printed comes with single spaces."""

    def call(*arguments: str) -> tuple[int, str]:
        code, printed = run_cmrfed(*arguments)
        return code, " ".join(printed.split())

    return call


@pytest.fixture
def run_cmrfed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., tuple[int, str]]:
    """Call the console script in this process, in an empty folder, 100 columns wide, with a cache of its own.

    Returns (exit code, what was printed).
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CMRFED_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setattr(console, "_width", 100)

    def call(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["cmrfed", *arguments])
        try:
            cli.main()
            code: Any = 0
        except SystemExit as stop:
            code = stop.code or 0
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    return call


@pytest.fixture
def tiny_generator_config() -> GeneratorConfig:
    """A network of a few thousand weights."""
    return GeneratorConfig(channels=(8, 8), norm_groups=4, condition_dropout=0.2, trainable="all", init=None)


@pytest.fixture
def fp32_training() -> TrainingConfig:
    return TrainingConfig(
        local_steps=2, optimizer="sgd", learning_rate=0.1, batch_size=4, slices_per_patient=2, precision="fp32"
    )


def conditions_of(vendors: np.ndarray, phases: np.ndarray) -> dict[str, np.ndarray]:
    """Columns for slices of those vendors and phases, by index; the rest is unknown."""
    return columns(len(vendors), {"vendor": np.array(VENDORS)[vendors], "phase": np.array(PHASES)[phases]})


def toy_slices(slices_of_patients: list[int], size: int = 16, seed: int = 0, first: int = 0) -> Slices:
    """Random slices: one entry of `slices_of_patients` a patient."""
    random = np.random.default_rng(seed)
    count = sum(slices_of_patients)
    patients = np.repeat(np.arange(len(slices_of_patients)), slices_of_patients)
    names = [f"toy-{first + number}" for number in range(len(slices_of_patients))]
    vendors = ["Siemens", "Philips"]
    return Slices(
        images=random.uniform(-1, 1, (count, size, size)).astype(np.float32),
        masks=random.integers(0, 4, (count, size, size)).astype(np.uint8),
        conditions=conditions_of(patients % 2, random.integers(0, 2, count)),
        patients=patients.astype(np.int64),
        visits=np.zeros(count, np.int64),
        stacks=patients.astype(np.int64),
        spacing_mm=np.tile([8.0, 2.0, 2.0], (count, 1)),
        records=tuple(Patient(name, "toy", vendors[n % 2], "1", "NOR") for n, name in enumerate(names)),
    )


def toy_plan(**changes: object) -> LocalNoise | DistributedNoise:
    """A plan with small round numbers; `max_grad_norm`, `rule` and `adaptive` are its clipping's. With `sites`, their
    noise is distributed."""
    clipping = {"max_grad_norm": 0.5} | {
        name: changes.pop(name) for name in ("max_grad_norm", "rule", "adaptive") if name in changes
    }
    values = {
        "clipping": clipping,
        "sample_rate": 0.5,
        "noise_multiplier": 1.0,
        "declared_patients": 4,
        "steps": 4,
        "delta": 1e-3,
        "target_epsilon": 100.0,
        "seed": 0,
    }
    kind = DistributedNoise if "sites" in changes else LocalNoise
    return kind(**(values | changes))
