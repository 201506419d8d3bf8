"""Curves of training and the Dice of every training set, as PNGs inside the report."""

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from cmrfed.comparison import ARMS, Compared
from cmrfed.conditions import VENDORS
from cmrfed.evaluation.schema import Estimate
from cmrfed.pictures import png_uri
from cmrfed.privacy import NoPrivacy
from cmrfed.report.material import Material
from cmrfed.report.tables import REFERENCES, training_sets
from cmrfed.sweep import Frontier, Point

_PALETTE = ("#0072B2", "#E69F00", "#CC79A7", "#444444", "#009E73")
_MARKERS = ("o", "s", "^", "D", "v")
_LOSS = "loss (mean squared error)"


@dataclass(frozen=True)
class Plot:
    """A picture and what it says in words."""

    uri: str
    title: str
    caption: str


def plots_of_training(material: Material) -> list[Plot]:
    """Held-out loss of each arm, training loss where it may be seen, and epsilon."""
    found = [*_held_out_losses(material), *_training_losses(material)]
    return [*found, *([_epsilon(material)] if material.spent and material.run.record.plan.private else [])]


def dice_plot(material: Material) -> Plot | None:
    """Mean Dice with its interval for every training set; None when utility was not measured."""
    sets = list(training_sets(material))
    if not sets:
        return None
    figure, axes = _canvas(6.4, 0.9 + 0.32 * len(sets))
    for row, (name, scores, lead) in enumerate(reversed(sets)):
        dice = scores.mean_dice
        colour = "#444444" if name in REFERENCES else "#0072B2" if lead else "#8FB8D4"
        axes.plot(dice.ci95 or [dice.value] * 2, [row, row], color=colour, linewidth=2.2, solid_capstyle="round")
        axes.plot(dice.value, row, "o", color=colour, markersize=6)
    axes.axvline(sets[0][1].dice.mean, color="#444444", linewidth=0.8, linestyle=":")
    axes.set_yticks(range(len(sets)), [name for name, *_ in reversed(sets)])
    axes.set_xlabel("mean Dice with its 95 % interval")
    caption = "Each line is one training set of the same segmentation network; dotted: real images."
    return Plot(_png(figure), "Dice by training set", caption)


def utility_by_epsilon(points: Sequence[tuple[float, Estimate]], real: Sequence[float]) -> Plot:
    """What privacy costs in usefulness: (epsilon, mean Dice) of several runs, and Dice of real images."""
    figure, axes = _canvas(6.4, 3.6)
    spent, values = [epsilon for epsilon, _ in points], [dice.value for _, dice in points]
    limits = [dice.ci95 or [dice.value] * 2 for _, dice in points]
    axes.vlines(spent, [low for low, _ in limits], [high for _, high in limits], color="#8FB8D4", linewidth=2.2)
    axes.plot(spent, values, "o-", color="#0072B2", linewidth=1.4, markersize=6, label="synthetic images")
    axes.axhline(sum(real) / len(real), color="#444444", linewidth=0.8, linestyle=":", label="real images")
    axes.set_xscale("log")
    axes.set_xticks(spent, [f"{value:g}" for value in spent])
    axes.minorticks_off()
    axes.set_xlabel("ε spent, at most")
    axes.set_ylabel("mean Dice")
    axes.legend(frameon=False, fontsize="small")
    caption = "A point is a run: Dice of a segmentation network trained on its images alone, with the 95 % interval."
    return Plot(_png(figure), "Usefulness by privacy budget", caption)


