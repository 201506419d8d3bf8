"""The federation on one machine. Neither Flower nor Ray may reach for the internet, in this process or its children."""

import os

from cmrfed.provision.server_files import QUIET

os.environ |= QUIET
