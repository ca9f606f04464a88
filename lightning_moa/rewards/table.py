"""What is known of each reward model on the hub: the one place that says how to feed it and read it.

Nothing heavy is imported here. `hub.HubRewards` loads a model by its entry.

The same model goes by different names: what HaM calls "faithful" is what RiC and Rewarded Soups call
"summary", and HaM's "hallucination" is their "faithful". `papers` keeps each paper's word, `objective` is
the name used here, and `models_of` gives a paper's models by its own words.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType

from lightning_moa.errors import UserError
from lightning_moa.rewards.inputs import (
    HUMAN_ASSISTANT,
    PROMPT_RESPONSE,
    RESPONSE_ONLY,
    SAFE_RLHF,
    SUMMARY_BOS_POST,
    SUMMARY_DOCUMENT,
    InputForm,
)

CLASSIFIER, SCORE_HEAD = "sequence classifier", "score head"


@dataclass(frozen=True)
class HubModel:
    """One reward model.

    Raises `UserError` for a kind or a sign that is not known.
    """

    id: str
    """Its name on the hub."""
    objective: str
    """The name of its objective here."""
    form: InputForm
    """How its input is built from a prompt and a response."""
    licence: str
    """The licence its authors state; "none stated" where they state none."""
    kind: str = CLASSIFIER
    """CLASSIFIER: loaded for sequence classification. SCORE_HEAD: Safe-RLHF's LLaMA with a linear head."""
    output: str | None = None
    """The label whose logit is the score, found by name in the model's id2label; None: its only output."""
    index: int | None = None
    """Which output is the score, where no label says it; from 0."""
    max_length: int | None = None
    """Longest input in tokens; None: what its tokenizer and its positions allow."""
    sign: int = 1
    """+1 where a higher output is better, -1 for a cost."""
    revision: str | None = None
    """The hub revision loaded by default: one with safetensors. None: the newest."""
    papers: MappingProxyType[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Paper to the word that it has for this objective."""
    note: str = ""
    """What else a user should know."""

    def __post_init__(self) -> None:
        if self.kind not in (CLASSIFIER, SCORE_HEAD):
            raise UserError(
                f"reward model {self.id}: kind={self.kind!r} is not {CLASSIFIER!r} or {SCORE_HEAD!r}"
            )
        if self.sign not in (1, -1):
            raise UserError(f"reward model {self.id}: sign={self.sign} is not 1 or -1")


def _papers(**words: str) -> MappingProxyType[str, str]:
    return MappingProxyType(words)


MODELS: tuple[HubModel, ...] = (
    HubModel(
        id="Ray2333/gpt2-large-harmless-reward_model",
        objective="harmless",
        form=HUMAN_ASSISTANT,
        licence="MIT",
        revision="b8f2f921817e5975fcde75ae99b6c52646e577f0",
        papers=_papers(HaM="harmless", RiC="harmless"),
        note="its config names no padding token",
    ),
    HubModel(
        id="Ray2333/gpt2-large-helpful-reward_model",
        objective="helpful",
        form=HUMAN_ASSISTANT,
        licence="MIT",
        revision="dac1612be70cff3a62de4a42793dab3a4cdf5ead",
        papers=_papers(HaM="helpful", RiC="helpful"),
        note="its config names no padding token",
    ),
    HubModel(
        id="mohameddhiab/humor-no-humor",
        objective="humor",
        form=RESPONSE_ONLY,
        licence="Apache-2.0",
        output="HUMOR",
        papers=_papers(HaM="humor", RiC="humor"),
        note="RiC takes the raw logit at index 1; here the index is that of the label HUMOR, whichever it is",
    ),
    HubModel(
        id="Tristan/gpt2_reward_summarization",
        objective="summary",
        form=SUMMARY_BOS_POST,
        licence="none stated",
        revision="a9658a9c2da88c0c64052c3e974338b0422c3a10",
        papers=_papers(HaM="faithful", RiC="summary", RewardedSoups="summary"),
        note="a preference model of summaries, whatever HaM's word for it; the revision adds safetensors",
    ),
    HubModel(
        id="CogComp/bart-faithful-summary-detector",
        objective="faithful",
        form=SUMMARY_DOCUMENT,
        licence="CC-BY-SA-4.0",
        output="FAITHFUL",
        revision="refs/pr/1",
        papers=_papers(HaM="hallucination", RiC="faithful", RewardedSoups="faithful"),
        note=(
            "higher means fewer hallucinations; Rewarded Soups takes the logit of FAITHFUL minus that of "
            "HALLUCINATED, RiC and this table the first alone; the revision adds safetensors"
        ),
    ),
    HubModel(
        id="OpenAssistant/reward-model-deberta-v3-large-v2",
        objective="preferred",
        form=PROMPT_RESPONSE,
        licence="MIT",
        papers=_papers(RiC="deberta"),
        note="optional in RiC's code, in none of its tables",
    ),
    HubModel(
        id="PKU-Alignment/beaver-7b-v1.0-reward",
        objective="helpful",
        form=SAFE_RLHF,
        licence="non-commercial",
        kind=SCORE_HEAD,
        revision="375cd6a9f0d7e339d2199b05ba129a4a8906596d",
        papers=_papers(Panacea="helpful", GAPO="helpful", SafeRLHF="reward"),
        note="scores of its later versions are not comparable with these",
    ),
    HubModel(
        id="PKU-Alignment/beaver-7b-v1.0-cost",
        objective="harmless",
        form=SAFE_RLHF,
        licence="non-commercial",
        kind=SCORE_HEAD,
        sign=-1,
        revision="c1bd343d2ddc2cb810bd736563c7ad0bf38f6b28",
        papers=_papers(GAPO="harmless", SafeRLHF="cost"),
        note=(
            "a cost, above 0 for an unsafe answer, hence negated; Panacea's own harmless model is not public, "
            "so this one in its place is a deviation from the paper"
        ),
    ),
)
"""All known reward models. Each has one objective."""


def hub_model(model_id: str) -> HubModel:
    """The entry of a hub id. Raises `UserError`, with the known ids, for any other name."""
    for entry in MODELS:
        if entry.id == model_id:
            return entry
    raise UserError(f"reward model {model_id!r}: known are {', '.join(entry.id for entry in MODELS)}")


def models_of(paper: str) -> dict[str, HubModel]:
    """A paper's models by its own words for their objectives.

    Raises `UserError`, with the known papers, for any other.
    """
    found = {entry.papers[paper]: entry for entry in MODELS if paper in entry.papers}
    if not found:
        known = sorted({name for entry in MODELS for name in entry.papers})
        raise UserError(f"paper {paper!r}: reward models are known of {', '.join(known)}")
    return found