def frontier_plot(found: Frontier) -> Plot:
    """Dice by budget, a line for each way of adding noise, between what has no budget: brackets as horizontal lines."""
    figure, axes = _canvas(7.2, 4.2)
    lines: dict[str, list[Point]] = {}
    for point in found.points:
        if point.epsilon is not None:
            lines.setdefault(point.arm.partition(",")[0], []).append(point)
    for number, (name, points) in enumerate(lines.items()):
        colour, shift = _PALETTE[number], 1.03**number  # beside each other, where budgets are the same
        at = [shift * (point.epsilon or 0.0) for point in points]
        limits = [point.dice.ci95 or [point.dice.value] * 2 for point in points]
        axes.vlines(
            at, [low for low, _ in limits], [high for _, high in limits], color=colour, alpha=0.4, linewidth=2.2
        )
        axes.plot(
            at, [point.dice.value for point in points], f"{_MARKERS[number]}-", color=colour, label=f"{name} noise"
        )
    for number, point in enumerate(one for one in found.points if one.epsilon is None):
        style = (":", "--", "-.", (0, (1, 3)))[number % 4]
        axes.axhline(point.dice.value, color="#444444", linewidth=0.9, linestyle=style, label=point.arm)
    budgets = sorted({point.epsilon for point in found.points if point.epsilon is not None})
    axes.set_xscale("log")
    axes.set_xlim(budgets[0] / 1.6, budgets[-1] * 1.6)
    axes.set_xticks(budgets, [f"{value:g}" for value in budgets])
    axes.minorticks_off()
    axes.set_xlabel("ε, a patient's budget")
    axes.set_ylabel("mean Dice")
    axes.legend(frameon=False, fontsize="small", loc="center left", bbox_to_anchor=(1.0, 0.5))
    caption = "Dice on held-out patients of a segmenter that learnt from an arm's images alone. Plain lines: no budget."
    return Plot(_png(figure), "Usefulness by privacy budget", caption)


