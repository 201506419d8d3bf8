"""share/, the one folder of a run that may leave: the private arm's generator and its privacy card, no more."""

from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from cmrfed import formats
from cmrfed.core import atomic
from cmrfed.outputs import private_folder
from cmrfed.report.card import largest_epsilon, privacy_card
from cmrfed.report.material import Material
from cmrfed.updates import load_generator, read_weights, sampling_notes, save_generator


def write_share(material: Material) -> Path | None:
    """Write <run>/share; None, and no such folder, where there is no private arm, its noise came from a seed, or no
    ledger says what was spent."""
    run, plan = material.run, material.run.record.plan
    if "private" not in run.arms() or not plan.guaranteed or largest_epsilon(material) is None:
        return None
    folder = private_folder(run.folder / "share")
    write_bare_model(material, folder / "model.safetensors")
    atomic.write_text(folder / "README.md", render_card("share.md.jinja", material))
    return folder


def write_bare_model(material: Material, path: Path) -> None:
    """The own arm's generator with what sampling needs, and none of the run's other notes."""
    generator, _ = load_generator(material.run.model(material.main_arm))
    save_generator(path, generator, read_weights(generator), **sampling_notes(material.run.config))


def render_card(template: str, material: Material) -> str:
    """A Markdown template of this package about the run's privacy card. It says nothing that was measured on patients,
    nor how many of them a site has."""
    templates = Environment(
        loader=PackageLoader("cmrfed.report"), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return templates.get_template(template).render(
        run=material.run.record,
        config=material.run.config,
        plan=material.run.record.plan,
        card=privacy_card(material),
        epsilon=formats.epsilon(largest_epsilon(material)),
        only_phantoms=material.only_phantoms,
    )
