"""How conditions enter a network: by their kind, each unknown in its own way."""

import math
from itertools import pairwise

import pytest
import torch

from cmrfed.conditions import CONDITIONS, UNLABELLED
from cmrfed.config import GeneratorConfig
from cmrfed.generators import build_generator
from cmrfed.generators.encoders import DenseEncoder, GlobalEncoder, NumberEncoder, PointEncoder, has_learnt

WIDTH = 6


def moved(encoder):
    """The encoder after it learnt something, whatever."""
    with torch.no_grad():
        for weight in encoder.parameters():
            weight.normal_(generator=torch.Generator().manual_seed(weight.numel()))
    return encoder


@pytest.mark.parametrize(
    ("encoder", "known", "unknown"),
    [
        (NumberEncoder(0.0, 120.0, WIDTH), torch.tensor([50.0]), torch.tensor([math.nan])),
        (PointEncoder(3, WIDTH), torch.tensor([[0.1, 0.9, 0.5]]), torch.full((1, 3), math.nan)),
    ],
)
def test_what_is_unknown_adds_nothing_and_what_is_known_does(encoder, known, unknown):
    assert not encoder(known).any(), "before anything is learnt"
    encoder = moved(encoder)
    assert encoder(known).all()
    assert not encoder(unknown).any()
    both = encoder(torch.cat([unknown, known]))
    torch.testing.assert_close(both[1:], encoder(known))


def test_a_place_between_two_looks_is_a_look_between_them():
    """A step of a hundredth moves the embedding by about a hundredth of what the whole way does."""
    encoder = moved(PointEncoder(28, WIDTH))
    start, end = torch.zeros(1, 28), torch.ones(1, 28)
    with torch.no_grad():
        way = [encoder(start + share * (end - start)) for share in torch.linspace(0, 1, 101)]
    steps = torch.stack([(after - before).norm() for before, after in pairwise(way)])
    assert float(steps.max()) < 0.1 * float(steps.sum())


def test_a_condition_that_is_not_named_is_unknown():
    encoder = moved(GlobalEncoder(("mask", "vendor", "age", "style"), WIDTH))
    vendor = torch.tensor([0, 3])
    all_named = {"vendor": vendor, "age": torch.full((2,), math.nan), "style": torch.full((2, 28), math.nan)}
    torch.testing.assert_close(encoder({"vendor": vendor}), encoder(all_named))
    nothing = {"mask": torch.zeros(2, 4, 4), "vendor": torch.tensor([4, 4])}
    torch.testing.assert_close(encoder({"mask": nothing["mask"]}), encoder(nothing))


def test_a_value_that_nobody_taught_is_the_unknown_one_and_said_to_be():
    network = torch.nn.ModuleList([GlobalEncoder(("vendor", "pathology"), WIDTH)])
    with torch.no_grad():
        network[0].get_submodule("pathology").weight[[1, -1]] = 0.5  # DCM, and what is common to all
    assert has_learnt(network, "pathology", "DCM") and not has_learnt(network, "pathology", "FALL")
    dcm, fallot, unknown = (
        network[0]({"pathology": torch.tensor([CONDITIONS["pathology"].read(value)])})
        for value in ("DCM", "FALL", "unknown")
    )
    torch.testing.assert_close(fallot, unknown)
    assert not torch.allclose(dcm, unknown)


def test_a_site_adapts_what_values_mean_and_not_the_space_of_looks():
    embedding = GlobalEncoder(("mask", "vendor", "age", "style"), WIDTH)
    own = {id(weight) for weight in embedding.embeddings()}
    assert own == {id(weight) for name in ("vendor", "age") for weight in getattr(embedding, name).parameters()}
    generator = build_generator(GeneratorConfig(trainable="modulation"), seed=0)
    assert not any("style" in name for name, weight in generator.named_parameters() if weight.requires_grad)


@pytest.mark.parametrize("value", [None, "0.5", [0.5], [0.5] * 27 + [1.5], [0.5] * 27 + [math.nan], 0.5, ["x"] * 28])
def test_what_is_no_point_of_the_space_is_unknown(value):
    assert math.isnan(CONDITIONS["style"].read(value))


@pytest.mark.parametrize("grid", [(8, 12), (3, 8, 12)])
def test_a_mask_loses_nothing_on_the_coarser_grid_of_latents(grid):
    """Every pixel's label is one of the channels of its place; nothing where it is unlabelled."""
    masks = torch.randint(0, 4, (2, *grid), generator=torch.Generator().manual_seed(0))
    masks[..., 0] = UNLABELLED
    encoder = DenseEncoder(["mask", "vendor"], 0, stride=4)
    (channels,) = encoder({"mask": masks}, (*grid[:-2], 2, 3))
    assert channels.shape == (2, encoder.channels, *grid[:-2], 2, 3) and encoder.channels == 64
    for row, column in ((0, 0), (5, 7), (7, 11)):
        place = channels[..., row // 4, column // 4].unflatten(1, (4, 4, 4))[:, :, row % 4, column % 4]
        shown = torch.where(place.any(1), place.argmax(1), UNLABELLED)
        assert torch.equal(shown, masks[..., row, column])
