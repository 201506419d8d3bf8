"""A model that is trained one part after the other: each round trains one part, and all belong to one plan."""

import torch
from conftest import toy_plan, toy_slices
from torch import nn

from cmrfed.config import GeneratorConfig, SamplingConfig, TrainingConfig
from cmrfed.generators import Generator, Objective
from cmrfed.privacy import epsilon
from cmrfed.sampling import synthesise
from cmrfed.training import LocalTask, train

TRAINING = TrainingConfig(local_steps=1, optimizer="sgd", learning_rate=0.1, slices_per_patient=1, precision="fp32")


class Part(Objective):
    """A number that the mean of an image is compared with."""

    def __init__(self, model, name, stage):
        self.model, self.name, self.stage = model, name, stage

    def weights(self):
        yield getattr(self.model, self.name)

    def drawn(self, batch, random):
        return batch

    def losses(self, batch):
        return (batch.images.flatten(1).mean(1) - getattr(self.model, self.name)).square()


class TwoStages(Generator):
    def __init__(self, config):
        super().__init__(config)
        self.first, self.second = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))

    @property
    def objectives(self):
        return Part(self, "first", 0), Part(self, "second", 1)

    def sample(self, conditions, sampling, random):
        """Images of one grey, the mean of both parts."""
        grey = (self.first.detach() + self.second.detach()) / 2
        return grey.clamp(-1, 1).expand(len(conditions["mask"]), 1, *conditions["mask"].shape[1:])


def test_rounds_are_divided_over_the_stages_in_order():
    model = TwoStages(GeneratorConfig())
    assert model.stages == 2
    assert [model.enter(round, 5).stage for round in range(1, 6)] == [0, 0, 0, 1, 1]


def test_a_round_moves_the_weights_of_its_stage_alone_and_every_round_is_the_same_event():
    model, plan = TwoStages(GeneratorConfig()), toy_plan(steps=2, seed=1)
    runs = []
    for round, name in ((1, "first"), (2, "second")):
        task = LocalTask(training=TRAINING, plan=plan, round=round, rounds=2)
        runs.append(train(model, toy_slices([2, 2, 2]), task))
        assert set(runs[-1].update) == {name}
    assert runs[0].event == runs[1].event == plan.event(1)
    images = synthesise(model, toy_slices([2, 2, 2]), SamplingConfig(), 0, "cpu", "fp32").images
    learnt = float(model.first + model.second) / 2
    assert learnt < 1.0 and abs(images - learnt).max() < 1e-6
    whole = epsilon([plan.event(plan.steps)], plan.delta)
    assert abs(epsilon([run.event for run in runs], plan.delta) - whole) < 1e-6 * whole
