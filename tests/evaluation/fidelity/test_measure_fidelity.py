"""The whole of fidelity on toy hearts: every part is there, floors are honest, and no arm is compared with itself."""

from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from toy_batches import PATHS, Oracle
from toy_hearts import toy_case

from cmrfed.config import FidelityConfig, GeneratorConfig, PreprocessingConfig
from cmrfed.evaluation import fidelity
from cmrfed.evaluation.fidelity.metrics import SCORES
from cmrfed.evaluation.fidelity.reconstruction import restore
from cmrfed.evaluation.fidelity.sets import compared, unseen
from cmrfed.evaluation.fidelity.structure import as_many_patients, whole_patients
from cmrfed.evaluation.subject import Subject, Synthetic
from cmrfed.generators import build_generator
from cmrfed.preprocessing import prepare
from cmrfed.slices import collect
from cmrfed.updates import read_weights, save_generator

PREPROCESSING = PreprocessingConfig(size=16)
SPACE = "radiomics"  # the quickest here
CONFIG = FidelityConfig(slices=200, spaces=(SPACE,), segmenter_steps=2, reconstruct=True)


def measure_fidelity(*of):
    """As results.json has it."""
    return {arm: found.plain() for arm, found in fidelity.measure_fidelity(*of).items()}


@contextmanager
def bar(_):
    yield lambda done, total: None


def hearts(part, count):
    cases = (
        replace(toy_case(f"{part}{n}", phase, seed=n), vendor=("Siemens", "GE")[n % 2])
        for n in range(count)
        for phase in ("ED", "ES")
    )
    return collect(prepare(case, PREPROCESSING) for case in cases)


@pytest.fixture(scope="module")
def subject(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fidelity")
    train, held_out = hearts("member", 8), hearts("other", 4)
    generator = build_generator(GeneratorConfig(channels=(8, 8), norm_groups=4, trainable="all"), seed=0)
    save_generator(folder / "model.safetensors", generator, read_weights(generator))
    random = np.random.default_rng(0)

    def noise(slices):
        return replace(slices, images=random.uniform(-1, 1, slices.images.shape).astype(np.float32))

    made = {
        "perfect": Synthetic(held_out, train, None),
        "noise": Synthetic(noise(held_out), noise(train), folder / "model.safetensors"),
        "external": Synthetic(hearts("stranger", 3), train.take(np.arange(0)), None, paired=False),
    }
    return Subject(
        train=train,
        held_out=held_out,
        shown=held_out,
        learnt=train,
        synthetic=made,
        seed=0,
        bootstrap=100,
        device=torch.device("cpu"),
        precision="fp32",
        cache=folder / "cache",
    )


@pytest.fixture(scope="module")
def results(subject, few_halves):
    return measure_fidelity(subject, CONFIG, bar)


def test_every_score_has_its_place_in_the_catalogue(results):
    for found in results.values():
        for space in found["spaces"].values():
            assert space.keys() <= SCORES["spaces"].keys()
        for part in ("pixels", "structure", "faithfulness"):
            assert found[part].keys() <= SCORES[part].keys()
            assert found[part]
    space = results["noise"]["spaces"][SPACE]
    assert space.keys() == SCORES["spaces"].keys() - {"inception_score"}  # radiomics names no kinds
    assert results["noise"]["pixels"].keys() == SCORES["pixels"].keys()
    assert results["noise"]["faithfulness"].keys() <= SCORES["faithfulness"].keys()


def test_the_headline_is_the_first_spaces(results):
    for found in results.values():
        first = found["spaces"][SPACE]
        assert found["fid"] == first["fid"]["value"]
        assert found["fid_real"] == first["fid"]["floor"]
        assert found["kid_real_ci95"] == first["kid"]["floor_ci95"]


def test_noise_is_far_above_the_floor_and_the_real_images_themselves_are_below_it(results):
    noise, perfect = (results[arm]["spaces"][SPACE] for arm in ("noise", "perfect"))
    assert noise["fid"]["value"] > 2 * noise["fid"]["floor"]
    assert perfect["fid"]["value"] == pytest.approx(0, abs=1e-3)
    assert noise["reconstruction_fid"]["value"] > noise["reconstruction_fid"]["floor"]
    assert results["perfect"]["pixels"]["mse"]["value"] == 0 < results["perfect"]["pixels"]["mse"]["floor"]
    assert results["noise"]["pixels"]["perceptual"]["value"] > results["noise"]["pixels"]["perceptual"]["floor"]


def test_the_real_images_are_as_faithful_as_the_floor_and_look_like_themselves(results):
    for score in results["perfect"]["faithfulness"].values():
        assert (score["value"], score["ci95"]) == (score["floor"], score["floor_ci95"])
    assert results["perfect"]["structure"]["blood_contrast"]["value"] == 0
    assert results["noise"]["structure"]["blood_contrast"]["value"] > 0.5


def test_images_of_nobodys_masks_are_compared_with_no_image_in_particular(results):
    assert set(results["external"]["pixels"]) == {"between_patients"}
    assert "reconstruction_fid" not in results["external"]["spaces"][SPACE]


def test_parts_that_are_not_asked_for_are_empty(subject, few_halves):
    config = FidelityConfig(slices=200, spaces=(SPACE,), pixels=False, structure=False, segmenter_steps=0)
    for found in measure_fidelity(subject, config, bar).values():
        assert found["pixels"] == found["structure"] == found["faithfulness"] == {}


def test_the_patients_that_tell_memory_from_learning_are_apart(subject):
    sets = compared(subject)
    rest = unseen(sets)
    learnt = set(rest.train.patient_names)
    others = set(sets.reference.take(rest.others).patient_names)
    assert learnt.isdisjoint(others)
    assert (learnt | others).isdisjoint(sets.test.patient_names)
    assert rest.drawn["noise"].patient_names == rest.train.patient_names


def test_without_masks_of_training_patients_memory_is_not_judged(subject, few_halves):
    nothing = subject.learnt.take(np.arange(0))
    made = {"perfect": replace(subject.synthetic["perfect"], learnt=nothing)}
    config = FidelityConfig(slices=200, spaces=(SPACE,), pixels=False, structure=False, segmenter_steps=0)
    found = measure_fidelity(replace(subject, learnt=nothing, synthetic=made), config, bar)
    space = found["perfect"]["spaces"][SPACE]
    assert {"fid", "coverage"} <= space.keys()
    assert "fld" not in space


def test_a_patient_with_a_slice_missing_has_no_volume(subject):
    held_out = subject.held_out
    part = held_out.take(np.arange(1, len(held_out)))
    assert whole_patients(part, held_out).patient_names == held_out.patient_names[1:]
    like = as_many_patients(subject.train, part, seed=0)
    assert sorted(like.vendors) == sorted(part.vendors)


@pytest.mark.parametrize("family", PATHS)
def test_a_generator_that_sees_the_noise_as_it_is_restores_every_image(subject, family):
    """A network that knows the only image there is takes x_t apart without error, whatever the family's path."""
    generator = build_generator(GeneratorConfig(family=family, channels=(8, 8), norm_groups=4, trainable="all"), seed=0)
    one = subject.shown.take(np.array([3]))
    image = torch.from_numpy(one.images)[:, None]
    generator.network = Oracle(generator, lambda *_: image)
    np.testing.assert_allclose(restore(generator, one, subject), one.images, atol=0.05)


def test_restored_images_are_reproducible_and_in_range(subject):
    generator = subject.synthetic["noise"].load()
    first = restore(generator, subject.shown, subject)
    assert np.abs(first).max() <= 1
    np.testing.assert_array_equal(first, restore(generator, subject.shown, subject))
