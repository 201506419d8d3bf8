"""A federation whose processes are killed with SIGKILL at random instants trains what an undisturbed one trains, and no
hospital pays twice.

It takes half a minute a kill, and is run where CMRFED_FAULTS says how many kills there are to be. CMRFED_KILL_SEED
repeats the instants of another session.
"""

import os
import random
import secrets
import time
from collections import Counter
from contextlib import ExitStack

import pytest
from disrupted import Disrupted
from hospitals import said
from proxies import MISSING, NGINX

KILLS = int(os.environ.get("CMRFED_FAULTS", "0"))
ROUNDS = max(3, KILLS // 2)
KINDS = ("door", "node", "superlink", "server app", "proxy")


@pytest.mark.skipif(not KILLS, reason="CMRFED_FAULTS says no number of kills")
@pytest.mark.skipif(not NGINX, reason=MISSING)
def test_killed_at_random_instants_a_federation_trains_the_same_and_nobody_pays_twice(cache, tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "localhost,127.0.0.1")
    seed = os.environ.get("CMRFED_KILL_SEED", str(secrets.randbits(32)))
    instants, landed = random.Random(seed), []
    with ExitStack() as stack:
        here = Disrupted(tmp_path, cache, stack, ROUNDS)
        here.begin()
        here.submit()
        deadline, paid = time.monotonic() + 600 + 60 * KILLS, 0
        while not here.is_finished and time.monotonic() < deadline:
            time.sleep(instants.uniform(0.0, 3.0))
            if len(landed) < KILLS and here.paid() > paid:  # it is at work again after the last kill
                paid, kind = here.paid(), instants.choice(KINDS)
                landed += [kind] if here.kill(kind, instants) else []
            here.go_on()
    told = f"CMRFED_KILL_SEED={seed}, killed {landed}\n{said(tmp_path)}"
    here.require_what_was_simulated(told)
    assert len(landed) >= min(KILLS, 2), told
    print(f"{len(landed)} kills: {Counter(landed)}")  # noqa: T201  # what was shown: pytest -s says it
