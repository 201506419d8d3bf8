"""cmrfed distill: a generator of two steps from one of more, by its own images of phantoms."""

from itertools import count

import numpy as np
import pytest
from conftest import toy_slices
from interruptions import interrupted_in_step
from toy_hearts import SPACING_MM, toy_mask

from cmrfed.config import DistillationConfig, PreprocessingConfig, SamplingConfig, TrainingConfig, UserError
from cmrfed.distillation import distil
from cmrfed.generators import build_generator
from cmrfed.updates import load_generator, read_weights
from cmrfed.volumes import read_volume, write_volume


@pytest.fixture(autouse=True)
def toy_hearts_in_a_cache_of_its_own(tmp_path, monkeypatch):
    """Drawing phantoms takes longer than all that these tests do with them."""
    monkeypatch.setenv("CMRFED_CACHE", str(tmp_path / "cache"))

    def hearts(seed, preprocessing, label_noise_mm, first):
        return (toy_slices([64], seed=seed + number) for number in count(first))

    monkeypatch.setattr("cmrfed.distillation.phantom_stream", hearts)


TINY = ("distillation.updates=2", "distillation.batch_size=2", "sampling.steps=4", "training.precision=fp32")


def test_the_file_draws_in_few_steps_of_itself_and_keeps_the_grid(run_in_one_line, tmp_path, finished_tiny_run):
    source = f"run={finished_tiny_run.folder}"
    code, printed = run_in_one_line("distill", source, "out=fast.safetensors", *TINY)
    assert code == 0, printed
    generator, notes = load_generator(tmp_path / "fast.safetensors")
    assert notes["sampling"] == finished_tiny_run.config.sampling.model_dump() | {"steps": 2, "guidance": 1.0}
    assert notes["preprocessing"] == finished_tiny_run.config.preprocessing.model_dump(mode="json")
    assert notes["distilled"]["updates"] == 2 and len(notes["distilled"]["teacher_sha256"]) == 64
    teacher = read_weights(load_generator(finished_tiny_run.arm_folder("private") / "model.safetensors")[0])
    moved = [name for name, array in read_weights(generator).items() if not np.array_equal(array, teacher[name])]
    assert moved, "it learnt something"
    write_volume(tmp_path / "masks" / "heart_gt.nii.gz", toy_mask(), SPACING_MM)
    code, printed = run_in_one_line("generate", "model=fast.safetensors", "masks=masks", "out=drawn")
    assert code == 0, printed
    assert read_volume(tmp_path / "drawn" / "heart.nii.gz")[0].shape == toy_mask().shape
    code, printed = run_in_one_line("distill", source, "out=fast.safetensors", *TINY)
    assert code == 2 and "fast.safetensors" in printed, "what is there is kept"


def test_a_generator_that_draws_in_as_few_steps_already_is_refused(tiny_generator_config):
    generator = build_generator(tiny_generator_config, seed=0)
    with pytest.raises(UserError, match=r"^distillation.steps: the generator draws in 2 already; give fewer"):
        distil(
            generator, PreprocessingConfig(), SamplingConfig(steps=2), DistillationConfig(), TrainingConfig(), seed=0
        )


def test_an_interrupted_distillation_goes_on_to_the_same_weights(tiny_generator_config, tmp_path, monkeypatch):
    monkeypatch.setattr("cmrfed.training.pretraining.CHECKPOINT_EVERY_S", 0.0)
    teacher = build_generator(tiny_generator_config, seed=0)
    settings = DistillationConfig(updates=3, batch_size=2)
    training = TrainingConfig(precision="fp32", device="cpu")

    def weights(cache):
        monkeypatch.setenv("CMRFED_CACHE", str(tmp_path / cache))
        return distil(teacher, PreprocessingConfig(size=16), SamplingConfig(steps=4), settings, training, seed=0)

    whole = weights("whole")

    with interrupted_in_step(2) as interrupt:
        weights("cut")
    assert interrupt.value.__notes__ == ["1 of 3 updates are kept for the next try"]
    gone_on = weights("cut")
    assert all(np.array_equal(whole[name], gone_on[name]) for name in whole)
    assert not list((tmp_path / "cut").rglob("*.partial"))
