"""The options of every data set, light enough to be read before anything heavy is imported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

from lightning_moa.fields import option

HH_SUBSETS = ("harmless-base", "helpful-base", "helpful-online", "helpful-rejection-sampled")
"""The folders of hh-rlhf that hold comparisons."""

CHAT = "chat"
"""The template that is the tokenizer's own."""

CHECKED_BYTES = 100_000_000
"""Of a user's own files: how much is read while planning. What is larger is checked by the first worker."""


@dataclass
class DataConfig:
    """Where the rows come from and how they become token sequences."""

    name: str = option("", "the data set's name")
    path: str | None = option(
        None, "local file or folder (jsonl, json, csv, parquet, arrow, also .gz, .xz); empty: the hub"
    )
    revision: str | None = option(None, "the hub commit (40 hex digits) that is loaded when there is no path")
    labels: dict[str, str] = option({}, "objective: label column ('-column' reverses it)")
    template: str = option(
        "{prompt}",
        "the text given to the model for a prompt; holds {prompt} once, or shows how turns follow each other, 'Q: "
        "{prompt} A: {reply} Q: {prompt} A:'; or chat: the tokenizer's chat template, with a system's message, too",
        in_prompts=True,
    )
    eval_fraction: float = option(
        0.1,
        "share of the prompts held out for evaluation, where there is no test split",
        above=0,
        at_most=0.9,
    )
    split_seed: int = option(
        0,
        "seed of that split, and of the order in which evaluation rows are taken; the same for every training seed",
        at_least=0,
    )
    max_length: int = option(
        512,
        "longest prompt and response together, in tokens; a longer prompt loses its start, not its template",
        at_least=2,
    )
    max_response_length: int = option(256, "longest response, in tokens, EOS included", at_least=1)
    response_room: int | None = option(
        None,
        "tokens of max_length that a prompt to sample from leaves to its response at least, which gets what is left; "
        "empty: max_response_length",
        at_least=1,
    )
    long_responses: str = option(
        "drop", "a longer response: drop its pair, or cut it (counted and printed)", choices=("drop", "cut")
    )
    limit: int | None = option(None, "use at most so many rows of each split; empty: all", at_least=1)

    views: ClassVar[tuple[str, ...]] = ("pairs", "sequences", "prompts")  # what can be trained on
    scored: ClassVar[bool] = False
    """Whether single responses carry scores, are trained on as they are, and reward models fitted to them."""

    def label_columns(self) -> dict[str, str]:
        """Objective: label column, as `labels` has them; what a study's objectives are chosen from."""
        return self.labels

    def check_rows(self, objectives: Sequence[str]) -> None:
        """Raise a `UserError` for a mistake in local rows, before anything is trained: they are read as a worker will
        read them, up to `CHECKED_BYTES`."""
        from lightning_moa.data.files import size_of
        from lightning_moa.data.registry import build
        from lightning_moa.data.tables import check_labelled

        if self.path is not None and size_of(self.path) <= CHECKED_BYTES:
            check_labelled(build(self, objectives).tables())

    def for_seed(self, seed: int) -> Self:
        """The options for one training seed. Rows that are read are the same for every seed."""
        return self


@dataclass
class HHRLHFConfig(DataConfig):
    """Anthropic/hh-rlhf: dialogues with a chosen and a rejected last reply."""

    name: str = option("hh_rlhf", "the data set's name")
    revision: str | None = option("09be8c5bbc57cb3887f3a9732ad6aa7ec602a1fa", "the hub commit that is loaded")
    labels: dict[str, str] = option(
        {"harmless": "human", "concise": "shorter"},
        "objective: label column; 'human' is the chosen reply, 'harmless' and 'helpful' are the same on the rows of "
        "the folders of that name alone, 'shorter' is the one with fewer characters",
    )
    subsets: list[str] = option(
        ["harmless-base"], f"the folders that are read, any of {', '.join(HH_SUBSETS)}"
    )


