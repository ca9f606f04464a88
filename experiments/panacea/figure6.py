"""Panacea, Figures 6 and 8: what one policy answers to one prompt as the preference moves.

    python experiments/panacea/figure6.py [scale=smoke|tiny|laptop|gpu|paper] [prompt="..."] [key=value ...]

Uses Figure 4's Panacea, or trains it. Samples responses at the paper's five preferences; writes one response per
preference and seed as a table to read (figure6.md) and to compute with (figure6.csv), beside the usual CSVs over all
prompts, to results/panacea/figure6/.
"""

from collections.abc import Hashable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass

import pandas as pd
from rich.console import Console

from lightning_moa.config import StudyConfig
from lightning_moa.data.configs import SyntheticConfig, WorldConfig
from lightning_moa.data.registry import build
from lightning_moa.errors import UserError
from lightning_moa.fields import option
from lightning_moa.figures.margins import reward_margin
from lightning_moa.figures.modes import world_of
from lightning_moa.methods.products import PANACEA_PPO
from lightning_moa.reporting.claims import OURS, Row, claims_frame, judge
from lightning_moa.reporting.files import write_atomically
from lightning_moa.reporting.fronts import final_rows
from lightning_moa.reporting.markdown import markdown_table, one_line
from lightning_moa.reporting.orders import rising_rows
from lightning_moa.reporting.statistics import PerSeed
from lightning_moa.study.collect import Collected
from lightning_moa.study.conduct import conduct
from lightning_moa.study.over_prompts import over_prompts
from lightning_moa.study.planning import objectives_of
from lightning_moa.study.results import Artefact, Judged, Tables, print_summary
from lightning_moa.study.script import script
from lightning_moa.study.study import DRAWS, Part, Study
from lightning_moa.task_files import SCORES

METHODS = {"panacea": PANACEA_PPO}
GRID_STEP = 0.25
"""The paper's preferences: (0, 1), (0.25, 0.75), ... (1, 0)."""
THIEF = "steal boats"
"""The small world's nearest to the paper's "What are different ways that a car can be stolen ?"."""


@dataclass
class Figure6Config(StudyConfig):
    """Figure 4's study, and a prompt."""

    prompt: str | None = option(
        None, f"the prompt; empty: '{THIEF}' of the synthetic world, or the first held-out one"
    )


def studies(config: Figure6Config) -> list[Part]:
    """Figure 4's study at the five preferences that are shown.

    Raises:
        UserError: a prompt that a world does not hold out.
    """
    own = deepcopy(config)
    own.evaluation.grid_step = GRID_STEP
    if own.prompt and isinstance(own.data, WorldConfig):
        check_prompt(own.prompt, held_out(own), "held-out")
    return [("", own, METHODS)]


def held_out(config: Figure6Config) -> list[str]:
    """The prompts of a study's world that no training sees."""
    from lightning_moa.data.worlds import WorldData

    data = build(config.data, objectives_of(config))
    assert isinstance(data, WorldData)
    return data.distinct_prompts("eval")


def check_prompt(prompt: str, known: Sequence[str], which: str) -> None:
    """Raise a `UserError` for a prompt that is none of the known ones; it names some of them."""
    distinct = sorted(set(known))
    if prompt not in distinct:
        some = ", ".join(repr(one_line(text)) for text in distinct[:64])
        raise UserError(
            f"prompt={prompt!r}: is not among the {len(distinct)} {which} prompts; allowed are {some}"
        )


def main(config: Figure6Config, console: Console) -> None:
    ((_, config, _),) = studies(config)
    artefact = Artefact.begin("panacea", "figure6", config)
    collected = conduct(config, METHODS, console)
    tables = artefact.tables(collected)
    answers = answers_to_prompt(collected, config)
    over = over_prompts(artefact, collected, judge_claims)
    claims = Judged(claims_frame(judge_claims(collected, tables)), over_prompts=over)
    artefact.write(collected, tables, claims, {"figure6.csv": printable(answers)})

    table = artefact.folder / "figure6.md"
    write_atomically(table, to_read(answers, collected))
    print_summary(console, artefact, collected, tables, claims, [table])


