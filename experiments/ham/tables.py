"""HaM's Tables 1 to 5: what two heads answer to the same prompts, and the hyper-parameters.

    python experiments/ham/tables.py [scale=...] [shown=...] [responses=true|false] [key=value ...]

Tables 1 to 4 use the HaM runs of Figures 3a, 4a and 5a of the first seed, or train them. Of the heads they show the two
that are best for one objective each, by their mean rewards on all held-out prompts. Nobody picks the prompts: shown are
the first distinct held-out ones, where the data have a kind of prompt that the objectives are at odds on, of that kind;
`shown` of them in Tables 1 and 2, the first in Table 3 and the second in Table 4. An arrow points up where the response
earns more of an objective than the mean response of all heads to this prompt, else down. The paper's notes on single
responses are its authors' reading, and have no counterpart here.

With objectives of one's own, as at scale=laptop, there is one task: Table 1 shows it, Table 2 would be the same, and
summaries (3, 4) are made where `summary` has words for them.

Table 5 needs no run (responses=false writes it alone): the paper's rows and what its section 4 adds, with what
`config/*/paper.yaml` sets, what this start sets, and the keys. Where it takes no key, the paper's word is repeated.

Keys are for the assistant's studies (Tables 1, 2); the summaries' (3, 4) have their scale, seeds and folders, and keys
of their own as summary=[data.path=...,heads.number=...].

Writes table1.csv to table5.csv, tables.md and run.yaml to results/ham/tables/<scale>/.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from rich.console import Console

from lightning_moa.data.configs import SyntheticConfig, WorldConfig
from lightning_moa.errors import UserError
from lightning_moa.fields import option
from lightning_moa.figures.modes import world_of
from lightning_moa.figures.panels import PanelsConfig, settings_of
from lightning_moa.methods.products import ham
from lightning_moa.reporting.cluster_fronts import policy_means
from lightning_moa.reporting.files import remove, write_atomically
from lightning_moa.reporting.markdown import markdown_table, one_line
from lightning_moa.reporting.study_tables import reward_model_lines
from lightning_moa.study.collect import Collected
from lightning_moa.study.conduct import conduct
from lightning_moa.study.results import Artefact, print_place
from lightning_moa.study.script import script
from lightning_moa.study.study import Part, Study

METHODS = {"ham": ham()}
UP, DOWN = "up", "down"
ARROWS = {UP: "↑", DOWN: "↓"}
STUDIES = {
    "table1": ("harmless", "helpful"),
    "table2": ("harmless", "humorous"),
    "table3": ("faithful", "hallucination"),
}
"""Table -> objectives, in the order of the figures whose runs it uses; Table 4 is of Table 3's study. Objectives of
one's own go before them."""
SUMMARY = " of config/summary"
Row = tuple[str, Any, str]
"""The paper's name of a hyper-parameter, the value, where it comes from."""
TITLES = {
    "table1": "Table 1: harmless and helpful, two heads",
    "table2": "Table 2: harmless and humorous, two heads",
    "table3": "Table 3: faithful and free of hallucination, two heads",
    "table4": "Table 4: faithful and free of hallucination, two heads, another prompt",
    "table5": "Table 5: hyper-parameters",
}


@dataclass
class TablesConfig(PanelsConfig):
    """The assistant's studies, and how much is shown."""

    shown: int = option(4, "prompts in Tables 1 and 2", at_least=1)
    responses: bool = option(
        True, "make Tables 1 to 4, whose heads may have to be trained; false: Table 5 alone"
    )
    summary: list[str] = option([], "KEY=VALUE words for the summaries' studies")


def main(config: TablesConfig, console: Console) -> None:
    artefact = Artefact.begin("ham", "tables", config)
    summary = summary_settings(config)
    frames, models = response_tables(config, console)
    frames["table5"] = settings_table(config, summary)
    folder = artefact.folder
    titles = TITLES | ({"table1": own_title(config.objectives)} if config.objectives else {})
    for file in ("run.yaml", *(f"{name}.csv" for name in TITLES if name not in frames)):
        remove(folder / file)
    for name, frame in frames.items():
        write_atomically(folder / f"{name}.csv", printable(frame).to_csv(index=False, lineterminator="\n"))
    notes = {name: "".join(f"\n{line}\n" for line in lines) for name, lines in models.items()}
    pages = [f"## {titles[name]}\n\n{markdown(frame)}{notes.get(name, '')}" for name, frame in frames.items()]
    write_atomically(folder / "tables.md", "\n".join(pages))
    artefact.write_record(
        "those of the figures that they show responses of" if models else "none: nothing was trained"
    )
    print_place(console, "tables", folder / "tables.md")


