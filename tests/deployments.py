"""What the files in deploy/ say, read as the engines read them."""

import re
import shlex
from pathlib import Path
from typing import Any

import yaml

from cmrfed.cli.commands import COMMANDS
from cmrfed.composition import compose_jobs, read_job, read_words

DEPLOY = Path(__file__).parents[1] / "deploy"
README = DEPLOY / "README.md"


def accepted(words: list[str]) -> str:
    """The name of the command that these words, behind `cmrfed`, are: one of ours, with all that it needs.

    Raises UserError, as the command line would.
    """
    name = next(name for name in (" ".join(words[:2]), words[0]) if name in COMMANDS)
    command = COMMANDS[name]
    given = read_words(words[len(name.split()) :], command.stage, command.word)
    (job,) = compose_jobs(command.config, command.stage, given)
    assert read_job(job, command.stage, given.as_written)
    return name


def services(file: Path) -> dict[str, dict[str, Any]]:
    """Of a Compose file, with nothing set in the environment."""
    text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", file.read_text(encoding="utf-8"))
    assert "$" not in text, "each variable has a default"
    found: dict[str, dict[str, Any]] = yaml.safe_load(text)["services"]
    return found


def targets(service: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What a service mounts, by where."""
    mounts = {}
    for volume in service.get("volumes", []):
        if isinstance(volume, str):
            source, target, *mode = volume.split(":")
            volume = {"type": "volume", "source": source, "target": target, "read_only": mode == ["ro"]}
        mounts[volume["target"]] = volume
    return mounts


def instructions(target: str | None = None) -> list[tuple[str, str]]:
    """(Instruction, what follows) of the Dockerfile: of one target and what it is made from, or all."""
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    lines = "\n".join(line for line in text.splitlines() if not line.startswith("#")).replace("\\\n", " ")
    read = [tuple(line.split(None, 1)) for line in lines.splitlines() if line.strip()]
    if target is None:
        return read
    (begin,) = [place for place, (name, rest) in enumerate(read) if name == "FROM" and rest.endswith(f" AS {target}")]
    end = next((place for place in range(begin + 1, len(read)) if read[place][0] == "FROM"), len(read))
    base = read[begin][1].split()[0]
    return (instructions(base) if not base.startswith("$") else []) + read[begin:end]


def environment(target: str) -> dict[str, str]:
    """That the Dockerfile gives an image."""
    words = shlex.split(" ".join(rest for name, rest in instructions(target) if name == "ENV"))
    return dict(word.split("=", 1) for word in words)


def documented(file: Path, before: str) -> list[list[str]]:
    """The words behind each of the commands in a text that begin like this; a line that ends in a backslash goes on."""
    text = re.sub(r"\\\n[# ]*", " ", file.read_text(encoding="utf-8"))
    return [shlex.split(rest) for rest in re.findall(rf"{re.escape(before)} ([^`\n]+)", text)]
