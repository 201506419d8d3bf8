"""Results + ledgers -> report.html: one file that opens offline, for imaging researchers, hospital engineers and
data-protection officers alike.

material reads the run's folder; verdict, tables, pictures, plots, card and incidents turn it into text and pictures;
templates/ lays them out. Names and reasons come from other machines: everything is escaped.
"""

import json
from pathlib import Path

from cmrfed.report.attacks import arm_table, attack_table, check_rows, copy_table, subgroup_table
from cmrfed.report.card import privacy_card
from cmrfed.report.compare import is_comparison, write_comparison
from cmrfed.report.fidelity import fidelity_tables
from cmrfed.report.html import write_page
from cmrfed.report.incidents import incidents
from cmrfed.report.material import read_material
from cmrfed.report.pictures import plates
from cmrfed.report.plots import dice_plot, plots_of_training
from cmrfed.report.repeat import repeat_command
from cmrfed.report.share import write_share
from cmrfed.report.tables import (
    composite_row,
    fidelity_table,
    timing_table,
    utility_table,
    vendor_table,
)
from cmrfed.report.usefulness import usefulness_tables
from cmrfed.report.verdict import remarks, verdicts
from cmrfed.runs import Run
from cmrfed.shapes import COLOURS

__all__ = ["is_comparison", "write_comparison", "write_report"]


def write_report(run: Run, show_real_images: bool | None) -> Path:
    """Write <run>/report.html, and <run>/share where something may leave; returns the report's path.

    show_real_images: None leaves it to the run's configuration. Raises UserError when there is no results.json.
    """
    shown = run.config.evaluation.show_real_images if show_real_images is None else show_real_images
    material = read_material(run, shown)
    write_share(material)
    return write_page(
        run.folder / "report.html",
        "report.html.jinja",
        record=material.run.record,
        main_arm=material.arm_title(material.main_arm),
        public_start=material.public_start,
        sources=list(material.run.config.data.sources),
        non_private_shown="non_private" in material.scores and material.run.record.plan.private,
        stopped={material.arm_title(arm): why for arm, why in material.stopped.items()},
        remarks=remarks(material),
        verdicts=verdicts(material),
        composite=composite_row(material),
        colours={label.name: colour for label, colour in COLOURS.items()},
        plates=plates(material),
        real_images=material.held_out is not None,
        void=material.why_void,
        utility=utility_table(material),
        vendors=vendor_table(material),
        usefulness=usefulness_tables(material),
        dice_plot=dice_plot(material),
        fidelity=fidelity_table(material),
        fidelity_details=fidelity_tables(material),
        attacks=attack_table(material),
        attacks_by_arm=arm_table(material),
        subgroups=subgroup_table(material),
        copies=copy_table(material),
        checks=check_rows(material),
        training=plots_of_training(material),
        incidents=incidents(material),
        card=privacy_card(material),
        timing=timing_table(material),
        configuration=json.dumps(material.run.config.model_dump(mode="json"), indent=2),
        command=repeat_command(material.run.config),
    )