def own_title(objectives: Sequence[str]) -> str:
    """Of Table 1, where it is not the paper's task."""
    return f"Table 1: {' and '.join(objectives)}, {len(objectives)} heads"


def summary_settings(config: TablesConfig) -> PanelsConfig | None:
    """Those of the summaries' studies at the same scale, in the same folders; None where there is one task."""
    summaries = Study(__file__, "summary", METHODS, PanelsConfig)
    known = (summaries.folder / f"{config.scale}.yaml").is_file()
    if not config.summary and (config.objectives or not known):
        return None
    own, _ = summaries.read([f"scale={config.scale}", *config.summary])
    for name in ("results_dir", "runs_dir", "workers", "fresh", "replace", "code_in_key", "seeds"):
        setattr(own, name, getattr(config, name))
    return own


def studies(config: TablesConfig) -> list[Part]:
    """Those whose answers are shown: of Figures 3 to 5, at one seed."""
    if not config.responses:
        return []
    names = ("table1",) if config.objectives else ("table1", "table2")
    own = [(name, study_of(config, STUDIES[name]), METHODS) for name in names]
    summary = summary_settings(config)
    return own if summary is None else [*own, ("table3", study_of(summary, STUDIES["table3"]), METHODS)]


def study_of(config: PanelsConfig, objectives: Sequence[str]) -> PanelsConfig:
    """The study of a task, at the first seed."""
    own = settings_of(config, objectives)
    own.seeds = config.seeds[:1]
    return own


def response_tables(
    config: TablesConfig, console: Console
) -> tuple[dict[str, pd.DataFrame], dict[str, list[str]]]:
    """Tables 1 to 4, of those that there are; and what the reward models of each are worth, where they were trained."""
    found, models = {}, {}
    for name, own, _ in studies(config):
        if name == "table3":
            both, collected = answers(own, 2, console)
            found |= {each: both[both["number"] == i] for i, each in ((1, "table3"), (2, "table4"))}
        else:
            found[name], collected = answers(own, config.shown, console)
        # What both of a study's tables rest on is said once, below the second.
        models[list(found)[-1]] = reward_model_lines(collected.reward_models)
    return found, models


def answers(own: PanelsConfig, shown: int, console: Console) -> tuple[pd.DataFrame, Collected]:
    """What the heads that are best for one objective each answer to the first prompts.

    Returns:
        A row for each prompt and head: `number` of the prompt from 1, `seed`, `prompt`, `head`, `best_for` (an
        objective), `response`, its `mode` where that is known, and for each objective the response's reward
        `<space>_<objective>`, the `mean_<objective>` of all heads' responses to the prompt, and `arrow_<objective>`;
        and what was measured.

    Raises:
        UserError: fewer heads than objectives, or fewer prompts than are to be shown.
    """
    collected = conduct(own, METHODS, console)
    rows = collected.responses[collected.responses["method"] == "ham"].sort_values(
        "prompt_index", kind="stable"
    )
    heads = best_heads(rows, collected)
    found = []
    for number, prompt in enumerate(prompts_shown(own, rows, shown), 1):
        mine = rows[rows["prompt"] == prompt]
        means = mine[reward_columns(collected)].mean()
        first = mine.groupby("policy").first().T
        for objective, head in heads.items():
            row: dict[str, Any] = {"number": number, "seed": own.seeds[0], "prompt": prompt, "head": head}
            row |= {"best_for": objective, "response": first[head]["response"]}
            found.append(row | rewards_of(first[head], means, collected))
    frame = pd.DataFrame(found)
    if isinstance(own.data, SyntheticConfig):
        frame.insert(6, "mode", world_of(own).modes(frame["response"].tolist()))
    return frame, collected


def reward_columns(collected: Collected) -> list[str]:
    return [f"{collected.space}_{name}" for name in collected.objectives]