@dataclass
class PKUSafeRLHFConfig(DataConfig):
    """PKU-Alignment/PKU-SafeRLHF: pairs with one verdict for helpfulness and one for harmlessness."""

    name: str = option("pku_saferlhf", "the data set's name")
    revision: str | None = option("9421ffafec3fa40a1f1a7d567b4d525079477ecb", "the hub commit that is loaded")
    labels: dict[str, str] = option(
        {"helpful": "better_response_id", "harmless": "safer_response_id"},
        "objective: label column ('-column' reverses it)",
    )
    template: str = option(
        "BEGINNING OF CONVERSATION: USER: {prompt} ASSISTANT:", "the text given to the model for a prompt"
    )


@dataclass
class AnswersConfig(DataConfig):
    """Your own single responses, each with a score for every objective. There are no pairs."""

    views: ClassVar[tuple[str, ...]] = ("sequences", "prompts")
    scored: ClassVar[bool] = True

    name: str = option("answers", "the data set's name")
    labels: dict[str, str] = option(
        {}, "objective: column of scores, any numbers, higher is better ('-column': lower is better)"
    )
    prompt_column: str | None = option(
        None, "the column of prompts; empty: prompt, instruction, question, context or input"
    )
    response_column: str | None = option(
        None,
        "the column of responses; empty: response, completion, answer or output, a list of completions, or messages "
        "that end in the response",
    )

    def check_rows(self, objectives: Sequence[str]) -> None:
        """As a worker will read them, up to `CHECKED_BYTES`."""
        from lightning_moa.data.answer_files import read_answers
        from lightning_moa.data.files import size_of
        from lightning_moa.data.tables import DropReport

        if size_of(self.path) <= CHECKED_BYTES:
            read_answers(self, objectives, DropReport())


@dataclass
class BeaverTailsConfig(DataConfig):
    """PKU-Alignment/BeaverTails: single answers marked safe or unsafe. There are no pairs."""

    name: str = option("beavertails", "the data set's name")
    revision: str | None = option("8401fe609d288129cc684a9b3be6a93e41cfe678", "the hub commit that is loaded")
    views: ClassVar[tuple[str, ...]] = ("sequences", "prompts")
    scored: ClassVar[bool] = True
    labels: dict[str, str] = option({"harmless": "is_safe"}, "objective: reward column, 1 for a safe answer")
    template: str = option(
        "BEGINNING OF CONVERSATION: USER: {prompt} ASSISTANT:", "the text given to the model for a prompt"
    )
    size: str = option("30k", "which edition is read", choices=("30k", "330k"))


@dataclass
class SummarizeFromFeedbackConfig(DataConfig):
    """openai/summarize_from_feedback, comparisons: posts with two summaries and a human choice."""

    name: str = option("summarize_from_feedback", "the data set's name")
    revision: str | None = option(None, "a commit of the hub's refs/convert/parquet branch (no default)")
    labels: dict[str, str] = option(
        {"preferred": "choice", "concise": "shorter"},
        "objective: label column; 'choice' is the human's, 'shorter' the one with fewer characters",
    )
    template: str = option(
        "{prompt}\n\nTL;DR:", "the text given to the model for a post; holds {prompt} once"
    )
    articles: str = option("use", "rows about CNN/DM news articles instead of posts", choices=("use", "drop"))


