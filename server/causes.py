"""Why a run of Flower's ended, found in its log."""

import re

_RAISED = re.compile(r"([\w.]+\.)?\w*(Error|Exception|Refused|Refusal|Timeout)\b(: .*)?$")
_FOLLOWS = "The above exception was the direct cause of the following exception:"


def cause_of(text: str) -> str:
    """What a log's last exception came from in the end: wrappers tell only that something went wrong. Without an
    exception, the last line that speaks of an error, or the last at all; as a sentence."""
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line).strip() for line in text.splitlines()]
    lines = [line for line in lines if line]
    raised = [number for number, line in enumerate(lines) if _RAISED.match(line)]
    while len(raised) > 1 and _FOLLOWS in lines[raised[-2] : raised[-1]]:
        raised.pop()
    spoken = [line for line in lines if re.search(r"(?i)error|exception", line)]
    candidates = ["nothing was logged", *lines[-1:], *spoken[-1:], *(lines[number] for number in raised[-1:])]
    return candidates[-1][:400].rstrip(".") + "."
