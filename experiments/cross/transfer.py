"""Does the small world tell the truth? Every claim and every order of methods that two scales have, side by side.

    python experiments/cross/transfer.py [results_dir=FOLDER] [scale=tiny] [other=laptop]

Nothing is trained: the results in the folder are read, those of `scale` and those of `other`, by the artefacts that
have both. Roles go by order, as in the scripts themselves: the first objective of the one scale stands for the first of
the other, and so do sets of prompts of other names. A claim agrees where both scales say the same, that it holds, fails
or is level, and disagrees where one says that it holds and the other that it fails; else it is unknown. Where the other
scale has one seed or two its verdicts are over prompts, and say so. Writes claims_compared.csv, orders.csv (Kendall's
tau between the methods' hypervolumes) and run.yaml to results/cross/transfer/.
"""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table

from lightning_moa.config import StudyConfig
from lightning_moa.errors import UserError
from lightning_moa.fields import option
from lightning_moa.reporting.transfer import (
    AGREE,
    DISAGREE,
    UNKNOWN,
    pairs_of,
    side_by_side,
)
from lightning_moa.study.results import Artefact, print_place
from lightning_moa.study.script import script
from lightning_moa.study.study import Study


@dataclass
class TransferConfig(StudyConfig):
    """Two scales of the same artefacts."""

    other: str = option("laptop", "the scale that is held against the small one")


def main(config: TransferConfig, console: Console) -> None:
    results = Path(str(config.results_dir))
    claims, orders = [], []
    for paper, name, mine, theirs in pairs_of(results, config.scale, config.other):
        of = {"of_paper": paper, "of_artefact": name, "other_scale": theirs.name}
        together, found = side_by_side(mine, theirs)
        claims.append(together.assign(**of))
        orders += [{**of, **each} for each in found]
    if not claims:
        raise UserError(f"{results}: no artefact has results of both {config.scale} and {config.other}")
    artefact = Artefact.begin("cross", "transfer", config)
    compared = pd.concat(claims, ignore_index=True)
    files = {"claims_compared.csv": compared, "orders.csv": pd.DataFrame(orders)}
    artefact.write_computed(None, files, "those of the results compared")
    show(compared, files["orders.csv"], console)
    print_place(console, "table", artefact.folder / "claims_compared.csv")


def show(claims: pd.DataFrame, orders: pd.DataFrame, console: Console) -> None:
    """How many claims agree, artefact by artefact, and the claims that don't."""
    table = Table("artefact", "other", AGREE, DISAGREE, UNKNOWN, "tau of methods", title="Two scales")
    for (paper, name, other), rows in claims.groupby(["of_paper", "of_artefact", "other_scale"], sort=False):
        counts = rows["together"].value_counts()
        tau = "-"
        if len(orders):
            at = (
                (orders["of_paper"] == paper)
                & (orders["of_artefact"] == name)
                & (orders["other_scale"] == other)
            )
            tau = next(
                (f"{row.tau:.2f} [{row.lowest:.2f}, {row.highest:.2f}]" for row in orders[at].itertuples()),
                "-",
            )
        table.add_row(
            f"{paper} {name}",
            str(other),
            *(str(counts.get(each, 0)) for each in (AGREE, DISAGREE, UNKNOWN)),
            tau,
        )
    console.print(table)
    for row in claims[claims["together"] == DISAGREE].itertuples():
        line = (
            f"{row.of_artefact}: {row.claim}: {row.small_verdict} ({row.small_value:.3g}), {row.other_scale} "
        )
        console.print(
            f"{line}{row.other_verdict} ({row.other_value:.3g}, over {row.other_over})", highlight=False
        )


STUDY = Study(__file__, "transfer", {}, TransferConfig)

if __name__ == "__main__":
    script(STUDY, main)
