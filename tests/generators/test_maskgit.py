"""How many tokens are hidden, what the loss is of, and how a sample is filled in."""

import math

import pytest
import torch
from presets import batch_of, tiny_generator

from cmrfed.config import SamplingConfig
from cmrfed.generators.masked import RowStreams, first_places, hidden_places

GRID = (4, 4)


@pytest.fixture(scope="module")
def generator():
    return tiny_generator("maskgit")


def drawn(generator, count=3, seed=0):
    objective = generator.objective
    return objective.told(objective.drawn(batch_of(generator, count), torch.Generator().manual_seed(seed)))


def test_so_many_are_hidden_as_the_cosine_says():
    assert [hidden_places(step / 8, 64) for step in range(9)] == [
        math.floor(64 * math.cos(math.pi * step / 16) + 1e-9) for step in range(9)
    ]
    assert hidden_places(0.0, 64) == 64 and hidden_places(1.0, 64) == 0


def test_in_training_at_least_one_is_hidden_and_on_average_two_of_three(generator):
    counts = drawn(generator, 600).draws["count"]
    assert counts.min() >= 1 and counts.max() <= 16
    assert counts.float().mean() / 16 == pytest.approx(2 / math.pi, abs=0.06)  # the mean of the cosine, rounded down


def test_the_loss_is_the_cross_entropy_of_hidden_tokens_which_are_not_looked_at(generator):
    batch = drawn(generator)
    tokens = batch.draws["tokens"]
    hidden = first_places(batch.draws["order"], batch.draws["count"][:, None])
    assert torch.equal(hidden.sum(1), batch.draws["count"])
    other_tokens = torch.where(hidden, (tokens + 1) % 240, tokens)
    logits, others = (generator.logits(one, ~hidden, GRID, batch.conditions) for one in (tokens, other_tokens))
    assert torch.equal(logits, others)
    missed = -logits.log_softmax(-1).gather(2, tokens[..., None])[..., 0]
    expected = torch.stack([row[where].mean() for row, where in zip(missed, hidden, strict=True)])
    torch.testing.assert_close(generator.objective.losses(batch), expected)


def test_every_place_sees_every_other(generator):
    conditions, tokens = batch_of(generator, 1).conditions, torch.zeros(1, 16, dtype=torch.int64)
    seen = torch.ones(1, 16, dtype=torch.bool)
    before = generator.logits(tokens, seen, GRID, conditions)
    for place in range(16):
        other = tokens.clone()
        other[0, place] = 239
        assert (generator.logits(other, seen, GRID, conditions) != before).any(dim=2).all()


def test_logits_are_guided_away_from_those_of_nothing(generator):
    batch, seen = batch_of(generator), torch.zeros(3, 16, dtype=torch.bool)
    tokens = torch.zeros(3, 16, dtype=torch.int64)
    none, once, thrice = (generator.logits(tokens, seen, GRID, batch.conditions, one) for one in (0.0, 1.0, 3.0))
    torch.testing.assert_close(thrice, none + 3 * (once - none))


def test_a_sample_of_a_row_is_its_own_whoever_is_drawn_with_it(generator):
    conditions = batch_of(generator, 5).conditions
    first = {name: one[:2] for name, one in conditions.items()}
    together, few = (
        generator.sample(some, SamplingConfig(steps=4), torch.Generator().manual_seed(0))
        for some in (conditions, first)
    )
    torch.testing.assert_close(together[:2], few, rtol=1e-4, atol=1e-5)
    rest = torch.Generator().manual_seed(0)
    RowStreams(2, rest, torch.device("cpu"))
    others = generator.sample({name: one[2:] for name, one in conditions.items()}, SamplingConfig(steps=4), rest)
    torch.testing.assert_close(together[2:], others, rtol=1e-4, atol=1e-5)


def test_what_gumbel_noise_draws_has_the_logits_shares():
    shares = torch.tensor([0.6, 0.3, 0.1])
    streams = RowStreams(2, torch.Generator().manual_seed(0), torch.device("cpu"))
    chosen = (shares.log() + streams.gumbel((5000, 3))).argmax(dim=2)
    for row in chosen:
        torch.testing.assert_close(torch.bincount(row, minlength=3) / 5000, shares, atol=0.03, rtol=0)
