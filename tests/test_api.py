"""The verbs for Python import nothing before they are asked for, and name what cannot be done."""

import subprocess
import sys

import numpy as np
import pytest
from composed import composed_run
from PIL import Image

import cmrfed
from cmrfed.config import UserError


def test_words_make_the_configuration_that_the_command_line_makes_of_them():
    words = ["recipe=distributed", "privacy.target_epsilon=2", "data=mnms", "data.root=/data/a, b"]
    assert cmrfed.configure(*words) == composed_run("simulate", *words)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("-m", "-m: is an option of the command line"),
        ("sede=3", "sede"),
        ("data=mnms", "data.root: has no value"),
        ("privacy.sample_rate=2", "privacy.sample_rate: Input should be less than or equal to 1"),
    ],
)
def test_a_wrong_word_is_named(word, said):
    with pytest.raises(UserError, match=said):
        cmrfed.configure(word)


def test_the_same_masks_conditions_and_seed_give_the_same_images(finished_tiny_run):
    masks = finished_tiny_run.held_out_slices().masks[:3]
    first, again, other, elsewhere = (
        cmrfed.sample(finished_tiny_run, masks, seed=seed, vendor=vendor)
        for seed, vendor in ((1, "GE"), (1, "GE"), (2, "GE"), (1, np.array(["GE", "GE", "Siemens"])))
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    np.testing.assert_allclose(elsewhere[:2], first[:2], atol=1e-5)
    file = finished_tiny_run.arm_folder("private") / "model.safetensors"
    np.testing.assert_array_equal(cmrfed.sample(file, masks, seed=1, vendor="GE"), first)


@pytest.mark.parametrize(
    ("size", "told", "said"),
    [
        (16, {"vendr": "GE"}, "vendr: is no condition; did you mean vendor"),
        (8, {}, r"masks: are of \(8, 8\) pixels, and the generator draws \(16, 16\)"),
        (16, {"arm": "best"}, "arm: 'best' is none of this run's"),
    ],
)
def test_what_cannot_be_drawn_is_said(finished_tiny_run, size, told, said):
    with pytest.raises(UserError, match=said):
        cmrfed.sample(finished_tiny_run, np.zeros((1, size, size), np.uint8), **told)


def test_rows_are_shown_in_colours_and_in_grey_and_must_be_of_one_length():
    masks, images = np.ones((2, 8, 8), np.uint8), np.zeros((2, 8, 8), np.float32)
    page = np.asarray(cmrfed.show(mask=masks, image=images).convert("RGB")).astype(int)
    above, below = page[len(page) // 10 : len(page) * 4 // 10], page[len(page) * 7 // 10 :]
    assert np.ptp(above, axis=2).max() > 50 and np.ptp(below, axis=2).max() == 0
    with pytest.raises(UserError, match="as many slices each"):
        cmrfed.show(mask=masks, image=images[:1])
    assert isinstance(cmrfed.show(image=images), Image.Image)


def test_importing_the_package_imports_nothing_heavy_and_lists_its_verbs():
    code = "import cmrfed, sys; print({'numpy', 'torch', 'flwr'} & set(sys.modules), 'federate' in dir(cmrfed))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set() True\n"
    with pytest.raises(AttributeError, match="no attribute 'fedrate'"):
        cmrfed.fedrate  # noqa: B018
