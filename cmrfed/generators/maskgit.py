"""MaskGIT (Chang et al. 2022, arXiv:2202.04200): an image as tokens, of which hidden ones are told from the others.

In training so many tokens are hidden as the cosine schedule has at a uniform time, and the loss is the cross entropy of
those. A sample begins with all hidden, and is filled in over `sampling.steps` rounds: each hidden token is drawn, and
those are kept of which the network is surest, with Gumbel noise that grows less from round to round.

Bubeck et al. 2025 ("Reconstruct or generate: exploring the spectrum of generative modeling for cardiac MRI") compare
such models with diffusion. Ours: tokens are of finite scalar quantisation and enter and leave by their codes, so
that neighbouring levels are alike; the mask of the heart is told place by place.
"""

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from cmrfed.batches import Batch, Conditions, nothing_of
from cmrfed.config import GeneratorConfig, SamplingConfig
from cmrfed.generators.contract import Generator, Objective, refuse_stacks
from cmrfed.generators.hiding import draw_hidden, told_conditions, with_nothing_hidden
from cmrfed.generators.masked import MaskedTransformer, Places, RowStreams, Seen, first_places, hidden_places
from cmrfed.generators.tokenizer import FSQ, Autoencoder, Tokenizing, Tokens, quantiser
from cmrfed.shapes import Image, at_least_single

CHOICE_TEMPERATURE = 4.5
"""Of the noise by which tokens are kept, in the first round; the paper's."""

Logits = Float[Tensor, "batch place token"]


class TokenLogits(nn.Module):
    """Of each token by itself, and by its code, so that what is learnt of one also says something of its neighbours."""

    def __init__(self, quantiser: FSQ, width: int) -> None:
        super().__init__()
        self.quantiser = quantiser
        self.by_itself = nn.Linear(width, quantiser.size)
        self.of_code = nn.Sequential(nn.Linear(len(quantiser.levels), width), nn.GELU(), nn.Linear(width, width))

    def forward(self, known: Places) -> Logits:
        tokens = torch.arange(self.quantiser.size, device=known.device)[None]
        codes = self.quantiser.codes(tokens, (1, self.quantiser.size))[0, :, 0].T
        return self.by_itself(known) + known @ self.of_code(codes.to(known.dtype)).T


class MaskGIT(Generator):
    def __init__(self, config: GeneratorConfig) -> None:
        refuse_stacks(config)
        super().__init__(config)
        self.quantiser = quantiser(config)
        self.autoencoder = Autoencoder(config, self.quantiser)
        self.transformer = MaskedTransformer(config, self.autoencoder.channels, self.autoencoder.stride)
        self.out = TokenLogits(self.quantiser, self.transformer.width)

    @property
    def objectives(self) -> Sequence[Objective]:
        tokenizing = Tokenizing(self.autoencoder)
        return tokenizing, Unmasking(self, after=tokenizing.stage)

    def logits(
        self, tokens: Tokens, seen: Seen, grid: Sequence[int], conditions: Conditions, guidance: float = 1.0
    ) -> Logits:
        """Of each place's token; with guidance, unconditional + guidance * (conditional - unconditional)."""
        codes = self.quantiser.codes(tokens, grid).to(next(self.parameters()).dtype)
        conditional = at_least_single(self.out(self.transformer(codes, seen, conditions)))
        if guidance == 1.0:
            return conditional
        unconditional = at_least_single(self.out(self.transformer(codes, seen, nothing_of(conditions))))
        return unconditional + guidance * (conditional - unconditional)

    @torch.no_grad()
    def sample(self, conditions: Conditions, sampling: SamplingConfig, random: torch.Generator) -> Image:
        masks = conditions["mask"]
        rows, grid = len(masks), self.autoencoder.grid(masks.shape[1:])
        streams, places = RowStreams(rows, random, masks.device), grid[0] * grid[1]
        tokens = torch.zeros(rows, places, dtype=torch.int64, device=masks.device)
        seen = torch.zeros(rows, places, dtype=torch.bool, device=masks.device)
        for progress in (step / sampling.steps for step in range(1, sampling.steps + 1)):
            logits = self.logits(tokens, seen, grid, conditions, sampling.guidance)
            drawn = (logits + streams.gumbel((places, self.quantiser.size))).argmax(dim=2)
            tokens = torch.where(seen, tokens, drawn)
            sure = logits.log_softmax(dim=2).gather(2, tokens[..., None])[..., 0]
            sure = sure + CHOICE_TEMPERATURE * (1 - progress) * streams.gumbel((places,))
            kept = torch.tensor(places - hidden_places(progress, places), device=masks.device)
            seen = first_places(-sure.masked_fill(seen, torch.inf), kept)
        return self.autoencoder.decode(self.quantiser.codes(tokens, grid).float()).clamp(-1, 1)


class Unmasking(Objective):
    """The cross entropy of hidden tokens, the mean over them."""

    name = "unmasking"

    def __init__(self, generator: MaskGIT, after: int | None) -> None:
        self.generator = generator
        self.stage = 0 if after is None else after + 1

    def weights(self) -> Iterator[nn.Parameter]:
        yield from self.generator.transformer.parameters()
        yield from self.generator.out.parameters()

    def drawn(self, batch: Batch, random: torch.Generator) -> Batch:
        generator = self.generator
        with torch.no_grad():
            tokens = generator.quantiser.tokens(generator.autoencoder.encode(batch.images))
        draws = {
            "tokens": tokens,
            "count": _counts(torch.rand(batch.size, generator=random), tokens.shape[1]),
            "order": torch.rand(tokens.shape, generator=random),
            **draw_hidden(generator.config, batch.size, random),
        }
        return batch._replace(draws=draws).to(batch.images.device)

    def told(self, batch: Batch) -> Batch:
        return with_nothing_hidden(batch)

    def losses(self, batch: Batch) -> Float[Tensor, " batch"]:
        tokens, grid = batch.draws["tokens"], self.generator.autoencoder.grid(batch.images.shape[2:])
        seen = ~first_places(batch.draws["order"], batch.draws["count"][:, None])
        logits = self.generator.logits(tokens, seen, grid, told_conditions(batch))
        missed = F.cross_entropy(logits.transpose(1, 2), tokens, reduction="none")
        return (missed * ~seen).sum(1) / (~seen).sum(1)


def _counts(progress: Float[Tensor, " batch"], places: int) -> Tensor:
    """How many places are hidden so far on, at least one."""
    return torch.tensor([max(1, hidden_places(one, places)) for one in progress.tolist()])
