"""One patient changes the summed gradients by at most C, and the sum is what plain autograd says it is."""

import copy
import math
from dataclasses import fields
from functools import partial

import pytest
import torch
from conftest import toy_slices
from hypothesis import given, settings
from hypothesis import strategies as st
from opacus.grad_sample import GradSampleModule
from torch import nn
from toy_batches import PATHS

from cmrfed.batches import joined
from cmrfed.config import AdaptiveClipping, GeneratorConfig, TrainingConfig
from cmrfed.generators import build_generator
from cmrfed.privacy import (
    Clipping,
    SeededRandom,
    clipped_gradient_sum,
    looped_gradients,
    places_are_alike,
    vmapped_gradients,
)
from cmrfed.slices import Slices
from cmrfed.training import mean_loss, patient_batch, private, trained_weights
from cmrfed.training.private import clipped_sum

CPU = torch.device("cpu")
RULES = [
    Clipping(max_grad_norm=0.7),
    Clipping(max_grad_norm=0.7, rule="automatic"),
    Clipping(max_grad_norm=0.7, rule="per_layer"),
    Clipping(max_grad_norm=0.7, adaptive=AdaptiveClipping(share=0.3, quantile=0.8)),
]
NEEDED = {"multicontrast": {"conditions": ("mask", "vendor", "source_image")}}
"""What a family cannot do without."""
every_rule = pytest.mark.parametrize("clipping", RULES, ids=["norm", "automatic", "per_layer", "adaptive"])


def two_weights(gradients):
    """Weights of 1 and 2 entries, and losses whose gradients are the rows."""
    weights = [nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(2))]

    def loss(row):
        return (weights[0] * row[:1]).sum() + (weights[1] * row[1:]).sum()

    return weights, [partial(loss, row) for row in gradients]


def summed(rows, clipping):
    weights, losses = two_weights(torch.as_tensor(rows, dtype=torch.float32).reshape(-1, 3))
    return clipped_gradient_sum(weights, looped_gradients(weights, losses), clipping)


def summed_together(rows, clipping):
    """The same from all patients at once, as vmap gives them."""
    weights, _ = two_weights([])
    rows = torch.as_tensor(rows, dtype=torch.float32).reshape(-1, 3)
    return clipped_gradient_sum(weights, [(rows[:, :1], rows[:, 1:])] if len(rows) else [], clipping)


gradient_rows = st.lists(
    st.lists(st.floats(-1e6, 1e6, width=32) | st.sampled_from([math.nan, math.inf, -math.inf]), min_size=3, max_size=3),
    min_size=0,
    max_size=6,
)


@every_rule
@pytest.mark.parametrize("way", [summed, summed_together])
@given(rows=gradient_rows, extra=gradient_rows.filter(lambda rows: len(rows) >= 1))
@settings(deadline=None, max_examples=60)
def test_one_patient_more_or_less_moves_the_sum_by_at_most_c(way, clipping, rows, extra):
    without, with_one = way(rows, clipping), way([*rows, extra[0]], clipping)
    assert without.isfinite().all()
    assert with_one.isfinite().all()
    assert torch.linalg.vector_norm(with_one - without) <= clipping.max_grad_norm


@given(count=st.integers(1, 60), scale=st.floats(0.01, 1e4))
@settings(deadline=None, max_examples=15)
def test_no_number_of_slices_lifts_a_patient_above_c(count, scale):
    training = TrainingConfig(slices_per_patient=count, precision="fp32")
    generator = build_generator(GeneratorConfig(channels=(4, 4), norm_groups=2, trainable="all"), seed=0)
    slices, clipping = toy_slices([count]), Clipping(max_grad_norm=0.3)
    weights = list(generator.parameters())
    batch = patient_batch(generator.objective, slices, 0, training, SeededRandom(1), CPU)
    gradients = looped_gradients(weights, [lambda: scale * mean_loss(generator.objective, batch, training, CPU)])
    assert torch.linalg.vector_norm(clipped_gradient_sum(weights, gradients, clipping)) <= clipping.max_grad_norm


class DoubleSlices(Slices):
    """Slices that come in double precision."""

    def batch(self, indices, device="cpu"):
        batch = super().batch(indices, device)
        return batch._replace(images=batch.images.double())


