"""What a server asks of a site for one round."""

import hashlib

from pydantic import Field

from cmrfed.config import GeneratorConfig, MessageConfig, Stage
from cmrfed.training import LocalTask
from cmrfed.updates import Weights


class Request(Stage):
    """A server's request for one round of one run, apart from the weights; the same for every site.

    `weights` is the SHA-256, hex, of all the weights to train from, of which those alone are sent that a site has not
    from the run's last request (`Home.whole_weights`); None where all are sent. `messages` is how the update is sent.
    """

    run: str = Field(min_length=1, max_length=200)
    generator: GeneratorConfig
    task: LocalTask
    messages: MessageConfig = MessageConfig()
    weights: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")

    def for_site(self, number: int) -> "Request":
        """The same request at the site of that number (`SitePolicy.number`)."""
        return self.model_copy(update={"task": self.task.model_copy(update={"site": number})})

    @property
    def digest(self) -> str:
        """SHA-256, hex, of what every site is asked alike: what they hold each other to under secure aggregation."""
        return hashlib.sha256(self.for_site(0).model_dump_json().encode()).hexdigest()


def digest(text: str, weights: Weights) -> str:
    """SHA-256, hex, of a text and weights: a request with what it starts from, or that digest with the answer."""
    found = hashlib.sha256(text.encode())
    for name in sorted(weights):
        found.update(name.encode() + weights[name].tobytes())
    return found.hexdigest()
