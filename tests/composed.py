"""What a command line comes to, without running it."""

from cmrfed.cli.commands import COMMANDS
from cmrfed.composition import compose_jobs, put_in, read_words
from cmrfed.config import RunConfig, Stage, read_stage

NEEDED = {
    "prepare": ["data=acdc", "data.root=r", "home=h"],
    "anatomy": ["out=o"],
    "generate": ["out=o"],
    "distill": ["out=o"],
    "finetune": ["data.root=r", "out=o"],
    "evaluate": ["data=acdc", "data.root=r"],
    "report compare": ["run=a,b"],
    "release": ["out=o"],
    "runs rm": ["run=r"],
    "reader-study": ["out=o"],
    "reader-study score": ["key=k", "answers=a"],
    "ledger show": ["home=h"],
    "site serve": ["home=h", "socket=s"],
    "site node": ["socket=s"],
    "site approve": ["home=h"],
    "site journal": ["home=h"],
    "site watch": ["home=h"],
    "site pause": ["home=h"],
    "site resume": ["home=h"],
    "ledger verify": ["home=h"],
    "ledger export": ["home=h", "out=o"],
    "provision": ["federation=f"],
    "provision add": ["site=s"],
    "provision register": ["site=s", "key=k", "fingerprint=f"],
    "provision revoke": ["site=s"],
    "site join": ["invitation=i", "home=h"],
    "site check": ["home=h"],
    "data verify": ["data.root=r"],
    "data preview": ["data.root=r", "out=o"],
    "data phantom": ["out=o"],
}
"""What each command cannot do without."""


def composed(command: str, *words: str) -> Stage:
    """The command's stage, as its function would be given it."""
    known = COMMANDS[command]
    given = read_words(words, known.stage, known.word)
    (job,) = compose_jobs(known.config, known.stage, given)
    put_in(job.values, given.as_written)
    return read_stage(known.stage, job.values)


def composed_run(command: str, *words: str) -> RunConfig:
    """The run that the command would make, plan or audit."""
    return composed(command, *words).config
