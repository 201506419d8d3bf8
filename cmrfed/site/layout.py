"""A site's home as it is laid out: its key, its slices, and a policy that lets one run through and no more."""

from collections.abc import Mapping
from pathlib import Path

from omegaconf import OmegaConf

from cmrfed.config import RunConfig
from cmrfed.privacy.secure_aggregation import Identity
from cmrfed.site.division import TRAINED_ON
from cmrfed.site.policy import SitePolicy, default_ledger
from cmrfed.slices import Slices


def identity_of(home: Path) -> Identity:
    """The site's key: made once, and kept."""
    path = home / "identity.pem"
    return Identity.load(path) if path.exists() else Identity.create(path)


def lay_out_homes(folder: Path, sites: Mapping[str, Slices], config: RunConfig) -> None:
    """Write `folder`/NAME for each site, with all of its slices to train on; the sites know one another's keys."""
    peers = {name: identity_of(folder / name).public for name in sites}
    for name, slices in sites.items():
        slices.save(folder / name / TRAINED_ON)
        OmegaConf.save(policy_for(config, name, peers), folder / name / "site.yaml")


def policy_for(config: RunConfig, name: str, peers: Mapping[str, str]) -> dict[str, object]:
    """What a site has to allow for this run, as site.yaml holds it.

    What real patients spend in simulations adds up in this account's one ledger, and no total keeps an experiment from
    being made; the phantom's hearts are nobody's, and every run has a ledger of its own for them.
    """
    privacy = config.privacy
    nobody = set(config.data.sources) == {"phantom"}
    return {
        "name": name,
        "ledger": "../../ledger/ledger.sqlite" if nobody else str(default_ledger()),
        "execution": config.training.execution.model_dump(mode="json"),
        "noise": ["distributed" if privacy.mode == "distributed" else "local"],
        "minimum_noise_multiplier": privacy.noise_multiplier
        or SitePolicy.model_fields["minimum_noise_multiplier"].default,
        "peers": dict(peers),
        "maximum_epsilon": float("inf"),
        "maximum_delta": min(2 * privacy.delta, 0.5),
        "maximum_steps": max(config.federation.rounds * config.training.local_steps, 10_000),
        "minimum_patients": privacy.minimum_patients,
        "minimum_sites": 2,
        "minimum_colluders": privacy.colluders,
        "allow_seeded_noise": privacy.seed is not None,
        "allow_without_privacy": privacy.mode == "none" or config.federation.arms == "all",
    }
