"""What every generator is: objectives by which it learns, in stages, and samples for conditions.

An objective is one loss of one set of weights. Where patients' data touch it, it is trained at the sites, and with
privacy each patient's gradient by these weights is clipped, summed and noised; nothing else of the site enters the
weights. An objective that no patient's data touch (a GAN's generator against its discriminator, a distillation on a
model's own samples) is post-processing of what was paid for already: it runs where it is cheapest, at the coordinator,
and costs no epsilon.

A model that is trained one part after the other has a stage for each. Rounds are divided over the stages in order, and
all belong to one plan: whatever its weights, a private step is the same event to the accountant. A part that comes
before the first round (a tokenizer that no patient is to touch) is trained on public patients, in pretraining, and then
stays as it is.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cmrfed.batches import Batch, Conditions
from cmrfed.config import GeneratorConfig, SamplingConfig, UserError
from cmrfed.shapes import Image


class Objective(ABC):
    """One loss, and the weights that it trains.

    name: unique within the generator. private: whether patients' data touch it. stage: counted from 0; each stage has
    one private objective, whose step is the mechanism, and any number of others; None is before the first round, where
    only public patients are. betas: Adam's, and pace: a factor of its learning rate, wherever the objective is trained
    in public.
    """

    name: str
    private: bool = True
    stage: int | None = 0
    betas: tuple[float, float] = (0.9, 0.999)
    pace: float = 1.0

    @abstractmethod
    def weights(self) -> Iterator[nn.Parameter]:
        """What it trains, each once."""

    @abstractmethod
    def drawn(self, batch: Batch, random: torch.Generator) -> Batch:
        """The batch with this objective's randomness in its draws; drawn on the CPU, so that a seed means the same
        anywhere."""

    def told(self, batch: Batch) -> Batch:
        """The same draws, but for those that hide conditions from the network: for losses that are to be compared."""
        return batch

    @abstractmethod
    def losses(self, batch: Batch) -> Float[Tensor, " batch"]:
        """The loss of each row of a batch that was `drawn`, the mean over its pixels; no row sees another."""


class Generator(nn.Module, ABC):
    """A generator of images in [-1, 1] for given conditions, the mask among them; slices or stacks, as its network is.

    It is told of the conditions that `generator.conditions` names, and of no others; of none, it is unconditional.

    draws_masks: whether a mask is drawn too, where none is given, so that one is honoured though it is no condition.

    The weights that `requires_grad` are those of the present stage's private objective: what a site trains and sends.
    """

    draws_masks: bool = False

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        self.stage = 0

    @property
    @abstractmethod
    def objectives(self) -> Sequence[Objective]:
        """In the order in which a step goes through them."""

    @abstractmethod
    def sample(self, conditions: Conditions, sampling: SamplingConfig, random: torch.Generator) -> Image:
        """Draw an image for each row of the conditions, on the mask's grid; decided by `random`, without gradients."""

    @property
    def stages(self) -> int:
        return 1 + max(one.stage for one in self.objectives if one.stage is not None)

    @property
    def objective(self) -> Objective:
        """What patients' data train in the present stage."""
        return next(one for one in self.objectives if one.stage == self.stage and one.private)

    def enter(self, round: int, rounds: int) -> "Generator":
        """Make ready for a round, counted from 1, of all: from here on its private objective's weights are trained."""
        self.stage = (round - 1) * self.stages // rounds
        self.requires_grad_(False)
        for weight in self.objective.weights():
            weight.requires_grad_(True)
        return self

    def forward(self, batch: Batch) -> Float[Tensor, " batch"]:
        """The losses of the present private objective: what torch's functional transforms call a module for."""
        return self.objective.losses(batch)


def refuse_batch_statistics(network: nn.Module) -> None:
    """Raise UserError if a layer mixes patients: batch norms read other examples, affine or not, tracked or not."""
    for name, module in network.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and not isinstance(
            module, nn.modules.instancenorm._InstanceNorm
        ):
            raise UserError(
                f"generator layer {name} is a {type(module).__name__}: it mixes patients in one statistic, so that "
                "clipping by patient promises nothing; use group norm"
            )


def refuse_stacks(config: GeneratorConfig) -> None:
    """Raise UserError where stacks are asked of a family that draws slices."""
    if config.levels > 1:
        raise UserError(f"generator.levels: family {config.family} draws slices: set it to 1 (found {config.levels})")
