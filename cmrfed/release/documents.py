"""The documents of a release: model card (Mitchell et al., FAT* 2019), data sheet for what the generator makes
(Gebru et al., CACM 2021), terms of use."""

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from cmrfed import formats
from cmrfed.config import ReleasePolicy
from cmrfed.report.attacks import attack_table
from cmrfed.report.card import largest_epsilon, privacy_card
from cmrfed.report.material import Material
from cmrfed.report.tables import fidelity_table, utility_table

_NAMES = ("README.md", "DATASHEET.md", "TERMS.md")


def documents(material: Material, policy: ReleasePolicy) -> dict[str, str]:
    """Markdown by file name. README.md is the model card.

    Of the sites it says nothing but their names' number and what their patients spent at most: how many patients a
    site has is the site's to tell.
    """
    loader = ChoiceLoader([PackageLoader("cmrfed.release"), PackageLoader("cmrfed.report")])
    templates = Environment(loader=loader, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    told = material.only_phantoms if policy.with_scores is None else policy.with_scores
    tables = {"utility": utility_table, "fidelity": fidelity_table, "leakage": attack_table} if told else {}
    facts = {
        "run": material.run.record,
        "config": material.run.config,
        "plan": material.run.record.plan,
        "card": privacy_card(material),
        "epsilon": formats.epsilon(largest_epsilon(material)),
        "only_phantoms": material.only_phantoms,
        "tables": {name: table for name, of in tables.items() if (table := of(material))},
        "void": material.why_void,
        "policy": policy,
    }
    return {name: templates.get_template(f"{name}.jinja").render(facts) for name in _NAMES}
