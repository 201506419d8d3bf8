"""Rules that join the sites' updates into one, each with its stated sensitivity, which `cmrfed.members` lists; and what
a server makes of the joined update: how much of it is believed, and by which optimizer it moves the weights."""

from cmrfed.aggregation.rule import fewest_updates, join
from cmrfed.aggregation.server_optimizer import Moments, server_step
from cmrfed.aggregation.shrinkage import shrunk

__all__ = ["Moments", "fewest_updates", "join", "server_step", "shrunk"]
