"""The table of commands: where each is, which keys it has, and what it is for."""

from dataclasses import dataclass

from cmrfed.cli import stages
from cmrfed.config import Stage


@dataclass(frozen=True)
class Command:
    """`function` of module `cmrfed.cli.<module>` takes the command's `stage`, read and checked; `config` names its
    YAML. A word that is no key=value is the value of the key `word`. Help shows the keys and sections `shown`; by
    default all."""

    module: str
    function: str
    config: str
    stage: type[Stage]
    what: str
    word: str | None = None
    shown: tuple[str, ...] = ()


_PLAN = ("privacy", "federation.rounds", "training.local_steps")
COMMANDS = {
    "simulate": Command(
        "runs", "simulate", "simulate", stages.Simulate, "the whole federation on one machine, from volumes to report"
    ),
    "sweep": Command(
        "sweep", "sweep", "sweep", stages.Sweep, "runs over privacy budgets, and one figure of what privacy costs",
        shown=("out", "sweep", "seed", "privacy.delta", "federation.rounds", "evaluation.utility"),
    ),
    "compare": Command(
        "compare", "compare", "compare", stages.CompareFamilies, "families of generators side by side, by one protocol",
        shown=("families", "out", "comparison", "seed", "privacy.target_epsilon", "federation.rounds", "pretraining"),
    ),
    "prepare": Command(
        "runs", "prepare", "prepare", stages.Prepare, "read and prepare a hospital's own volumes into its home folder"
    ),
    "pretrain": Command(
        "runs", "pretrain", "pretrain", stages.Pretrain, "train a generator on the built-in phantom; costs no privacy",
        shown=("out", "seed", "pretraining", "generator", "preprocessing", "training.precision", "training.device"),
    ),
    "finetune": Command(
        "runs", "finetune", "finetune", stages.Finetune, "train a start further on a public data set; costs no privacy",
        shown=("out", "seed", "data", "finetuning", "generator", "preprocessing", "training.precision",
               "training.device"),
    ),
    "anatomy": Command(
        "anatomy", "draw", "anatomy", stages.Anatomy, "masks of hearts by disease and severity, which are nobody's"
    ),
    "generate": Command(
        "runs", "generate", "generate", stages.Generate, "synthetic images for a folder of masks, as NIfTI pairs"
    ),
    "distill": Command(
        "runs", "distill", "distill", stages.Distill, "teach a generator to draw in few steps; costs no privacy",
        shown=("run", "arm", "model", "out", "seed", "distillation", "sampling.steps", "sampling.guidance",
               "training.precision", "training.device"),
    ),
    "export": Command(
        "runs", "export", "export", stages.Export, "a generator as a bundle that draws without cmrfed"
    ),
    "evaluate": Command(
        "runs", "evaluate", "evaluate", stages.Evaluate, "measure fidelity, utility and leakage of a run"
    ),
    "canary-audit": Command(
        "canary_audit", "audit", "canary_audit", stages.CanaryAudit, "train with canaries and bound epsilon from below",
        shown=("canary_audit", *_PLAN, "seed", "training", "generator", "preprocessing.size"),
    ),
    "report": Command("runs", "report", "report", stages.Report, "write report.html again from a run's results"),
    "report compare": Command(
        "runs", "compare", "report_compare", stages.Compare, "several runs side by side in one page", word="run"
    ),
    "runs list": Command(
        "kept_runs", "list_runs", "runs_list", stages.RunsList, "the runs of a folder, and how far each came",
        word="out",
    ),
    "runs show": Command(
        "kept_runs", "show_run", "runs_show", stages.RunsShow, "what a run was made from and came to, in words",
        word="run",
    ),
    "runs rm": Command(
        "kept_runs", "remove", "runs_rm", stages.RunsRemove, "take runs away; what was spent stays in the ledger",
        word="run",
    ),
    "release": Command(
        "runs", "release", "release", stages.Release, "a generator with its model card, data sheet and terms, if it may"
    ),
    "reader-study": Command(
        "reader_study", "make", "reader_study", stages.ReaderStudy,
        "a page on which people tell real from synthetic, or rate hearts", word="out",
    ),
    "reader-study score": Command(
        "reader_study", "score", "reader_study_score", stages.ReaderScore,
        "what the readers of such a page found, with intervals", word="answers",
    ),
    "site serve": Command(
        "site", "serve", "site_serve", stages.SiteServe, "the hospital's door: own the home, answer one account's node"
    ),
    "site node": Command(
        "site", "node", "site_node", stages.SiteNode, "carry a server's questions to the door; runs nobody's code"
    ),
    "site approve": Command(
        "site", "approve", "site_approve", stages.SiteApprove, "read the app that asks, and let it ask or not",
        word="bundle",
    ),
    "site journal": Command(
        "site", "journal", "site_journal", stages.SiteJournal, "what was asked of the site, answered and refused"
    ),
    "site watch": Command(
        "site", "watch", "site_watch", stages.SiteWatch,
        "a page for the data-protection officer: asked, spent, waits; pause", word="home",
    ),
    "site pause": Command(
        "site", "pause", "site_pause", stages.SitePause, "answer nothing from now on, until resumed", word="home"
    ),
    "site resume": Command(
        "site", "resume", "site_resume", stages.SiteResume, "answer again after a pause", word="home"
    ),
    "ledger show": Command(
        "ledger", "show", "ledger_show", stages.LedgerShow, "what a site's patients have spent, row by row and in all"
    ),
    "ledger verify": Command(
        "ledger", "verify", "ledger_verify", stages.LedgerVerify, "whether a site's privacy ledger is whole"
    ),
    "ledger export": Command(
        "ledger", "export", "ledger_export", stages.LedgerExport, "a site's privacy ledger as one file, .json or .csv"
    ),
    "provision": Command(
        "provision", "provision", "provision", stages.Provision,
        "the coordinator's folder: certificates, invitations, server files",
    ),
    "provision add": Command(
        "provision", "add", "provision_add", stages.ProvisionAdd, "invite one more site", word="site"
    ),
    "provision register": Command(
        "provision", "register", "provision_register", stages.ProvisionRegister,
        "take a site's key, once its fingerprint was read out",
    ),
    "provision revoke": Command(
        "provision", "revoke", "provision_revoke", stages.ProvisionRevoke, "shut a site's node out", word="site"
    ),
    "provision rotate": Command(
        "provision", "rotate", "provision_rotate", stages.ProvisionRotate,
        "a new server certificate, or a new invitation for a site's new key",
    ),
    "provision admit": Command(
        "provision", "admit", "provision_admit", stages.ProvisionAdmit, "tell the SuperLink whose nodes may connect"
    ),
    "server start": Command(
        "coordination", "start", "server_start", stages.ServerStart, "start a federation's SuperLink on this machine",
        word="folder",
    ),
    "server stop": Command(
        "coordination", "stop", "server_stop", stages.ServerStop, "end it, and the runs at work in it", word="folder"
    ),
    "submit": Command(
        "coordination", "submit", "submit", stages.Submit, "ask a federation's hospitals for a run, and follow it",
        shown=("folder", "sites", "out", "name", "resume", "stop", "wait", "membership_audit", "seed", *_PLAN,
               "federation.minimum_replies", "federation.round_timeout_s", "federation.messages", "aggregation",
               "generator"),
    ),
    "server status": Command(
        "server", "status", "server_status", stages.ServerStatus,
        "sites, rounds, epsilon and bytes of a run, here or as a page", word="run",
    ),
    "site join": Command(
        "joining", "join", "site_join", stages.SiteJoin, "join a federation by its invitation", word="invitation"
    ),
    "site check": Command(
        "joining", "check", "site_check", stages.SiteCheckup, "whether a site is ready, and what to mend", word="home"
    ),
    "doctor": Command(
        "doctor", "doctor", "doctor", stages.Doctor, "what this machine can do, and what to mend before a long run"
    ),
    "privacy calibrate": Command(
        "privacy", "calibrate", "privacy_calibrate", stages.Simulate, "the noise that keeps a run within epsilon",
        shown=_PLAN,
    ),
    "privacy epsilon": Command(
        "privacy", "epsilon", "privacy_epsilon", stages.Simulate, "what a run costs each patient, and what it means",
        shown=_PLAN,
    ),
    "data verify": Command(
        "data", "verify", "data_verify", stages.DataVerify,
        "read a folder of volumes once: what there is, and what is wrong", word="data.root",
    ),
    "data preview": Command(
        "data", "preview", "data_preview", stages.DataPreview,
        "a contact sheet of a folder's patients, for the hospital's own eyes", word="data.root",
    ),
    "data phantom": Command(
        "data", "phantom", "data_phantom", stages.DataPhantom, "write the built-in phantom to a folder", word="out"
    ),
}  # fmt: skip
"""By name, in the order in which they are listed."""

EXIT_CODES = {
    0: "done",
    1: "data verify, site check or doctor found problems, or canary-audit refuted epsilon",
    2: "something to correct, which one line on the error output names",
    3: "simulate or submit ended before all rounds were done; its last line says why",
    130: "interrupted (Ctrl-C); 143 and 129 by SIGTERM and SIGHUP",
}
"""By what they say to a script."""
