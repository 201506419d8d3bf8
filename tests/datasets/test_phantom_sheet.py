"""The picture of the phantom: one slice a stack, in the colours of every picture, masks above what was made of them."""

from pathlib import Path

import numpy as np
from PIL import Image

from benches.phantom_sheet import draw, one_slice_a_stack
from cmrfed.config import GeneratorConfig, PreprocessingConfig
from cmrfed.generators import build_generator
from cmrfed.preparation import phantom_slices
from cmrfed.updates import read_weights, save_generator


def test_one_slice_is_shown_of_every_stack_and_it_lies_a_third_of_the_way_from_the_base() -> None:
    slices = phantom_slices(2, 3, PreprocessingConfig(size=16))
    shown = one_slice_a_stack(slices)
    np.testing.assert_array_equal(shown.stacks, np.unique(slices.stacks))
    first = np.flatnonzero(slices.stacks == 0)
    np.testing.assert_array_equal(shown.masks[0], slices.masks[first[len(first) // 3]])


def test_a_generator_s_images_stand_below_the_phantoms_and_the_picture_is_a_readable_file(tmp_path: Path) -> None:
    config = GeneratorConfig(channels=(8, 16), norm_groups=4)
    generator = build_generator(config, seed=0)
    weights, grid = tmp_path / "weights.safetensors", PreprocessingConfig(size=16).model_dump(mode="json")
    save_generator(weights, generator, read_weights(generator), preprocessing=grid)
    figures = [draw(source, hearts=1, seed=0, size=16) for source in (None, str(weights))]
    assert [len(figure.axes) for figure in figures] == [2 * 2, 3 * 2]
    assert figures[1].axes[4].get_ylabel() == config.family
    figures[1].savefig(tmp_path / "sheet.png")
    assert Image.open(tmp_path / "sheet.png").width > 100
