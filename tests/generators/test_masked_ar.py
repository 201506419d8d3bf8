"""What a place's flow learns, and that a sample is what it leads to."""

import pytest
import torch
from presets import batch_of, tiny_generator
from torch import nn

from cmrfed.config import SamplingConfig
from cmrfed.generators.masked import first_places

GRID, PLACES = (4, 4), 16


@pytest.fixture
def generator():
    return tiny_generator("masked_ar")


def drawn(generator, count=3):
    objective = generator.objective
    return objective.told(objective.drawn(batch_of(generator, count), torch.Generator().manual_seed(0)))


def test_seven_to_ten_of_ten_places_are_hidden(generator):
    counts = drawn(generator, 400).draws["count"]
    assert counts.min() >= 0.7 * PLACES and counts.max() == PLACES
    assert len(counts.unique()) == 5


def test_the_loss_is_the_flows_of_hidden_places_alone(generator):
    batch = drawn(generator)
    latents, noises, t = (batch.draws[name] for name in ("latents", "noises", "times"))
    hidden = first_places(batch.draws["order"], batch.draws["count"][:, None])
    known = generator.transformer(latents, ~hidden, batch.conditions)
    expected = []
    for row in range(3):
        missed = []
        for place in hidden[row].nonzero()[:, 0].tolist():
            x_1 = latents[row].flatten(1)[:, place]
            for time, noise in zip(t[row, :, place], noises[row, :, place], strict=True):
                x_t = time * x_1 + (1 - time) * noise
                v = generator.flow(x_t[None, None], time[None, None], known[row, place][None, None])[0, 0]
                missed.append((v - (x_1 - noise)).square().mean())
        expected.append(torch.stack(missed).mean())
    torch.testing.assert_close(generator.objective.losses(batch), torch.stack(expected))


def test_hidden_latents_are_not_looked_at(generator):
    batch = drawn(generator)
    latents, hidden = batch.draws["latents"], first_places(batch.draws["order"], batch.draws["count"][:, None])
    other = torch.where(hidden.unflatten(1, GRID)[:, None], latents + 1, latents)
    known, same = (generator.transformer(one, ~hidden, batch.conditions) for one in (latents, other))
    assert torch.equal(known, same)


class Knowing(nn.Module):
    """A flow whose every place leads to one latent, and which keeps how many places it was asked about."""

    def __init__(self, latent):
        super().__init__()
        self.latent, self.asked = latent, []

    def forward(self, x_t, t, known):
        self.asked.append(x_t.shape[1])
        return (self.latent - x_t) / (1 - t[..., None])


@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_every_place_is_carried_once_to_where_its_flow_leads(generator, guidance):
    latent = torch.tensor([0.5, -1.0, 0.25, 2.0])
    generator.flow = Knowing(latent)
    conditions = batch_of(generator).conditions
    images = generator.sample(conditions, SamplingConfig(steps=5, guidance=guidance), torch.Generator().manual_seed(0))
    expected = generator.autoencoder.decode(latent[None, :, None, None].expand(3, -1, *GRID)).clamp(-1, 1)
    torch.testing.assert_close(images, expected, rtol=1e-3, atol=1e-4)
    branches = 1 if guidance == 1.0 else 2
    assert sum(generator.flow.asked) == 20 * branches * PLACES


def test_phenotypes_are_among_what_it_is_told(generator):
    assert {"edv", "esv", "ejection_fraction", "wall_thickness"} <= set(generator.config.conditions)