@dataclass
class PairsConfig(DataConfig):
    """Your own pairs, in any of the forms that `forms.py` tells apart by their columns."""

    name: str = option("pairs", "the data set's name")
    complete: bool = option(False, "only pairs with a label for each objective, not for any")
    prompt_column: str | None = option(
        None, "the column of prompts; empty: prompt, instruction, question, context or input"
    )
    response_columns: list[str] = option(
        [],
        "the columns of the two responses; empty: response_0 and response_1, or another form, told by its columns",
    )
    scores: dict[str, list[str]] = option(
        {},
        "objective: two columns of numbers, a rating of each response; the higher one is better, a tie is no label "
        "(the columns in the other order: the lower one)",
    )
    pairs_per_prompt: int | None = option(
        None,
        "of a prompt's several responses at most so many pairs, whichever they are; empty: all",
        at_least=1,
    )

    def label_columns(self) -> dict[str, str]:
        """Those of `labels`, and one for each objective of `scores`."""
        return self.labels | {name: rating_label(columns) for name, columns in self.scores.items()}

    def check_rows(self, objectives: Sequence[str]) -> None:
        """As a worker will read them, up to `CHECKED_BYTES`: some two seconds for 100 MB, and no torch."""
        from lightning_moa.data.files import size_of
        from lightning_moa.data.pair_files import check_columns, read_pairs
        from lightning_moa.data.tables import DropReport, check_labelled

        check_columns(self)
        if type(self) is not PairsConfig:  # Published sets, whose own modules make pairs of their rows.
            super().check_rows(objectives)
        elif size_of(self.path) <= CHECKED_BYTES:
            check_labelled(read_pairs(self, objectives, DropReport()))


def rating_label(columns: Sequence[str]) -> str:
    """The name of the label that two columns of ratings make."""
    return " against ".join(columns)


@dataclass
class PromptsConfig(DataConfig):
    """Your own file of prompts alone, for policies that learn from rewards of what they sample."""

    views: ClassVar[tuple[str, ...]] = ("prompts",)

    name: str = option("prompts", "the data set's name")
    prompt_column: str | None = option(
        None, "the column of prompts; empty: prompt, instruction, question, context, input or messages"
    )

    def check_rows(self, objectives: Sequence[str]) -> None:
        """As a worker will read them, up to `CHECKED_BYTES`."""
        from lightning_moa.data.files import size_of
        from lightning_moa.data.prompt_files import read_prompts
        from lightning_moa.data.tables import DropReport

        if size_of(self.path) <= CHECKED_BYTES:
            read_prompts(self, DropReport())


@dataclass
class HelpSteer2Config(PairsConfig):
    """nvidia/HelpSteer2: two responses to a prompt, each rated 0 to 4 in five respects."""

    name: str = option("helpsteer2", "the data set's name")
    revision: str | None = option("990b2711a36180dd19d9c94b8627844866f8982a", "the hub commit that is loaded")
    labels: dict[str, str] = option(
        {"helpful": "helpfulness", "concise": "-verbosity"},
        "objective: label column, any of helpfulness, correctness, coherence, complexity, verbosity; '-column' "
        "reverses it; a tie is no label",
    )


@dataclass
class HelpSteer3Config(PairsConfig):
    """nvidia/HelpSteer3, its preferences: conversations with two responses and one strength of preference, -3 to 3."""

    name: str = option("helpsteer3", "the data set's name")
    revision: str | None = option("f6d145777bcbde96137596340fab89793acd1031", "the hub commit that is loaded")
    labels: dict[str, str] = option(
        {"preferred": "overall_preference", "concise": "shorter"},
        "objective: label column; 'overall_preference' is the annotators', 'shorter' the one with fewer characters",
    )


@dataclass
class UltraFeedbackConfig(PairsConfig):
    """openbmb/UltraFeedback: four completions of a prompt, each rated 1 to 5 in four respects by a language model."""

    name: str = option("ultrafeedback", "the data set's name")
    revision: str | None = option("40b436560ca83a8dba36114c22ab3c66e43f6d5e", "the hub commit that is loaded")
    labels: dict[str, str] = option(
        {"helpful": "helpfulness", "truthful": "truthfulness"},
        "objective: label column, any of instruction_following, honesty, truthfulness, helpfulness, overall_score; "
        "'-column' reverses it; a tie is no label",
    )