def families_plot(found: Sequence[Compared]) -> Plot:
    """A line for each family, the best on top: its Dice, arm by arm, and beside it the time to draw a slice."""
    measured = [one for one in found if one.scores.utility]
    best = {one.family: 0.0 for one in measured}
    for one in measured:
        best[one.family] = max(best[one.family], _dice_of(one).value)
    families = sorted(best, key=lambda family: best[family])
    figure = Figure(figsize=(8.4, 1.2 + 0.3 * len(families)), layout="constrained")
    axes, beside = map(_plain, figure.subplots(1, 2, sharey=True, width_ratios=(4, 1)))
    for number, arm in enumerate(arm for arm in ARMS if any(one.arm == arm for one in measured)):
        own = [one for one in measured if one.arm == arm]
        rows = [families.index(one.family) + 0.18 * (1 - number) for one in own]
        limits = [_dice_of(one).ci95 or [_dice_of(one).value] * 2 for one in own]
        colour = _PALETTE[number]
        axes.hlines(rows, [low for low, _ in limits], [high for _, high in limits], color=colour, alpha=0.4)
        values = [_dice_of(one).value for one in own]
        axes.plot(values, rows, _MARKERS[number], color=colour, markersize=4.5, label=ARMS[arm])
    for real in [one.scores.utility.real.dice.mean for one in measured if one.scores.utility][:1]:
        axes.axvline(real, color="#444444", linewidth=0.9, linestyle=":", label="real images")
    axes.set_yticks(range(len(families)), families)
    axes.set_xlabel("mean Dice")
    axes.legend(frameon=False, fontsize="small", ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    seconds = {one.family: one.speed.slice_s for one in measured}
    beside.barh(range(len(families)), [seconds[family] for family in families], height=0.5, color="#8FB8D4")
    beside.set_xscale("log")
    beside.set_xlabel("seconds a slice")
    caption = (
        "Dice on held-out patients of a segmenter that learnt from a family's images alone, with 95 % intervals; and "
        "how long a slice takes on one core."
    )
    return Plot(_png(figure), "What each family gives, and for what time", caption)


def _dice_of(one: Compared) -> Estimate:
    assert one.scores.utility is not None
    return one.scores.utility.synthetic.mean_dice


def _held_out_losses(material: Material) -> Iterable[Plot]:
    arms = {arm: lines for arm, lines in material.rounds.items() if any(line["validation"] for line in lines)}
    losses = [loss for lines in arms.values() for line in lines for loss in line["validation"].values()]
    for arm, lines in arms.items():
        series = _series([(line["round"], line["validation"]) for line in lines])
        title = f"Held-out loss, {material.arm_title(arm)}"
        yield _lines(series, _LOSS, title, "By vendor, on held-out patients; lower is better.", losses)


def _training_losses(material: Material) -> Iterable[Plot]:
    for arm, lines in material.rounds.items():
        losses = {line["round"]: {site: notes["loss"] for site, notes in line["sites"].items()} for line in lines}
        shown = [
            (number, {site: loss for site, loss in of.items() if loss is not None}) for number, of in losses.items()
        ]
        if any(of for _, of in shown):
            title = f"Training loss, {material.arm_title(arm)}"
            caption = "By site. With privacy no site tells its loss: it would cost privacy too."
            yield _lines(_series(shown), _LOSS, title, caption)


def _epsilon(material: Material) -> Plot:
    """One line for all sites that spent alike, which is all of them unless one missed a round."""
    alike: dict[tuple[tuple[int, float], ...], list[str]] = {}
    for site, spent in material.spent.items():
        alike.setdefault(((0, 0.0), *spent), []).append(site)
    figure, axes = _canvas()
    for number, (points, sites) in enumerate(alike.items()):
        label = f"all {len(sites)} sites" if len(alike) == 1 else _names(sites)
        _line(axes, [round for round, _ in points], [epsilon for _, epsilon in points], number, label)
    plan = material.run.record.plan
    if not isinstance(plan, NoPrivacy):
        axes.axhline(plan.target_epsilon, color="#B00020", linewidth=1, linestyle="--", label="budget of this run")
        axes.set_ylabel(f"ε at δ = {plan.delta:g}")
    axes.set_ylim(bottom=0)
    _finish(axes, "round")
    return Plot(
        _png(figure), "Privacy spent", "From the sites' ledgers, after each round; sites that spent alike share a line."
    )


def _names(sites: list[str]) -> str:
    return ", ".join(sites) if len(sites) < 4 else f"{', '.join(sites[:3])} and {len(sites) - 3} more"


def _series(rounds: Sequence[tuple[int, dict[str, float]]]) -> dict[str, tuple[list[int], list[float]]]:
    """By name, the rounds that have a value and the values."""
    names = dict.fromkeys(name for _, values in rounds for name in values)
    points = {name: [(number, values[name]) for number, values in rounds if name in values] for name in names}
    return {name: ([number for number, _ in of], [value for _, value in of]) for name, of in points.items()}


def _lines(
    series: dict[str, tuple[list[int], list[float]]],
    unit: str,
    title: str,
    caption: str,
    scale: Sequence[float] = (),
) -> Plot:
    """One line a name; `scale` holds all values of the plots that should share an axis."""
    figure, axes = _canvas()
    for number, (name, (rounds, values)) in enumerate(series.items()):
        _line(axes, rounds, values, VENDORS.index(name) if name in VENDORS else number, name)
    if scale:
        margin = 0.06 * (max(scale) - min(scale)) or 0.01
        axes.set_ylim(min(scale) - margin, max(scale) + margin)
    axes.set_ylabel(unit)
    _finish(axes, "round")
    return Plot(_png(figure), title, caption)


def _line(axes: Axes, rounds: Sequence[int], values: Sequence[float], style: int, label: str) -> None:
    colour, marker = _PALETTE[style % len(_PALETTE)], _MARKERS[style % len(_MARKERS)]
    axes.plot(
        rounds,
        values,
        color=colour,
        marker=marker if len(rounds) < 40 else "",
        markersize=4,
        linewidth=1.6,
        label=label,
    )


def _canvas(width_inch: float = 4.6, height_inch: float = 3.0) -> tuple[Figure, Axes]:
    """A figure of its own, outside pyplot, which would keep it alive."""
    figure = Figure(figsize=(width_inch, height_inch), layout="constrained")
    return figure, _plain(figure.subplots())


def _plain(axes: Axes) -> Axes:
    """Two edges and a faint grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="both", color="#E5E5E5", linewidth=0.6)
    axes.set_axisbelow(True)
    return axes


def _finish(axes: Axes, x_label: str) -> None:
    axes.set_xlabel(x_label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False, fontsize="small")


def _png(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=160, metadata={"Software": None})
    return png_uri(buffer.getvalue())
