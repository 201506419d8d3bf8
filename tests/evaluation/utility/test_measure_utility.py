"""What every arm's segmenters learn from and are tested on, and what is reported of them."""

import contextlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_stacks import cohort, record

from cmrfed.conditions import UNLABELLED, VENDORS
from cmrfed.config import GeneratorConfig, SamplingConfig, UserError, UtilityConfig
from cmrfed.evaluation import utility
from cmrfed.evaluation.subject import Subject, Synthetic
from cmrfed.evaluation.utility import left_out
from cmrfed.evaluation.utility.metrics import METRICS
from cmrfed.evaluation.utility.training_sets import training_sets
from cmrfed.generators import build_generator
from cmrfed.sampling import synthesise
from cmrfed.updates import load_generator, read_weights, save_generator

ARMS = ("epsilon_0", "private")
VENDOR_DATASET = (("GE", "a"), ("Philips", "a"), ("GE", "b"), ("Philips", "b"))
DISEASES = ("DCM", "NOR")
EVERYTHING = UtilityConfig(
    steps=2,
    backbones=("unet", "dynunet"),
    ratios=(0.5, 2.0),
    augmented=True,
    protocols=("leave_one_vendor_out", "translation", "cross_dataset"),
)


def measure_utility(*of):
    """As results.json has it."""
    return {arm: found.plain() for arm, found in utility.measure_utility(*of).items()}


def silent(description):
    return contextlib.nullcontext(lambda done, total: None)


def patients(count, first):
    """`count` of each vendor, data set and disease."""
    return [
        record(first + 4 * number + group, vendor, DISEASES[number % 2], dataset)
        for number in range(2 * count)
        for group, (vendor, dataset) in enumerate(VENDOR_DATASET)
    ]


@pytest.fixture(scope="module")
def generator_file(tmp_path_factory):
    generator = build_generator(GeneratorConfig(channels=(8, 8), norm_groups=4), seed=0)
    path = tmp_path_factory.mktemp("generator") / "model.safetensors"
    save_generator(path, generator, read_weights(generator))
    return path


def subject_of(generator_file, **changes):
    train, held_out = cohort(patients(1, 0), 0, size=32), cohort(patients(1, 100), 500, size=32)
    made = {}
    for seed, arm in enumerate(ARMS):
        learnt = synthesise(load_generator(generator_file)[0], train, SamplingConfig(steps=1), 50 + seed, "cpu", "fp32")
        made[arm] = Synthetic(learnt, learnt, generator_file)
    values = {
        "train": train, "held_out": held_out, "shown": held_out, "learnt": train, "synthetic": made, "seed": 0,
        "bootstrap": 100, "device": torch.device("cpu"), "precision": "fp32", "cache": Path("unused"),
        "sampling": SamplingConfig(steps=1),
    }  # fmt: skip
    return Subject(**(values | changes))


@pytest.fixture(scope="module")
def subject(generator_file):
    return subject_of(generator_file)


@pytest.fixture(scope="module")
def measured(subject):
    return measure_utility(subject, EVERYTHING, silent)


def test_every_arm_has_every_key_of_the_docstring_and_is_json(measured):
    assert measured.keys() == set(ARMS)
    for scores in measured.values():
        assert scores.keys() == {
            "real", "real_augmented", "synthetic", "mixed", "mixed_0.5x", "mixed_2x", "tests", "backbones", "blind",
            "over_blind", "void",
            "leave_one_vendor_out", "translation", "cross_dataset", "disease",
        }  # fmt: skip
        assert scores["backbones"]["dynunet"].keys() == {"real", "synthetic", "mixed", "tests"}
        assert json.loads(json.dumps(scores, allow_nan=False)) == scores


def test_a_segmenter_that_two_steps_taught_nothing_is_no_yardstick_and_the_comparison_is_void(measured):
    found = measured["private"]
    assert found["over_blind"].keys() == {"real", "synthetic", "mixed"}
    gain = found["real"]["dice"]["mean"] - found["blind"]["dice"]["mean"]
    assert found["over_blind"]["real"]["value"] == pytest.approx(gain)
    assert not found["over_blind"]["real"]["beats_blind"]
    assert "no better than one and the same mask" in found["void"]


def test_a_yardstick_that_learnt_its_images_stands_and_noise_is_of_no_use_beside_it(generator_file):
    noise = subject_of(generator_file)
    noise = subject_of(generator_file, synthetic={"private": noise.synthetic["private"]})
    config = UtilityConfig(steps=60, disease=False, augmented=False)
    found = measure_utility(noise, config, silent)["private"]
    assert found["void"] is None
    assert found["over_blind"]["real"]["beats_blind"]
    assert not found["over_blind"]["synthetic"]["beats_blind"]


