"""What a site does when a server asks: check the request against its policy, train, pay, and only then release."""

from cmrfed.site import distributed
from cmrfed.site.home import Home
from cmrfed.site.local import answer
from cmrfed.site.policy import Refusal, SitePolicy
from cmrfed.site.request import Request

__all__ = ["Home", "Refusal", "Request", "SitePolicy", "answer", "distributed"]