def best_heads(rows: pd.DataFrame, collected: Collected) -> dict[str, str]:
    """Objective -> the head with the highest mean reward in it, of those that no objective before it has taken."""
    means = policy_means(rows, collected.objectives, collected.space).set_index("policy")
    if len(means) < len(collected.objectives):
        raise UserError(
            f"heads.number={len(means)}: a head for each of {', '.join(collected.objectives)} is needed"
        )
    found: dict[str, str] = {}
    for objective, column in zip(collected.objectives, reward_columns(collected), strict=True):
        found[objective] = str(means[column].drop(list(found.values())).idxmax())
    return found


def prompts_shown(config: PanelsConfig, rows: pd.DataFrame, shown: int) -> list[str]:
    """The first distinct prompts; in the synthetic world of requests the risky ones alone."""
    known = list(dict.fromkeys(rows["prompt"]))
    if isinstance(config.data, SyntheticConfig):
        risky = world_of(config).is_risky(known)
        known = [prompt for prompt, chosen in zip(known, risky, strict=True) if chosen]
    if len(known) < shown:
        raise UserError(
            f"shown={shown}: the held-out prompts have {len(known)} to show; allowed are 1 to {len(known)}"
        )
    return known[:shown]


def rewards_of(response: pd.Series, means: pd.Series, collected: Collected) -> dict[str, Any]:
    """The columns of one response's rewards."""
    row: dict[str, Any] = {}
    for objective, column in zip(collected.objectives, reward_columns(collected), strict=True):
        arrow = UP if response[column] > means[column] else DOWN
        row |= {column: response[column], f"mean_{objective}": means[column], f"arrow_{objective}": arrow}
    return row


def settings_table(config: PanelsConfig, summary: PanelsConfig | None) -> pd.DataFrame:
    """Table 5 as text: `hyper_parameter`, `paper_scale` (as paper.yaml has it), `value` (of this start; none where
    there are no summaries), `source`."""
    ours = [
        Study(__file__, family, METHODS, PanelsConfig).read(["scale=paper"])[0]
        for family in ("assistant", "summary")
    ]
    pairs = zip(settings_rows(*ours), settings_rows(config, summary or config), strict=True)
    rows = [
        (name, text_of(paper), text_of(None if summary is None and SUMMARY in source else value), source)
        for (name, paper, source), (_, value, _) in pairs
    ]
    return pd.DataFrame(rows, columns=["hyper_parameter", "paper_scale", "value", "source"])


def settings_rows(config: PanelsConfig, summary: PanelsConfig) -> list[Row]:
    """The paper's rows in its order, those with two values as two; then what its section 4 adds."""
    return [
        *model_rows(config, summary),
        *training_rows(config),
        *data_rows(config, summary),
        *more_rows(config),
    ]


def model_rows(config: PanelsConfig, summary: PanelsConfig) -> list[Row]:
    """Basic information."""
    adapter, settings = config.adapter, config.likelihood
    models = [model.path or f"{model.family} from scratch" for model in (config.model, config.large)]
    hardware = f"{config.hardware.accelerator} x {config.hardware.devices}"
    adam = "Adam" if settings.weight_decay == 0 else "AdamW"
    tokens = [each.evaluation.max_new_tokens for each in (config, summary)]
    return [
        ("Architecture", "Transformer", "by design: causal language models of transformers"),
        ("Pre-training, small model", models[0], "model.path"),
        ("Pre-training, large model", models[1], "large.path"),
        ("Hardware", hardware, "hardware.accelerator, hardware.devices; the paper: NVIDIA Tesla V100 40 GB"),
        ("Quantization for training", config.hardware.precision, "hardware.precision; the paper: 8 bit"),
        ("Fine-tuning strategy", "LoRA", "by design: LoRA on the backbone, an output head for each policy"),
        ("LoRA r", adapter.rank, "adapter.rank"),
        ("LoRA alpha", adapter.scaling * adapter.rank, "adapter.scaling x adapter.rank"),
        ("LoRA dropout", adapter.dropout, "adapter.dropout"),
        ("Optimizer", adam, "likelihood.weight_decay: without any, AdamW is Adam"),
        ("Batch size", settings.batch_size, "likelihood.batch_size"),
        ("Inference tokens for evaluation, helpful assistant", tokens[0], "evaluation.max_new_tokens"),
        (
            "Inference tokens for evaluation, Reddit summary",
            tokens[1],
            f"evaluation.max_new_tokens{SUMMARY}",
        ),
    ]