def in_double(slices):
    return DoubleSlices(**{f.name: getattr(slices, f.name) for f in fields(slices)})


def stirred_generator(config):
    """A generator whose weights are all away from zero, so that every gradient counts."""
    generator = build_generator(config, seed=0)
    for weight in generator.parameters():
        nn.init.normal_(weight, std=0.2, generator=torch.Generator().manual_seed(1))
    return generator


def batches(generator, slices, training):
    random = SeededRandom(5)
    return [
        patient_batch(generator.objective, slices, p, training, random, CPU) for p in range(slices.number_of_patients)
    ]


def reference_sum(generator, slices, training, clip):
    """One backward a patient in fp64 on a copy of the network; `clip` takes the patient's gradients by weight."""
    model = copy.deepcopy(generator).double()
    total = 0
    for batch in batches(model, in_double(slices), training):
        model.zero_grad()
        model(batch).mean().backward()
        total = total + clip([weight.grad for weight in model.parameters() if weight.requires_grad])
    return total


def by_norm(gradients, C=0.05):
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    assert flat.norm() > C, "a patient that is not clipped would test less"
    return flat * C / flat.norm()


def by_layer(gradients, C=0.05):
    part = C / math.sqrt(len(gradients))
    return torch.cat([(g * part / (g.norm() + 0.01 * part)).flatten() for g in gradients])


@pytest.mark.parametrize("family", PATHS)
@pytest.mark.parametrize("trainable", ["all", "adaptation", "modulation", "directions"])
@pytest.mark.parametrize("path", ["loop", "vmap"])
def test_the_sum_equals_a_plain_loop_in_double_precision(family, trainable, path, tiny_generator_config, fp32_training):
    chosen = {"family": family, "trainable": trainable} | NEEDED.get(family, {})
    generator, slices = stirred_generator(tiny_generator_config.model_copy(update=chosen)), toy_slices([3, 1, 6])
    training = fp32_training.model_copy(update={"patient_gradients": path, "rows_at_once": 4})
    for rule, clip in (("norm", by_norm), ("per_layer", by_layer)):
        clipping = Clipping(max_grad_norm=0.05, rule=rule)
        found = clipped_sum(generator, iter(batches(generator, slices, training)), training, clipping, CPU)
        expected = reference_sum(generator, slices, training, clip)
        tolerance = 1e-5 if rule == "norm" else 1e-3  # some layers' gradients are rounding alone, and are scaled up
        assert torch.linalg.vector_norm(found - expected) <= tolerance * torch.linalg.vector_norm(expected)


@pytest.mark.filterwarnings("ignore:Full backward hook")
def test_where_opacus_is_right_its_per_sample_gradients_give_the_same_sum(tiny_generator_config, fp32_training):
    """One slice a patient, so that Opacus' samples are patients. Its hooks see a weight only where its own layer is
    called: the condition embeddings, whose generic row is read directly, they get wrong without a word."""
    training = fp32_training.model_copy(update={"slices_per_patient": 1})
    generator, slices = stirred_generator(tiny_generator_config), toy_slices([1, 1, 1, 1])
    generator.network.unet.class_embedding.requires_grad_(False)
    clipping = Clipping(max_grad_norm=0.05)
    found = clipped_sum(generator, iter(batches(generator, slices, training)), training, clipping, CPU)
    hooked = GradSampleModule(copy.deepcopy(generator), loss_reduction="sum")
    hooked(joined(batches(generator, slices, training))).sum().backward()
    samples = [weight.grad_sample.double().flatten(1) for weight in hooked.parameters() if weight.requires_grad]
    flat = torch.cat(samples, dim=1)
    expected = (flat * (0.05 / flat.norm(dim=1, keepdim=True)).clamp(max=1.0)).sum(0)
    assert torch.linalg.vector_norm(found - expected) <= 1e-5 * torch.linalg.vector_norm(expected)


class Autoencoder(nn.Module):
    """Where Opacus' hooks are silently wrong: strided convolutions on channels-last tensors, as in AutoencoderKL."""

    def __init__(self):
        super().__init__()
        from monai.networks.nets import AutoencoderKL

        self.net = AutoencoderKL(
            spatial_dims=2, in_channels=1, out_channels=1, channels=(4, 4), latent_channels=2, norm_num_groups=2,
            num_res_blocks=1, attention_levels=(False, False), with_encoder_nonlocal_attn=False,
            with_decoder_nonlocal_attn=False,
        )  # fmt: skip

    def forward(self, images):
        return self.net.decode(self.net.encode(images.contiguous(memory_format=torch.channels_last))[0])