def test_what_no_arm_decides_is_the_same_in_all(measured):
    for name in ("real", "real_augmented"):
        assert measured["epsilon_0"][name] == measured["private"][name]
    assert measured["epsilon_0"]["synthetic"] != measured["private"]["synthetic"]


def test_every_set_is_scored_on_all_held_out_patients(measured):
    for name in ("real", "synthetic", "mixed_2x"):
        found = measured["private"][name]
        assert found["patients"] == 8
        assert {vendor: of["patients"] for vendor, of in found["by_vendor"].items()} == {"GE": 4, "Philips": 4}
        assert {group: of["patients"] for group, of in found["by_dataset"].items()} == {"a": 4, "b": 4}
        assert found["function"]["lv_edv_ml"]["patients"] == 8
        assert found["function"]["left_out"] == {"without_both_phases": 0, "partly_labelled": 0}


def test_tests_compare_every_set_with_real_and_synthetic_with_the_start(measured):
    def pairs(arm):
        return {(row["a"], row["b"]) for row in measured[arm]["tests"]}

    common = {(name, "real") for name in ("real_augmented", "synthetic", "mixed", "mixed_0.5x", "mixed_2x")}
    common |= {("mixed", "real_augmented")}
    assert pairs("epsilon_0") == common
    assert pairs("private") == common | {("synthetic", "epsilon_0/synthetic")}
    assert all(row["patients"] == 8 for row in measured["private"]["tests"])