def training_rows(config: PanelsConfig) -> list[Row]:
    """RiC, HaM, and SCA."""
    offline, online = config.likelihood, config.online
    return [
        ("Offline fine-tuning steps", offline.steps, "likelihood.steps"),
        ("Initial learning rate, offline", offline.lr, "likelihood.lr"),
        ("Initial learning rate, online", online.lr, "online.lr"),
        ("Learning rate scheduler, offline", offline.schedule, "likelihood.schedule"),
        ("Learning rate scheduler, online", online.schedule, "online.schedule"),
        ("Threshold for MORS, quantile of each reward", online.quantile, "online.quantile"),
        ("Online generation sample size per iteration", online.generated, "online.generated"),
        ("Online fine-tuning steps per iteration", online.steps, "online.steps"),
    ]


def data_rows(config: PanelsConfig, summary: PanelsConfig) -> list[Row]:
    """Datasets and reward models."""
    rows: list[Row] = []
    for task, family, own, rewards in (
        (
            "Helpful assistant",
            "",
            config,
            {"Harmless": "harmless", "Helpful": "helpful", "Humor": "humorous"},
        ),
        (
            "Reddit summary",
            SUMMARY,
            summary,
            {"Faithful": "faithful", "Hallucination": "hallucination"},
        ),
    ):
        rows += [
            (f"{task}: prompt", own.data.template, f"data.template{family}"),
            (f"{task}: dataset", own.data.name, f"data.name{family}"),
        ]
        for word, objective in rewards.items():
            source = f"likelihood.rewards.{objective}.model{family}"
            rows.append((f"{task}: {word.lower()} reward", reward_of(own, objective), source))
    return rows


def reward_of(config: PanelsConfig, objective: str) -> str:
    """What scores an objective in training."""
    source = config.likelihood.rewards.get(objective)
    if source is not None:
        return str(source["model"] if isinstance(source, dict) else source)
    world = isinstance(config.data, WorldConfig) and config.likelihood.reward in ("auto", "gold")
    return "the world's own" if world else "trained on the pairs"


def more_rows(config: PanelsConfig) -> list[Row]:
    """What section 4 says beside Table 5."""
    return [
        ("Section 4: policies K", config.heads.number, "heads.number"),
        ("Section 4: offline prompts", config.likelihood.rows, "likelihood.rows"),
        ("Section 4: online iterations", config.online.rounds, "online.rounds"),
        ("Section 4: prompts added per iteration", config.online.kept, "online.kept"),
        ("Section 4: evaluation prompts", config.evaluation.prompts, "evaluation.prompts"),
    ]


def text_of(value: Any) -> str:
    """The value as the paper would print it."""
    if value is None:
        return "-"
    return f"{value:.15g}" if isinstance(value, float) else str(value)


def printable(frame: pd.DataFrame) -> pd.DataFrame:
    """With texts of one line each."""
    texts = frame.select_dtypes(exclude="number").columns
    return frame.assign(**{name: frame[name].map(one_line) for name in texts})


def markdown(frame: pd.DataFrame) -> str:
    """A table to read: of settings as it is, of responses with arrows before the rewards."""
    if "arrow" not in " ".join(frame.columns):
        return markdown_table([name.replace("_", "-") for name in frame.columns], frame.to_numpy().tolist())
    objectives = [name.removeprefix("mean_") for name in frame.columns if name.startswith("mean_")]
    spaces = [
        name.removesuffix(f"_{objectives[0]}") for name in frame.columns if name.endswith(f"_{objectives[0]}")
    ]
    (space,) = (name for name in spaces if name not in ("mean", "arrow"))
    body = []
    for row in frame.to_dict("records"):
        shown = [f"{ARROWS[row[f'arrow_{name}']]} {row[f'{space}_{name}']:.2f}" for name in objectives]
        said = f"{row['response'] or '(empty)'}" + (f" ({row['mode']})" if "mode" in row else "")
        body.append([str(row["prompt"]), *shown, said, f"{row['head']}, best for {row['best_for']}"])
    return markdown_table(["input", *objectives, "output", "whose"], body)


STUDY = Study(__file__, "assistant", METHODS, TablesConfig, parts=studies)

if __name__ == "__main__":
    script(STUDY, main)
