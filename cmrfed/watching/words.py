"""What is known of a federation and of a home, in the words that terminal and page have in common."""

from datetime import datetime

from cmrfed.formats import MISSING, epsilon
from cmrfed.watching.federation import ArmStatus, RoundStatus, SiteStanding


def printable(text: str) -> str:
    """Text that somebody else chose, with nothing in it that steers a terminal or turns a line's letters around."""
    return "".join(one if one.isprintable() or one in "\n\t" else "?" for one in text)


def when(seconds: float | None) -> str:
    """A Unix time, s, on this machine's clock; a dash for none."""
    return MISSING if seconds is None else datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def zone() -> str:
    """What this machine's clock is set to."""
    return datetime.now().astimezone().strftime("%Z")


def size(count: int) -> str:
    """Bytes, in the unit that people would say."""
    if count < 10_000:
        return f"{count:,} B"
    unit, power = ("kB", 3) if count < 1e6 else ("MB", 6) if count < 1e9 else ("GB", 9)
    return f"{count / 10**power:,.1f} {unit}"


def round_name(one: RoundStatus) -> str:
    """Which round, and whether it counted."""
    if not one.number:
        return "start"
    return f"{one.number}" if one.applied else f"{one.number}, not applied"


def absences(one: RoundStatus) -> list[str]:
    """Of those who gave a round no update, who and why, one phrase each."""
    found = [f"{site}: refused" for site in one.refused]
    found += [f"{site}: {reason}" for site, reason in one.dropped.items()]
    return found + [f"{site}: not heard" for site in one.missing]


def last_word(arm: ArmStatus, site: str) -> str:
    """What became of a site in the last round that was asked for."""
    asked = next((one for one in reversed(arm.rounds) if one.number), None)
    if asked is None:
        return "not asked yet"
    if site in asked.answered:
        return "answered"
    return "refused" if site in asked.refused else asked.dropped.get(site, "not heard")


def progress(arm: ArmStatus) -> str:
    """How far an arm is."""
    done = f"{arm.done} of {arm.planned} rounds are done"
    match arm.state:
        case "done":
            return done
        case "stopped":
            return f"stopped early, {arm.stopped}"
        case "begins":
            return f"no round yet, of {arm.planned}"
    if arm.open_round is None:
        return f"{done}, and its model is not written yet"
    return f"{done}; round {arm.open_round} is open{_waits(arm)}"


def _waits(arm: ArmStatus) -> str:
    last = arm.rounds[-1]
    if last.applied:
        return ""
    return f" and has {len(last.answered)} of the {arm.needed} answers it needs"


def privacy(arm: ArmStatus) -> str:
    """What an arm may cost a patient, and by whose count."""
    if arm.target_epsilon is None:
        return "without privacy: nothing bounds what its updates tell"
    of = f"ε of at most {epsilon(arm.target_epsilon)} at δ {arm.delta:g}, by the rounds that a site answered"
    seeded = "" if arm.guaranteed else "; NO GUARANTEE: the noise is seeded, whoever knows the seed takes it away"
    return of + seeded


def provisioned(site: SiteStanding) -> str:
    """What a coordinator's folder says of a site."""
    if site.state is None:
        return "not in the folder"
    until = f", invitation until {site.invitation_until:%Y-%m-%d}" if site.invitation_until else ""
    return site.state + until


def connection(site: SiteStanding) -> str:
    """What the SuperLink says of a site's node."""
    if site.connected is None:
        return "not known"
    if site.connected:
        return "connected"
    return f"away, last seen {when(site.last_seen)}" if site.last_seen else "never connected"
