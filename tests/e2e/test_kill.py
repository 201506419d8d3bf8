"""Killed at any instant of answering rounds, a site has paid for every update that left it.

A warmed-up process (this file, run as a script) forks a child that answers rounds as a site does and hands each answer
to "the server", a file; kills it with SIGKILL; looks at what is on disk; and goes on from there with the next child.
Some kills come at any time, by the clock. The others wait for an instant: the child stops there and is killed, so that
each instant gets its share however busy the machine is.
"""

import gc
import json
import os
import pkgutil
import random
import secrets
import signal
import subprocess
import sys
import time
import traceback
from collections import Counter
from pathlib import Path

import pytest
from conftest import toy_plan
from homes import answer, make_home

from cmrfed.config import GeneratorConfig, TrainingConfig, UserError
from cmrfed.generators import build_generator
from cmrfed.privacy import epsilon
from cmrfed.site import Request
from cmrfed.site.request import digest
from cmrfed.training import LocalTask
from cmrfed.updates import load_weights, read_weights

HOMES = 6
INSTANTS = {
    "not paid": "cmrfed.privacy.ledger.Ledger.record",
    "committed, not anchored": "cmrfed.privacy.ledger.Ledger._anchor_head",
    "paid, not computed": "cmrfed.site.local.train",
    "computed, not handed over": "cmrfed.site.home.Home.log_round",
}
"""By the stage in which it finds a round: what the child is about to call when it stops to be killed."""
AIMS = [*INSTANTS] * 4 + [None] * 8
"""Of each home's kills; None is by the clock."""
PLAN = toy_plan(seed=None, noise_multiplier=20.0, target_epsilon=1000.0)


@pytest.fixture(scope="module")
def kills(tmp_path_factory):
    """What was found after each kill; CMRFED_KILL_SEED repeats the instants of another session."""
    seed = os.environ.get("CMRFED_KILL_SEED", str(secrets.randbits(32)))
    tests = Path(__file__).parents[1]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(map(str, (tests, tests.parent)))}
    command = [sys.executable, __file__, str(tmp_path_factory.mktemp("homes")), seed]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, f"CMRFED_KILL_SEED={seed}: {done.stderr[-3000:]}"
    found = [json.loads(line) | {"seed": seed} for line in done.stdout.splitlines()]
    assert len(found) == HOMES * (len(AIMS) + 1)
    return found


def test_after_every_kill_the_ledger_verifies(kills):
    assert [kill for kill in kills if kill["problem"]] == []


def test_every_update_that_left_is_paid_for_whenever_the_site_was_killed(kills):
    assert [kill for kill in kills if kill["released"] > kill["rows"] or kill["cost"] > kill["spent"]] == []


def test_an_interruption_never_makes_the_site_pay_twice(kills):
    undisturbed = [kill for kill in kills if kill["stage"] == "not killed"]
    assert len(undisturbed) == HOMES
    assert [kill for kill in undisturbed if kill["rows"] != kill["released"]] == []


def test_the_kills_landed_before_within_and_after_payment(kills):
    landed = Counter(kill["stage"] for kill in kills)
    told = f"CMRFED_KILL_SEED={kills[0]['seed']}: {landed}"
    assert all(kill["stage"] == kill["aimed"] for kill in kills if kill["aimed"]), told
    assert sum(kill["released"] for kill in kills if kill["stage"] == "not killed") >= HOMES, told