@pytest.mark.parametrize("path", ["loop", "vmap"])
def test_the_sum_is_right_on_autoencoders_and_channels_last_where_hooks_are_not(path):
    torch.manual_seed(0)
    model = Autoencoder()
    images = torch.randn(3, 2, 1, 8, 8)
    weights, clipping = list(model.parameters()), Clipping(max_grad_norm=0.05)
    if path == "loop":
        losses = [partial(lambda rows: model(rows).square().mean(), rows) for rows in images]
        gradients = looped_gradients(weights, losses)
    else:
        model.forward = lambda images: model.net.decode(model.net.encode(images)[0])  # vmap knows no memory formats
        gradients = vmapped_gradients(model, lambda call, rows: call(rows).square().mean(), [(images,)], 3)
    found = clipped_gradient_sum(weights, gradients, clipping)
    double = copy.deepcopy(model).double()
    expected = 0
    for rows in images.double():
        double.zero_grad()
        double.net.decode(double.net.encode(rows)[0]).square().mean().backward()
        flat = torch.cat([w.grad.flatten() if w.grad is not None else w.flatten() * 0 for w in double.parameters()])
        expected = expected + flat * min(1, 0.05 / flat.norm())
    assert torch.linalg.vector_norm(found - expected) <= 1e-4 * torch.linalg.vector_norm(expected)


def test_in_bf16_the_clipped_sum_points_the_same_way_and_keeps_the_bound(tiny_generator_config, fp32_training):
    generator, slices = stirred_generator(tiny_generator_config), toy_slices([3, 2, 5, 4])
    sums = {}
    for precision in ("fp32", "bf16"):
        training = fp32_training.model_copy(update={"precision": precision})
        all_batches = iter(batches(generator, slices, training))
        sums[precision] = clipped_sum(generator, all_batches, training, Clipping(max_grad_norm=0.05), CPU)
    assert sums["bf16"].norm() <= 4 * 0.05
    assert torch.cosine_similarity(sums["fp32"], sums["bf16"], dim=0) > 0.99


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("path", ["loop", "vmap"])
@pytest.mark.parametrize("sampled", [1, 2, 3, 4, 6])
def test_who_else_is_sampled_changes_nothing_of_a_patients_contribution(
    path, precision, sampled, tiny_generator_config, fp32_training
):
    """Groups of four, full or not. A patient more moves the sum by that patient's own contribution and nothing else:
    what is left is rounding in double precision, far below the 1e-6 of C that clipping keeps in hand."""
    generator, clipping = stirred_generator(tiny_generator_config), Clipping(max_grad_norm=0.05)
    changes = {"patient_gradients": path, "precision": precision, "rows_at_once": 8}
    training = fp32_training.model_copy(update=changes)
    drawn = batches(generator, toy_slices([3] * (sampled + 1)), training)

    def clipped(some):
        return clipped_sum(generator, iter(some), training, clipping, CPU)

    everybody = clipped(drawn)
    for place in range(sampled + 1):
        own, others = clipped([drawn[place]]), clipped(drawn[:place] + drawn[place + 1 :])
        assert own.norm() <= clipping.max_grad_norm
        assert (everybody - others - own).norm() <= 1e-12 * clipping.max_grad_norm


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_patient_that_is_not_finite_leaves_its_group_as_it_was(precision, tiny_generator_config, fp32_training):
    generator, clipping = stirred_generator(tiny_generator_config), Clipping(max_grad_norm=0.05)
    changes = {"patient_gradients": "vmap", "precision": precision, "rows_at_once": 8}
    training = fp32_training.model_copy(update=changes)
    drawn = batches(generator, toy_slices([3] * 4), training)
    without = clipped_sum(generator, iter(drawn[:1] + drawn[2:]), training, clipping, CPU)
    drawn[1] = drawn[1]._replace(images=drawn[1].images * math.nan)
    assert torch.equal(clipped_sum(generator, iter(drawn), training, clipping, CPU), without)


