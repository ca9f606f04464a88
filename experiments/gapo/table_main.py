"""GAPO, the main table: each objective's reward, and their average, for every method on every set of prompts.

    python experiments/gapo/table_main.py [scale=smoke|tiny|laptop|gpu|paper] [judge.url=... judge.model=...] [key=...]

Trains one policy for each method, and one by PPO on each objective alone (the paper's PPO-H and PPO-S); SFT is the
policy that all start from. Linear scalarisation is not in the paper's table: it is the plain way to train for all
objectives at once. Writes the CSVs of each set of prompts to its own folder of results/gapo/table_main/<scale>/, and
above them table.csv and table.md (means over seeds with Student's t interval), win_rates.csv (GAPO with p = 1 against
each other method), paper_table.csv and paper_table.md (the paper's own numbers), the claims and the picture.

Roles go by order, not by name: the first objective stands for the paper's helpfulness, the second for its
harmlessness, the first set of prompts for PKU-SafeRLHF, the second for hh-rlhf. The order of methods is asked on the
first set; with more than two objectives only what makes sense for any number of them. In the paper's text p = 1 has the
best average on both sets; in its table p = 2 has on hh-rlhf (11.23 against 11.19). The claims follow the text.

Win rates: the judge is the recorded rewards, gold where they are known. `judge.url` and `judge.model` put a chat model
in its place, as the paper has GPT-4o, with `judge.criteria.<objective>` to go by. See --help for its key.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from lightning_moa.config import StudyConfig
from lightning_moa.data.configs import DataConfig
from lightning_moa.evaluation.judge import Judge
from lightning_moa.fields import option
from lightning_moa.figures.judging import JudgeConfig, chosen_judges, recordable, win_rates
from lightning_moa.figures.margins import reward_margin, weighted_margin
from lightning_moa.figures.prompts import prompt_sets
from lightning_moa.methods.products import (
    GAPO_P1_PPO,
    GAPO_P2_PPO,
    LINEAR_PPO,
    MGDA_PPO,
    SAFE_RLHF_PPO,
    Product,
    ppo_on_one,
)
from lightning_moa.reporting.claims import OURS as OWN
from lightning_moa.reporting.claims import PAPER as THEIRS
from lightning_moa.reporting.claims import Row, claims_frame, judge, judge_several
from lightning_moa.reporting.files import write_atomically
from lightning_moa.reporting.fronts import final_rows
from lightning_moa.reporting.margins import SHARE
from lightning_moa.reporting.markdown import markdown_table
from lightning_moa.reporting.orders import order_claims
from lightning_moa.reporting.over_seeds import cell, over_seeds
from lightning_moa.reporting.panels import draw_bars
from lightning_moa.reporting.plane import draw_ends
from lightning_moa.reporting.plots import canvas, divide, save_figure
from lightning_moa.reporting.statistics import PerSeed, paired
from lightning_moa.reporting.styles import Style, styles_of
from lightning_moa.study.collect import Collected
from lightning_moa.study.conduct import conduct
from lightning_moa.study.over_prompts import over_prompts, together
from lightning_moa.study.planning import REFERENCE, objectives_of
from lightning_moa.study.results import Artefact, Judged, Tables, print_claims, print_place
from lightning_moa.study.script import script
from lightning_moa.study.study import DRAWS, PROMPT_SETS, Study

METHODS = {
    "safe_rlhf": SAFE_RLHF_PPO,
    "mgda": MGDA_PPO,
    "gapo_p1": GAPO_P1_PPO,
    "gapo_p2": GAPO_P2_PPO,
    "linear": LINEAR_PPO,
}
OURS, EXTRA = "gapo_p1", "linear"
RIVALS = [name for name in METHODS if name not in (OURS, EXTRA)]
"""Those of the paper's table that train for all objectives."""
PAPER = Path(__file__).with_name("paper_table.csv")
ROLES = ("helpful", "harmless")
"""The paper's objectives, in the order of ours."""
TABLE, TEXT, GPT4O = "main table", "main table, text", "text, GPT-4o as judge"


@dataclass
class TableMainConfig(StudyConfig):
    """A study, and who compares responses in it."""

    judge: JudgeConfig = option(JudgeConfig, "who compares responses for the win rates")


