"""The averaged weights of a pretraining, computed again from what its weights were after each step."""

from cmrfed.config import TrainingConfig
from cmrfed.training import pretrain
from cmrfed.updates import read_weights


def averages_by_hand(generator, patients, config, stage_of):
    """(What pretraining gave; what it must have given; the last weights). stage_of: which stage trains each weight, of
    stages of equal length; of each weight it is the average over the steps of its own."""
    seen = [read_weights(generator)]
    found = pretrain(
        generator, patients, config, TrainingConfig(precision="fp32"), 0,
        progress=lambda done, total: seen.append(read_weights(generator)) if done else None,
    )  # fmt: skip
    expected = {name: array.astype(float) for name, array in seen[0].items()}
    steps = config.steps // (1 + max(stage_of.values()))
    for name, stage in stage_of.items():
        for done in range(steps):
            decay = min(config.ema_decay, (1 + done) / (10 + done))
            after = seen[stage * steps + done + 1][name]
            expected[name] = decay * expected[name] + (1 - decay) * after
    return found.weights, expected, seen[-1]
