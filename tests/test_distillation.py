"""A student of few steps is taught where its teacher of many goes, by nothing but masks and its teacher's images."""

from dataclasses import replace

import pytest
import torch
from conftest import toy_slices

from cmrfed.batches import joined
from cmrfed.config import PretrainingConfig, SamplingConfig, TrainingConfig
from cmrfed.generators import Parts, build_generator
from cmrfed.training import FewSteps, pretrain
from cmrfed.updates import read_weights, write_weights

SLICES = toy_slices([4, 4])


def pair(config, family="flow", **sampling):
    """Two generators of the same weights, not those at which a network begins, and what the one learns of the other."""
    config = config.model_copy(update={"family": family})
    teacher, student = (build_generator(config, seed=0) for _ in range(2))
    weights = {name: array + 0.05 for name, array in read_weights(teacher).items()}
    for generator in (teacher, student):
        write_weights(generator, weights)
    return teacher, student, FewSteps(student, teacher, 2, SamplingConfig(**sampling), "fp32")


def drawn(objective, rows=range(4), seed=3):
    return objective.drawn(SLICES.batch(rows), torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("family", ["flow", "ddpm", "edm"])
@pytest.mark.parametrize("guidance", [1.0, 1.5])
def test_each_lesson_leads_from_where_the_teacher_was_to_where_it_went(tiny_generator_config, family, guidance):
    """A student that saw these parts would draw, in two steps, what the teacher drew in twenty."""
    teacher, _, objective = pair(tiny_generator_config, family, steps=20, guidance=guidance)
    batch, path = drawn(objective), teacher.path
    times = path.sampling_times(2)
    first, last = batch.rows(0, 4), batch.rows(4, 8)
    assert torch.equal(batch.draws["times"], times.repeat_interleave(4))
    noises = path.corrupt(path_parts(first), first.draws["times"])
    reached = path.corrupt(path_parts(first), times[1].expand(4))
    torch.testing.assert_close(path.corrupt(path_parts(last), last.draws["times"]), reached, rtol=1e-3, atol=1e-4)
    if family == "flow":
        expected = teacher.denoise(noises, first.conditions, SamplingConfig(steps=20, guidance=guidance))
        torch.testing.assert_close(last.images, expected, rtol=1e-3, atol=1e-4)


def path_parts(batch):
    return Parts(batch.images, batch.draws["noises"])


def test_nothing_of_an_image_is_seen(tiny_generator_config):
    _, _, objective = pair(tiny_generator_config, steps=4)
    other = replace(SLICES, images=-SLICES.images[:])
    found = [objective.drawn(slices.batch(range(4)), torch.Generator().manual_seed(1)) for slices in (SLICES, other)]
    for one, two in zip(found[0].map(torch.clone), found[1], strict=True):
        for a, b in zip(values(one), values(two), strict=True):
            assert torch.equal(a.nan_to_num(-7), b.nan_to_num(-7))


def values(part):
    return [part] if isinstance(part, torch.Tensor) else list(part.values())


def test_every_scanner_and_none_is_asked_for_and_a_style_only_of_none(tiny_generator_config):
    _, _, objective = pair(tiny_generator_config, steps=2)
    many = joined([drawn(objective, range(8), seed) for seed in range(20)])
    vendors, styles = many.conditions["vendor"], many.conditions["style"]
    assert set(vendors.tolist()) == {0, 1, 2, 3, 4}
    assert 0.5 < float((vendors == 4).float().mean()) < 0.7, "half, and a fifth of the rest"
    assert styles.isnan().all(), "these slices have none"


def test_a_student_comes_nearer_to_its_teachers_images_and_the_teacher_stays(tiny_generator_config):
    teacher, student, objective = pair(tiny_generator_config, steps=8)
    before = read_weights(teacher)

    def patients(first):
        return (toy_slices([4], seed=seed) for seed in range(first, 10**6))

    def distance(generator):
        batch = SLICES.batch(range(8))
        noises = torch.randn(batch.images.shape, generator=torch.Generator().manual_seed(5))
        with torch.no_grad():
            few = generator.denoise(noises, batch.conditions, SamplingConfig(steps=2))
            return float((few - teacher.denoise(noises, batch.conditions, SamplingConfig(steps=8))).square().mean())

    start = distance(student)
    settings = PretrainingConfig(steps=40, batch_size=4, mixed_slices=8, learning_rate=5e-3, ema_decay=0.9)
    found = pretrain(
        student, patients, settings, TrainingConfig(precision="fp32", device="cpu"), 0, objectives=[objective]
    )
    write_weights(student, found.weights)
    assert distance(student) < 0.5 * start
    assert all((before[name] == array).all() for name, array in read_weights(teacher).items())