def test_sets_mix_as_many_synthetic_slices_as_their_ratio_says(subject):
    sets, absent = training_sets(subject, EVERYTHING, silent)
    real = len(subject.learnt)
    lengths = {key: [len(part) for part in one.parts] for key, one in sets.items()}
    assert lengths[None, "real"] == lengths[None, "real_augmented"] == [real]
    assert sets[None, "real_augmented"].augmentation == "strong"
    assert lengths["private", "synthetic"] == [real]
    assert lengths["private", "mixed"] == [real, real]
    assert lengths["private", "mixed_0.5x"] == [real, real // 2]
    assert lengths["private", "mixed_2x"] == [real, real, real]
    assert absent == {}
    assert all(one.augmentation == "light" for key, one in sets.items() if key[1] != "real_augmented")


def test_a_second_draw_for_the_same_masks_is_another_image(subject):
    sets, _ = training_sets(subject, EVERYTHING, silent)
    _, first, second = sets["private", "mixed_2x"].parts
    assert np.array_equal(first.masks, second.masks)
    assert np.abs(first.images - second.images).mean() > 0.01


def test_images_without_a_generator_are_not_drawn_again_and_the_reason_is_given(generator_file):
    made = subject_of(generator_file).synthetic["private"]
    subject = subject_of(generator_file, synthetic={"external": Synthetic(made.learnt, made.learnt, None)})
    config = UtilityConfig(steps=1, ratios=(0.5, 2.0), protocols=("translation",), disease=False, augmented=False)
    found = measure_utility(subject, config, silent)["external"]
    assert "mixed_0.5x" in found
    assert not {"mixed_2x", "translation"} & found.keys()
    assert found["not_measured"].keys() == {"mixed_2x", "translation"}


@pytest.fixture(scope="module")
def left_out_sets(subject):
    return dict(left_out.training_sets_without(subject, EVERYTHING, subject.held_out, silent))


@pytest.mark.parametrize("field", ["vendor", "dataset"])
def test_no_real_image_of_the_missing_group_is_learnt_from(left_out_sets, field):
    assert (
        {key[1] for key in left_out_sets if key[0] == field} == {"GE", "Philips"} if field == "vendor" else {"a", "b"}
    )
    for (of, group, *_), examples in left_out_sets.items():
        if of == field:
            assert group not in {getattr(owner, field) for owner in examples.parts[0].records}


def test_the_helped_network_has_the_arms_images_of_the_missing_group_besides(subject, left_out_sets):
    real, helped = left_out_sets["vendor", "GE", "leave_one_vendor_out", "private"].parts
    assert len(real) == len(left_out_sets["vendor", "GE", None, None])
    assert set(helped.vendors) == {"GE"}
    drawn = subject.synthetic["private"].learnt
    assert np.array_equal(helped.images, drawn.images[np.array(drawn.vendors)[drawn.patients] == "GE"])


def test_translation_draws_the_missing_vendor_on_masks_of_the_others(left_out_sets):
    real, drawn = left_out_sets["vendor", "GE", "translation", "private"].parts
    assert set(drawn.conditions["vendor"]) == {VENDORS.index("GE")}
    assert set(drawn.vendors) == {"Philips"}
    assert np.array_equal(drawn.masks, real.masks)
    assert set(real.conditions["vendor"]) == {VENDORS.index("Philips")}
    assert np.abs(drawn.images - real.images).mean() > 0.01


def test_the_drop_compares_networks_on_the_missing_groups_patients(measured):
    found = measured["private"]["leave_one_vendor_out"]
    assert found["groups"].keys() == {"GE", "Philips"}
    for vendor, group in found["groups"].items():
        assert group["patients"] == 4
        seen = measured["private"]["real"]["by_vendor"][vendor]
        assert group["seen"]["value"] == pytest.approx(seen["dice"]["mean"])
        assert {metric: group["scores"]["seen"][metric] for metric in METRICS} == {m: seen[m] for m in METRICS}
        unseen, helped = group["scores"]["unseen"]["dice"]["mean"], group["scores"]["helped"]["dice"]["mean"]
        assert group["drop"]["value"] == pytest.approx(seen["dice"]["mean"] - unseen)
        assert group["removed"]["value"] == pytest.approx(helped - unseen)
    assert measured["private"]["cross_dataset"]["groups"].keys() == {"a", "b"}


def test_one_vendor_alone_cannot_be_left_out_and_the_reason_is_given(generator_file):
    whole = subject_of(generator_file)
    only = {name: getattr(whole, name).by_vendor()["GE"] for name in ("train", "held_out", "shown", "learnt")}
    made = Synthetic(only["learnt"], only["learnt"], generator_file)
    config = UtilityConfig(steps=1, protocols=("leave_one_vendor_out",), disease=False, augmented=False)
    found = measure_utility(subject_of(generator_file, **only, synthetic={"private": made}), config, silent)["private"]
    assert "leave_one_vendor_out" not in found
    assert "two vendors" in found["not_measured"]["leave_one_vendor_out"]


def test_diseases_are_told_by_each_sets_own_segmenter_and_by_the_readers_masks(measured):
    found = measured["private"]["disease"]
    assert found.keys() == {"real", "synthetic", "mixed", "reader_masks", "training_patients"}
    assert found["training_patients"] == {"DCM": 4, "NOR": 4}
    assert all(found[name]["patients"] == {"DCM": 4, "NOR": 4} for name in found if name != "training_patients")
    assert 0 <= found["synthetic"]["macro_auc"]["value"] <= 1


def test_diseases_of_too_few_patients_are_not_learnt_and_the_reason_is_given(generator_file):
    whole = subject_of(generator_file)
    few = whole.train.subset(whole.train.patient_names[:4])
    subject = subject_of(generator_file, train=few, learnt=few)
    found = measure_utility(subject, UtilityConfig(steps=1, augmented=False), silent)["private"]
    assert "disease" not in found
    assert "three training patients" in found["not_measured"]["disease"]


def test_patients_with_an_unlabelled_slice_have_no_volume_but_their_other_slices_are_scored(generator_file):
    whole = subject_of(generator_file)
    whole.held_out.masks[0] = UNLABELLED
    subject = subject_of(generator_file, held_out=whole.held_out)
    config = UtilityConfig(steps=1, disease=False, augmented=False)
    found = measure_utility(subject, config, silent)["private"]["real"]
    assert found["patients"] == 8
    assert found["function"]["lv_edv_ml"]["patients"] == 7
    assert found["function"]["left_out"] == {"without_both_phases": 0, "partly_labelled": 1}


def test_nothing_is_measured_without_labels_or_on_a_single_patient(generator_file):
    whole = subject_of(generator_file)
    nobody = whole.learnt.take(np.empty(0, np.int64))
    assert measure_utility(subject_of(generator_file, learnt=nobody), UtilityConfig(), silent) == {}
    one = whole.held_out.subset(whole.held_out.patient_names[:1])
    assert measure_utility(subject_of(generator_file, held_out=one), UtilityConfig(), silent) == {}


def test_a_network_that_cannot_take_the_slices_is_named_before_anything_is_trained(generator_file):
    small = {name: cohort(patients(1, 0), 0, size=24) for name in ("train", "held_out", "learnt")}
    config = UtilityConfig(backbones=("unet", "dynunet"))
    with pytest.raises(UserError, match=r"dynunet takes slices whose sides are multiples of 16, found 24"):
        measure_utility(subject_of(generator_file, **small), config, silent)


def test_the_same_seed_gives_the_same_results(subject, measured):
    config = UtilityConfig(steps=2, augmented=False, disease=False)
    again = measure_utility(subject, config, silent)
    assert again["private"]["mixed"] == measured["private"]["mixed"]