@dataclass
class WorldConfig(DataConfig):
    """A small world: prompts, pairs and labels are drawn from it, as many as asked; nothing is read.

    Each training seed draws rows of its own, so that what differs between seeds holds the noise of the data too.
    """

    world: ClassVar[str]  # its class in lightning_moa.world
    own_objectives: ClassVar[tuple[str, ...]]  # those of a study that names none

    template: str = option("{prompt} <sep>", "the text given to the model for a prompt")
    long_responses: str = option(
        "cut", "a longer response; the world's own are cut at their longest", choices=("drop", "cut")
    )
    max_length: int = option(24, "longest prompt and response together, in tokens")
    max_response_length: int = option(16, "longest response, in tokens, EOS included")
    world_seed: int = option(0, "seed of the world's words and rewards", at_least=0)
    seed: int | None = option(
        None, "seed of the rows; empty: the training seed, and 0 where there is none", at_least=0
    )
    eval_fraction: float = option(
        0.25,
        "share of the prompts of each kind and topic that no training sees, rounded, at least one; the world's own "
        "split is drawn by split_seed",
        above=0,
        at_most=0.9,
    )
    pairs: int = option(10000, "training pairs", at_least=1)
    eval_pairs: int = option(2000, "held-out pairs", at_least=1)
    sft_rows: int = option(40000, "responses of the reference policy, for supervised fine-tuning", at_least=1)
    tilted_share: float = option(
        0.5,
        "share of the pairs' responses that come from optima of random preferences",
        at_least=0,
        at_most=1,
    )
    tilt_beta: float = option(1.0, "beta of those optima", above=0)
    labellers: dict[str, list[float]] = option(
        {},
        "labeller: preference; each labels an equal share of the pairs with one verdict, on the weighted sum of the "
        "rewards, which every objective then gets as its label. Empty: each objective is labelled by itself",
    )

    def check_rows(self, objectives: Sequence[str]) -> None:
        """Whether the world has these objectives, and labellers of them."""
        from lightning_moa.data.world_objectives import check_world

        check_world(self, objectives)

    def for_seed(self, seed: int) -> Self:
        """With rows of the training seed's own, unless `seed` says which."""
        return replace(self, seed=seed) if self.seed is None else self


@dataclass
class SyntheticConfig(WorldConfig):
    """The small world of requests: benign and risky ones, answered helpfully, harmlessly, humorously, concisely."""

    world = "World"
    own_objectives = ("helpful", "harmless")

    name: str = option("synthetic", "the data set's name")
    risky_share: float = option(0.5, "share of risky prompts, in 16ths or simpler", at_least=0, at_most=1)


@dataclass
class SyntheticSummariesConfig(WorldConfig):
    """The small world of summaries: facts of a source are kept, dropped or invented."""

    world = "SummaryWorld"
    own_objectives = ("faithful", "hallucination")

    name: str = option("synthetic_summaries", "the data set's name")


@dataclass
class SyntheticThresholdsConfig(WorldConfig):
    """The small world of benign requests, in which rewards count only where all reach a threshold in one response."""

    world = "ThresholdWorld"
    own_objectives = ("helpful", "humorous")

    name: str = option("synthetic_thresholds", "the data set's name")
    max_length: int = option(32, "longest prompt and response together, in tokens")
    world_seed: int = option(
        0, "seed of the world's words and rewards; here there is nothing to draw", at_least=0, at_most=0
    )
    thresholds: list[float] = option(
        [0.5, 0.5], "what helpful and humorous must reach in the same response, each above 0"
    )

    def check_rows(self, objectives: Sequence[str]) -> None:
        """Whether a response can reach the thresholds, too."""
        from lightning_moa.world import ThresholdWorld

        super().check_rows(objectives)
        ThresholdWorld.build(self.thresholds)


CONFIGS: dict[str, type[DataConfig]] = {
    "hh_rlhf": HHRLHFConfig,
    "pku_saferlhf": PKUSafeRLHFConfig,
    "beavertails": BeaverTailsConfig,
    "summarize_from_feedback": SummarizeFromFeedbackConfig,
    "pairs": PairsConfig,
    "answers": AnswersConfig,
    "prompts": PromptsConfig,
    "helpsteer2": HelpSteer2Config,
    "helpsteer3": HelpSteer3Config,
    "ultrafeedback": UltraFeedbackConfig,
    "synthetic": SyntheticConfig,
    "synthetic_summaries": SyntheticSummariesConfig,
    "synthetic_thresholds": SyntheticThresholdsConfig,
}
"""The options of each data set by its name."""