class Meddling(nn.Module):
    """A network whose rounding depends on where in its group a patient is: the first is moved by a hair."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))

    def forward(self, rows):
        return (self.weight * rows).sum() * (1 + 1e-7 * Place.apply(rows))


class Place(torch.autograd.Function):
    """Zero for the first patient of a group under vmap, and one for the others."""

    generate_vmap_rule = False

    @staticmethod
    def forward(rows):
        return torch.zeros(())

    @staticmethod
    def setup_context(ctx, inputs, output):
        pass

    @staticmethod
    def vmap(info, in_dims, rows):
        return (torch.arange(info.batch_size) > 0).float(), 0


def test_a_device_that_rounds_by_place_or_neighbour_is_found_out():
    rows = [torch.rand(2, 3), torch.rand(2, 3)]
    plain = nn.Linear(3, 1)
    one, other = ([row] for row in rows)
    assert places_are_alike(plain, lambda call, rows: call(rows).sum(), one, other, together=4)
    assert not places_are_alike(Meddling(), lambda call, rows: call(rows), one, other, together=4)


def test_where_places_are_not_alike_patients_are_taken_one_by_one(monkeypatch, tiny_generator_config, fp32_training):
    generator = stirred_generator(tiny_generator_config)
    sums = {}
    for path, alike in (("loop", True), ("vmap", False)):
        monkeypatch.setattr(private, "_places_are_alike", lambda *_, alike=alike: alike)
        training = fp32_training.model_copy(update={"patient_gradients": path})
        drawn = batches(generator, toy_slices([3, 1, 6]), training)
        sums[path] = clipped_sum(generator, iter(drawn), training, Clipping(max_grad_norm=0.05), CPU)
    assert torch.equal(sums["loop"], sums["vmap"])


@every_rule
def test_a_patient_that_is_not_finite_adds_nothing_and_harms_nobody(clipping):
    good = [[0.3, 0.0, 0.1]]
    bad = [[math.nan, 1.0, 1.0], [math.inf, 0.0, 0.0], [3e38, 3e38, -math.inf]]
    for way in (summed, summed_together):
        assert torch.equal(way(good, clipping), way([*bad, *good], clipping))


def test_a_small_gradient_is_left_as_it_is():
    total = summed([[0.1, -0.2, 0.05]], Clipping(max_grad_norm=1.0))
    assert torch.allclose(total, torch.tensor([0.1, -0.2, 0.05], dtype=torch.float64), rtol=2e-6)


@pytest.mark.parametrize("rule", ["automatic", "per_layer"])
def test_scaling_rules_bring_small_and_large_patients_near_c(rule):
    for size in (0.3, 30.0, 3000.0):
        total = summed([[size, size, size]], Clipping(max_grad_norm=1.0, rule=rule))
        assert 0.9 < torch.linalg.vector_norm(total) <= 1


def test_an_empty_draw_gives_zero():
    assert torch.equal(summed([], Clipping(max_grad_norm=1.0)), torch.zeros(3, dtype=torch.float64))


def test_weights_a_loss_does_not_reach_get_zero():
    used, unused = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(3))
    (found,) = looped_gradients([used, unused], [lambda: used.sum()])
    assert [part.tolist() for part in found] == [[[1, 1]], [[0, 0, 0]]]


def test_memory_does_not_grow_with_the_patients(tiny_generator_config, fp32_training):
    """Batches are made one at a time and let go: never two chunks alive."""
    generator, slices = build_generator(tiny_generator_config, 0), toy_slices([2] * 12)
    training = fp32_training.model_copy(update={"patient_gradients": "vmap", "rows_at_once": 4})
    made, random = [], SeededRandom(0)

    def counted():
        for patient in range(12):
            made.append(patient)
            yield patient_batch(generator.objective, slices, patient, training, random, CPU)

    pulled = []

    class Spy(Clipping):
        def contribution(self, norms):
            pulled.append((len(norms), len(made)))
            return super().contribution(norms)

    clipped_sum(generator, counted(), training, Spy(max_grad_norm=1.0), CPU)
    assert pulled == [(2, 2 * (chunk + 1)) for chunk in range(6)]
    assert trained_weights(generator)