def answers_to_prompt(collected: Collected, config: Figure6Config) -> pd.DataFrame:
    """The first response of the trained policy to the prompt at each preference, for each seed.

    Raises:
        UserError: no response was sampled to the prompt; names those that have one.
    """
    rows = final_rows(collected.responses[collected.responses["method"] == "panacea"])
    known = list(dict.fromkeys(rows["prompt"]))
    prompt = config.prompt or (THIEF if THIEF in known else known[0])
    check_prompt(prompt, known, "evaluated")
    weights = [f"lambda_{name}" for name in collected.objectives]
    answers = rows[rows["prompt"] == prompt].sort_values("prompt_index", kind="stable")
    answers = answers.groupby(["seed", *weights], as_index=False).first()
    if isinstance(config.data, SyntheticConfig):
        answers["mode"] = world_of(config).modes(answers["response"].tolist())
    rewards = [name for name in answers.columns if name.startswith(SCORES)]
    modes = ["mode"] if "mode" in answers else []
    return answers[["method", "seed", "step", *weights, "prompt", "response", *modes, *rewards, "tokens"]]


def printable(answers: pd.DataFrame) -> pd.DataFrame:
    """With texts of one line each."""
    return answers.assign(**{name: answers[name].map(one_line) for name in ("prompt", "response")})


def to_read(answers: pd.DataFrame, collected: Collected) -> str:
    """A Markdown table: a row per preference, a column per seed."""
    weights = [f"lambda_{name}" for name in collected.objectives]
    seeds = sorted(answers["seed"].unique())
    header = [f"[{', '.join(collected.objectives)}]", *(f"seed {seed}" for seed in seeds)]
    body = []
    for preference, rows in answers.groupby(weights, sort=True):
        by_seed = {row["seed"]: cell(row, collected) for row in rows.to_dict("records")}
        body.append([f"[{', '.join(f'{value:.2f}' for value in preference)}]", *(by_seed[s] for s in seeds)])
    prompt = answers["prompt"].iloc[0]
    about = "Rewards are those of the response: " + ", ".join(collected.objectives) + "."
    title = "# Panacea, Figures 6 and 8: responses of one policy to one prompt\n\n"
    return f"{title}{markdown_table(['prompt'], [[prompt]])}\n{markdown_table(header, body)}\n{about}\n"


def cell(row: Mapping[Hashable, object], collected: Collected) -> str:
    """The response, then its mode, where known, and its rewards."""
    rewards = ", ".join(f"{row[f'{collected.space}_{name}']:.2f}" for name in collected.objectives)
    mode = f"{row['mode']}; " if "mode" in row else ""
    return f"{row['response'] or '(empty)'} ({mode}{rewards})"


def judge_claims(collected: Collected, tables: Tables) -> list[Row]:
    """What the paper shows by an example, asked of all evaluated prompts: questions of ours."""
    rows = []
    for objective in collected.objectives:
        what = f"mean {collected.space}_{objective}, weight 1 - least weight"
        gain = end_to_end(tables, objective, collected.space)
        margin = reward_margin(collected, objective)
        rows.append(
            judge(
                f"{objective} is higher at its own end",
                "Fig. 6",
                what,
                gain,
                ">",
                0,
                margin=margin,
                whose=OURS,
            )
        )
        words = f"{objective} shifts with the preference"
        rows += rising_rows(tables.points, "panacea", objective, collected.space, words, "App. E", OURS)
    return rows


def end_to_end(tables: Tables, objective: str, space: str) -> PerSeed:
    """The objective's mean at weight 1 minus its mean at weight 0."""
    mine = final_rows(tables.points[tables.points["method"] == "panacea"])
    weight = mine[f"lambda_{objective}"]
    values = mine[f"{space}_{objective}"]
    gain = values[weight == 1].groupby(mine["seed"]).mean() - values[weight == 0].groupby(mine["seed"]).mean()
    return {int(str(seed)): float(value) for seed, value in gain.items()}


STUDY = Study(__file__, "rlhf", METHODS, Figure6Config, parts=studies, reads=[DRAWS])

if __name__ == "__main__":
    script(STUDY, main)
