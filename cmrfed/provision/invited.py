"""Which sites a coordinator has invited, and which key each of them has: `sites.yaml` in the coordinator's folder."""

from pathlib import Path
from typing import Literal

import yaml
from pydantic import AwareDatetime, Field

from cmrfed.config import Stage, UserError, read_stage_yaml
from cmrfed.core import atomic
from cmrfed.provision.description import SiteName, same_name
from cmrfed.provision.fingerprint import same_fingerprint
from cmrfed.provision.node_key import NodeKey, read_node_key


class OpenInvitation(Stage):
    """The secret of an invitation that was not answered yet, and until when it may be."""

    code: str = Field(repr=False)
    expires: AwareDatetime


class InvitedSite(Stage):
    """One site.

    state: invited, until its key is known; registered, while its node may connect; revoked.
    invitation: the one that is open, if one is.
    public_key: what the node is known by, kind and key as OpenSSH has them; fingerprint: its, for people.
    former_keys: keys that it had, which are never taken again.
    """

    state: Literal["invited", "registered", "revoked"]
    invitation: OpenInvitation | None = None
    public_key: str | None = None
    fingerprint: str | None = None
    former_keys: tuple[str, ...] = ()


class NodeSeen(Stage):
    """A site's node as the SuperLink knows it. `last_seen`: Unix time, s, until which it counted as connected; None:
    it never was."""

    connected: bool
    last_seen: float | None = None


class InvitedSites(Stage):
    """All of them by name, in the order in which they were invited. Every change is a new value."""

    version: Literal[1] = 1
    sites: dict[SiteName, InvitedSite] = Field(default_factory=dict)

    @property
    def admitted(self) -> dict[str, NodeKey]:
        """The keys of the nodes that may connect, by site."""
        return {
            name: read_node_key(site.public_key, name)
            for name, site in self.sites.items()
            if site.public_key and site.state == "registered"
        }

    def site(self, name: str) -> InvitedSite:
        """Raises UserError where nobody of that name was invited."""
        if name not in self.sites:
            raise UserError(f"site: nobody called {name!r} was invited; invited are {', '.join(self.sites) or 'none'}")
        return self.sites[name]

    def refuse_taken(self, name: str) -> None:
        """Raise UserError where a site of that name, or of one that a person takes for it, was invited before."""
        if taken := next((known for known in self.sites if same_name(known) == same_name(name)), None):
            raise UserError(
                f"site: {taken!r} was invited before; for a new invitation: cmrfed provision rotate site={taken!r}"
            )

    def with_site(self, name: str, **changes: object) -> "InvitedSites":
        """With these fields of one site set, a new site included."""
        before = self.sites[name].model_dump() if name in self.sites else {"state": "invited"}
        site = InvitedSite.model_validate(before | changes)
        return self.model_copy(update={"sites": {**self.sites, name: site}})

    def registered(self, name: str, key: NodeKey, said: str) -> "InvitedSites":
        """With the site's key, which its node is let in by from now on.

        Raises UserError where the fingerprint that was said on the phone is another's, where whoever made the key did
        not hold the site's open invitation, and where the key was or is another site's, or was revoked.
        """
        site = self.site(name)
        if not same_fingerprint(said, key.fingerprint):
            raise UserError(
                f"fingerprint: the key's is {key.fingerprint}, and {said!r} was read out; somebody stands between, or "
                "it was misheard: do not register it before both agree"
            )
        if site.state == "registered" and site.public_key == key.bare:
            return self
        self._refuse_known(key)
        if not site.invitation:
            raise UserError(f"site: {name!r} has no open invitation; cmrfed provision rotate site={name!r} makes one")
        if not key.proves(name, site.invitation.code):
            raise UserError(
                f"key: it was not made with the open invitation of {name!r}; have the site join with its newest one"
            )
        return self.with_site(
            name,
            state="registered",
            invitation=None,
            public_key=key.bare,
            fingerprint=key.fingerprint,
            former_keys=_all_keys(site),
        )

    def revoked(self, name: str) -> "InvitedSites":
        """With a site whose node may not connect any more, and whose invitation is void."""
        site = self.site(name)
        return self.with_site(
            name,
            state="revoked",
            invitation=None,
            public_key=None,
            fingerprint=None,
            former_keys=_all_keys(site),
        )

    def _refuse_known(self, key: NodeKey) -> None:
        for name, site in self.sites.items():
            if key.bare in _all_keys(site):
                raise UserError(f"key: it is or was that of {name!r}; a key is one site's and never taken again")


def _all_keys(site: InvitedSite) -> tuple[str, ...]:
    return tuple(dict.fromkeys([*site.former_keys, *([site.public_key] if site.public_key else [])]))


def read_sites(path: Path) -> InvitedSites:
    """What is in the file; nobody where there is none yet."""
    return read_stage_yaml(InvitedSites, path) if path.exists() else InvitedSites()


def write_sites(path: Path, sites: InvitedSites) -> None:
    text = yaml.safe_dump(sites.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    atomic.write_text(path, text, mode=atomic.PRIVATE)