@dataclass(frozen=True)
class Part:
    """What was measured on one set of prompts."""

    name: str
    collected: Collected
    scores: pd.DataFrame
    """`method`, `seed`, `<space>_<objective>`, `average`, `kl`."""
    rates: pd.DataFrame
    """See `win_rates`."""
    by_rewards: bool
    """Whether it is rewards that judged, not somebody who reads."""

    @property
    def columns(self) -> list[str]:
        """The objectives' columns of `scores`."""
        return [f"{self.collected.space}_{name}" for name in self.collected.objectives]

    @property
    def styles(self) -> dict[str, Style]:
        """Each method's look, in the table's order."""
        return styles_of(self.scores["method"])

    def of(self, method: str, column: str) -> PerSeed:
        """A method's scores by seed."""
        rows = self.scores[self.scores["method"] == method]
        return {int(seed): float(value) for seed, value in zip(rows["seed"], rows[column], strict=True)}

    def above(self, mine: str, others: Iterable[str], column: str) -> dict[str, PerSeed]:
        """Each of the others' label -> seed -> a method's score less the other's."""
        own = self.of(mine, column)
        return {f"that of {self.styles[each].label}": paired(own, self.of(each, column)) for each in others}


def main(config: TableMainConfig, console: Console) -> None:
    judges = chosen_judges(config.judge, objectives_of(config))
    paper, parts, rows, over = pd.read_csv(PAPER), [], [], []
    for name, prompts in prompt_sets(config).items():
        artefact, collected, part = conduct_part(config, name, prompts, judges, console)
        first = not parts
        parts.append(part)
        rows += judge_claims(part, first, paper)
        over.append(over_prompts(artefact, collected, drawn_claims(config, name, first, paper, judges)))
    claims = Judged(claims_frame(rows), over_prompts=together(over))

    folder = Artefact.begin("gapo", "table_main", config).folder
    frames = {"table": table_of(parts), "win_rates": rates_of(parts), "paper_table": paper}
    for name, frame in frames.items():
        write_atomically(folder / f"{name}.csv", frame.to_csv(index=False, lineterminator="\n"))
    write_atomically(folder / "table.md", page(parts, frames["table"], frames["win_rates"]))
    write_atomically(folder / "paper_table.md", paper_page(paper))
    claims.write(folder)
    pictures = [folder / f"table_main.{suffix}" for suffix in ("png", "pdf")]
    save_figure(draw(parts), *pictures)
    for part in parts:
        console.print(shown(part, frames["table"]))
    print_place(console, "table", folder / "table.md")
    print_claims(console, claims, pictures)


def methods_of(config: StudyConfig) -> dict[str, Product]:
    """The table's methods, those for one objective alone among them, in its order after SFT."""
    alone = {f"ppo_{name}": ppo_on_one(i) for i, name in enumerate(objectives_of(config))}
    return {**alone, **METHODS}


def conduct_part(
    config: TableMainConfig, name: str, prompts: DataConfig, judges: dict[str, Judge] | None, console: Console
) -> tuple[Artefact, Collected, Part]:
    """Measure all methods on a set of prompts, and write the files of its folder."""
    methods = methods_of(config)
    recorded = replace(config, judge=recordable(config.judge))
    artefact = Artefact.begin("gapo", "table_main", recorded, part=name)
    collected = conduct(config, methods, console, prompts)
    tables = artefact.tables(collected)
    artefact.write(collected, tables, None)
    return artefact, collected, part_of(config, name, collected, tables, judges)


def part_of(
    config: TableMainConfig, name: str, collected: Collected, tables: Tables, judges: dict[str, Judge] | None
) -> Part:
    """The scores and win rates of rows on a set of prompts."""
    methods = methods_of(config)
    columns = [f"{collected.space}_{objective}" for objective in collected.objectives]
    ends = final_rows(tables.points).set_index("method").loc[[REFERENCE, *methods]].reset_index()
    scores = ends[["method", "seed", *columns]].assign(average=ends[columns].mean(axis=1), kl=ends["kl"])
    others = [each for each in (REFERENCE, *methods) if each != OURS]
    rates = win_rates(collected, OURS, others, judges, config.judge.prompts)
    return Part(name, collected, scores, rates, judges is None)


def drawn_claims(
    config: TableMainConfig, name: str, first: bool, paper: pd.DataFrame, judges: dict[str, Judge] | None
) -> Callable[[Collected, Tables], list[Row]]:
    """The claims of a set of prompts that were drawn anew; without win rates, where somebody would have to be asked for
    them once more."""

    def claims(collected: Collected, tables: Tables) -> list[Row]:
        part = part_of(config, name, collected, tables, None)
        return judge_claims(part, first, paper, wins=judges is None)

    return claims