class Site:
    """A toy home and the server beyond it, which asks for one round after another until it has each one's answer."""

    def __init__(self, folder, weights, generator):
        self.home, self.weights, self.generator = make_home(folder), weights, generator
        self.server = folder / "server.txt"
        self.server.touch()

    @property
    def released(self):
        """Digests of what the server was handed."""
        return self.server.read_text().splitlines()

    def answer_rounds(self, rounds):
        """In the child. An answer is out once the server's file has its digest: one write, all or nothing."""
        done = len(self.released)
        server = os.open(self.server, os.O_WRONLY | os.O_APPEND)
        for round in range(done + 1, done + 1 + rounds):
            update = answer(self.home, request(self.generator, round), self.weights).update
            os.write(server, f"{digest('', update)}\n".encode())

    def start(self, rounds=100, stop_at=None):
        """Fork a child that answers, and stops at a stage of INSTANTS if asked; returns its process number."""
        child = os.fork()
        if child == 0:
            status = 1
            try:
                if stop_at:
                    self.stop_at(stop_at)
                self.answer_rounds(rounds)
                status = 0
            except Exception:
                traceback.print_exc()
            finally:
                os._exit(status)
        return child

    def stop_at(self, stage):
        """In the child: from now on the process stops where it is about to leave this stage.

        The function it calls next may be called at other stages too, and is let through there: a site that finds its
        round paid anchors it once more.
        """
        owner, _, attribute = INSTANTS[stage].rpartition(".")
        owner = pkgutil.resolve_name(owner)
        function = getattr(owner, attribute)

        def stopping(*args, **kwargs):
            if self.stage(len(self.home.ledger.rows())) == stage:
                os.kill(os.getpid(), signal.SIGSTOP)
            return function(*args, **kwargs)

        setattr(owner, attribute, stopping)

    def found(self):
        """What the disk tells after a kill. Reading the ledger takes back a commit that was cut short: look first."""
        cut_short = self.home.ledger.path.with_name("ledger.sqlite-journal").exists()
        released = set(self.released)
        found = {"problem": None, "released": len(released), "cost": cost_of(len(released)), "rows": 0, "spent": 0.0}
        try:
            entries = self.home.ledger.rows()
        except UserError as error:
            return found | {"problem": str(error)}
        if entries:
            found |= {"rows": len(entries), "spent": self.home.spent_in("run")[-1][1]}
        return found | {"stage": "committing" if cut_short else self.stage(len(entries))}

    def stage(self, rows):
        """How far the child got with the round that the server still waits for."""
        handed_over, anchored = self.released, self.home.ledger.anchor.read()
        if rows > (anchored.sequence if anchored else 0):
            return "committed, not anchored"
        if rows == len(handed_over):
            return "not paid"
        return "paid, not computed" if self.answered() in (None, *handed_over[-1:]) else "computed, not handed over"

    def answered(self):
        """Digest of the answer in the outbox."""
        outbox = self.home.outbox("run")
        return digest("", load_weights(outbox)[0]) if outbox.exists() else None


def cost_of(rounds):
    """Epsilon of so many distinct releases."""
    return epsilon([PLAN.event(1)] * rounds, PLAN.delta)


def request(generator, round):
    training = TrainingConfig(
        local_steps=1, optimizer="sgd", learning_rate=0.1, batch_size=4, slices_per_patient=1, precision="fp32"
    )
    task = LocalTask(training=training, plan=PLAN, round=round, rounds=1000)
    return Request(run="run", generator=generator, task=task)


def kill_many(root, seed):
    """Write one line of JSON for each kill, and one for each home's last, undisturbed answer."""
    instants = random.Random(seed)
    answer_s = warm_up(make_site(root / "warm"))
    for number in range(HOMES):
        site = make_site(root / f"{number}")
        for kill, aimed in enumerate(instants.sample(AIMS, len(AIMS))):
            kill_once(site, aimed, instants.uniform(0.0, 1.5 * answer_s))
            tell({"home": number, "kill": kill, "aimed": aimed} | site.found())
        _, status = os.waitpid(site.start(rounds=1), 0)
        assert status == 0, "an undisturbed answer failed"
        tell({"home": number, "kill": None, "aimed": None} | site.found() | {"stage": "not killed"})


def tell(found):
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()  # or the next child would have it in its buffer too


def make_site(folder):
    generator = GeneratorConfig(channels=(8, 8), norm_groups=4, trainable="all")
    return Site(folder, read_weights(build_generator(generator, seed=0)), generator)


def warm_up(site):
    """Answer in this process, so that children find imports and epsilons ready; returns the seconds of an answer."""
    for rounds in range(1, 30):
        cost_of(rounds)
    site.answer_rounds(2)
    gc.freeze()
    started = time.monotonic()
    os.waitpid(site.start(rounds=1), 0)
    return time.monotonic() - started


def kill_once(site, aimed, after_s):
    """One child, killed at an instant of the first answer that it gives, or after some seconds."""
    child = site.start(stop_at=aimed)
    if aimed:
        _, status = os.waitpid(child, os.WUNTRACED)
        assert os.WIFSTOPPED(status), "the child ended before the instant"
    else:
        time.sleep(after_s)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "the child ended before it was killed"


if __name__ == "__main__":
    kill_many(Path(sys.argv[1]), int(sys.argv[2]))