def table_of(parts: list[Part]) -> pd.DataFrame:
    """`prompt_set`, `method`, `seeds`; rewards, their average and KL in nats, each with the ends of its interval."""
    scores = pd.concat([part.scores.assign(prompt_set=part.name) for part in parts])
    return over_seeds(scores, ["prompt_set", "method"], [*parts[0].columns, "average", "kl"])


def rates_of(parts: list[Part]) -> pd.DataFrame:
    """All sets' win rates, one row for each compared method, objective and seed."""
    rates = pd.concat([part.rates.assign(prompt_set=part.name) for part in parts])
    return rates[["prompt_set", *rates.columns.drop("prompt_set")]]


def judge_claims(part: Part, first: bool, paper: pd.DataFrame, wins: bool = True) -> list[Row]:
    """The paper's claims, asked of one set of prompts; `first` is the one that stands for PKU-SafeRLHF."""
    two = len(part.columns) == 2
    return [
        *(ranked_claims(part, paper) if first and two else []),
        *(alone_claims(part) if first else overtaken_claims(part) if two else []),
        *average_claims(part),
        *(win_claims(part) if wins else []),
    ]


def ranked_claims(part: Part, paper: pd.DataFrame) -> list[Row]:
    """Each objective's order, in the paper's table, of the methods for all objectives and the start."""
    ours = dict(zip(ROLES, part.collected.objectives, strict=True))
    names = {f"ppo_{role}": f"ppo_{objective}" for role, objective in ours.items()}
    theirs = paper[paper["prompt_set"] == paper["prompt_set"].iloc[0]].set_index("method").rename(names)
    labels = {name: style.label for name, style in part.styles.items()}
    rows = []
    for (role, objective), column in zip(ours.items(), part.columns, strict=True):
        values = {name: part.of(name, column) for name in part.styles}
        about = f"{part.name}, {objective}"
        margin = reward_margin(part.collected, objective)
        rows += order_claims(
            theirs[role].to_dict(),
            values,
            labels,
            about=about,
            where=TABLE,
            what=column,
            margin=margin,
            without=names.values(),  # They have sentences of their own.
        )
    return rows


def alone_claims(part: Part) -> list[Row]:
    """PPO on one objective alone is best there, and below all that know of the others elsewhere."""
    objectives, rows = part.collected.objectives, []
    for name in objectives:
        others = [each for each in part.styles if each not in (f"ppo_{name}", EXTRA)]
        for objective, column in zip(objectives, part.columns, strict=True):
            # Worst of those that know of the objective, and of the start.
            word, relation, whom = (
                ("best", ">", others) if objective == name else ("worst", "<", [REFERENCE, *RIVALS, OURS])
            )
            claim = f"{part.name}, {objective}: PPO on {name} alone is {word}"
            gaps = part.above(f"ppo_{name}", whom, column)
            margin = reward_margin(part.collected, objective)
            rows.append(judge_several(claim, TABLE, f"its {column} -", gaps, relation, 0, margin=margin))
    return rows


def overtaken_claims(part: Part) -> list[Row]:
    """On hh-rlhf, in the paper, PPO on helpfulness alone is not the most helpful."""
    name, column = part.collected.objectives[0], part.columns[0]
    others = [each for each in part.styles if each not in (f"ppo_{name}", EXTRA)]
    claim = f"{part.name}, {name}: PPO on {name} alone is not best"
    margin = reward_margin(part.collected, name)
    gaps = part.above(f"ppo_{name}", others, column)
    return [judge_several(claim, TABLE, f"its {column} -", gaps, "<", 0, margin=margin, every=False)]


def average_claims(part: Part) -> list[Row]:
    """GAPO with p = 1 has the best average of the methods that train for all objectives."""
    head, what = f"{part.name}, average: {part.styles[OURS].label} above", f"its {part.collected.space} -"
    margin, theirs = weighted_margin(part.collected), part.above(OURS, RIVALS, "average")
    claim = f"{head} the best of the paper's methods for all objectives"
    rows = [judge_several(claim, TEXT, what, theirs, ">", 0, margin=margin)]
    for whom, gap in part.above(OURS, [*RIVALS, EXTRA], "average").items():
        claim = f"{head} {whom.removeprefix('that of ')}"
        rows.append(judge(claim, TEXT, f"{what} {whom}", gap, ">", 0, margin=margin, whose=OWN))
    return rows


def win_claims(part: Part) -> list[Row]:
    """GPT-4o prefers p = 1 to SFT and to p = 2; where recorded rewards judge, the question is ours."""
    rows = []
    for other in (REFERENCE, "gapo_p2"):
        for objective in part.collected.objectives:
            mine = part.rates.query("other == @other and objective == @objective")
            rate = {int(seed): float(each) for seed, each in zip(mine["seed"], mine["rate"], strict=True)}
            words = f"{part.styles[OURS].label} preferred to {part.styles[other].label}"
            whose, what = (OWN, "win rate by its reward") if part.by_rewards else (THEIRS, "win rate")
            claim = f"{part.name}, {objective}: {words}"
            rows.append(judge(claim, GPT4O, what, rate, ">", 0.5, margin=SHARE, whose=whose))
    return rows


def page(parts: list[Part], table: pd.DataFrame, rates: pd.DataFrame) -> str:
    """The table for readers."""
    intervals = "Means over seeds ± half of Student's t interval of 95%, where there are several."
    sections = [f"# GAPO: main table\n\n{intervals}\n"]
    wins = over_seeds(rates, ["prompt_set", "other", "objective"], ["rate"])
    for part in parts:
        title = f"## {part.name}: {part.collected.space} reward"
        sections.append(f"{title}\n\n{markdown_table(*cells_of(part, table))}")
        objectives, looks = part.collected.objectives, part.styles
        cells = wins[wins["prompt_set"] == part.name].set_index(["other", "objective"])
        rows = [
            [looks[other].label, *(cell(cells.loc[(other, name)], "rate") for name in objectives)]
            for other in dict.fromkeys(part.rates["other"])
        ]
        title = f"### {part.name}: share of prompts on which {looks[OURS].label} is preferred"
        sections.append(f"{title}\n\n{markdown_table(['to', *objectives], rows)}")
    return "\n".join(sections)


def cells_of(part: Part, table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """The head and the rows of a set of prompts, shortened for readers."""
    rows = [
        [part.styles[row["method"]].label, *(cell(row, name) for name in (*part.columns, "average", "kl"))]
        for _, row in table[table["prompt_set"] == part.name].iterrows()
    ]
    return ["method", *part.collected.objectives, "average", "KL (nats)"], rows


def shown(part: Part, table: pd.DataFrame) -> Table:
    """The same for the terminal."""
    head, rows = cells_of(part, table)
    title = f"gapo table_main, {part.name}: mean {part.collected.space} reward"
    out = Table(*head, title=title, title_justify="left")
    for row in rows:
        out.add_row(*row)
    return out


def paper_page(paper: pd.DataFrame) -> str:
    """The paper's own numbers for readers."""
    (source,) = paper["source"].unique()
    head = ["method", "prompts", *ROLES, "average", "harmless, %"]
    rows = [
        [row["label"], row["prompt_set"], *(f"{row[name]:.2f}" for name in (*ROLES, "average")), share]
        for _, row in paper.iterrows()
        for share in ["" if pd.isna(row["harmless_share"]) else f"{100 * row['harmless_share']:.2f}"]
    ]
    return f"# GAPO: main table\n\n{source}\n\n{markdown_table(head, rows)}"


def draw(parts: list[Part]) -> Figure:
    """A row a set of prompts: the objectives' plane, or bars for each of more than two; and bars of the average."""
    flat = len(parts[0].columns) == 2
    panels = [] if flat else parts[0].columns
    with canvas(4.6 * (len(panels) + 1 + flat), 4.2 * len(parts) + 0.6, "GAPO: main table") as figure:
        for sub, part in zip(divide(figure, len(parts), 1), parts, strict=True):
            first, *others = sub.subplots(1, len(panels) + 1 + flat)
            if flat:
                draw_plane(first, part)
            for ax, column in zip(others if flat else [first, *others], [*panels, "average"], strict=True):
                values = {name: part.of(name, column) for name in part.styles}
                draw_bars(ax, values, part.styles, title=f"{part.name}: {column.replace('_', ' ')}")
                ax.axhline(0, color="#777777", linewidth=0.8, zorder=1)
    return figure


def draw_plane(ax: Axes, part: Part) -> None:
    """Each method in both objectives, with the exact front."""
    exact = part.collected.exact
    front = None if exact is None else exact.front[part.columns].to_numpy()
    title = f"{part.name}: {part.collected.space} reward"
    draw_ends(ax, part.scores, part.columns, part.styles, title=title, front=front)
    ax.set_xlabel(f"{part.collected.objectives[0]}  (higher is better →)")
    ax.set_ylabel(f"{part.collected.objectives[1]}  (higher is better →)")


STUDY = Study(
    __file__,
    "ppo",
    METHODS,
    TableMainConfig,
    parts=lambda config: [("", config, methods_of(config))],
    reads=[DRAWS, PROMPT_SETS],
)

if __name__ == "__main__":
    script(STUDY, main)
