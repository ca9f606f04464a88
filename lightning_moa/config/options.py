"""Every setting of a study but those that its answers bring, typed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

from lightning_moa.data.configs import DataConfig
from lightning_moa.fields import option
from lightning_moa.optimiser import OptimiserConfig
from lightning_moa.strategies.choices import OPTIMISERS, PRECISIONS, STRATEGIES

SYNTHETIC = "synthetic"
LOGGERS = ("csv", "tensorboard", "wandb")


@dataclass
class ModelConfig:
    """The base model: built from scratch at its family's small size, or loaded."""

    family: str = option(
        "llama", "architecture of a model built from scratch", choices=("llama", "mistral", "opt")
    )
    path: str | None = option(None, "hub id or local folder of a pretrained model; empty: from scratch")
    revision: str | None = option(None, "hub revision of the pretrained model")
    hidden_size: int = option(64, "width, from scratch", at_least=1)
    layers: int = option(2, "number of layers, from scratch", at_least=1)
    heads: int = option(4, "attention heads, from scratch", at_least=1)
    intermediate_size: int = option(128, "width of the feed-forward layers, from scratch", at_least=1)
    gradient_checkpointing: bool = option(False, "recompute activations in the backward pass")
    share_prompts: bool = option(
        False,
        "let the prompt of a pair go through the model once for both responses: less work, the same numbers",
    )


@dataclass
class TokenizerConfig:
    """The tokenizer of a model built from scratch (the synthetic world and pretrained models bring their own)."""

    vocab_size: int = option(2000, "entries of the byte-level BPE fitted on the training split", at_least=260)


@dataclass
class SFTConfig(OptimiserConfig):
    """Supervised fine-tuning of a model built from scratch: the reference policy."""

    lr: float = option(3e-3, "peak learning rate", above=0)


@dataclass
class RewardModelConfig(OptimiserConfig):
    """A Bradley-Terry reward model trained on the pairs, one output per objective."""

    regularisation: float = option(0.001, "weight of the mean squared score", at_least=0)
    train: str = option(
        "all",
        "what is trained: all weights, a LoRA on the body's linear layers and the outputs, or the outputs alone",
        choices=("all", "lora", "head"),
    )
    rank: int = option(8, "of that LoRA, whose updates are scaled by 2", at_least=1)
    held_out: int = option(512, "held-out pairs, at most, that its accuracy is measured on", at_least=1)


@dataclass
class MethodConfig:
    """What one method of a study does differently."""

    steps: int | None = option(
        None, "updates of each of its policies; empty: as the objective says", at_least=1
    )
    lr: float | None = option(None, "its peak learning rate; empty: as the objective says", above=0)
    settings: dict[str, Any] = option(
        {}, "section.key: what else it says of its answers' own sections, such as settings.adapter.rank=4"
    )
    snapshots: list[float] = option(
        [], "shares of the training after which its policies are saved and measured"
    )
    watch: int = option(
        0, "updates between two looks at all objectives' gradients, kept in its runs; 0: none", at_least=0
    )


@dataclass
class TrainerConfig:
    """What every training of a method is logged to and watched by, besides what a study does itself."""

    logger: str = option(
        "csv", "where losses go: the run's log/metrics.csv alone, or another place too", choices=LOGGERS
    )
    callbacks: list[str] = option(
        [], "Lightning callbacks of one's own, [module:Class], each built without arguments"
    )


@dataclass
class EvaluationConfig:
    """How a trained policy is measured."""

    grid_step: float = option(0.1, "spacing of the grid of preferences", above=0, at_most=1)
    pairs: int = option(256, "held-out pairs for the accuracies", at_least=1)
    prompts: int = option(256, "held-out prompts that responses are sampled to", at_least=1)
    responses: int = option(
        1,
        "sampled to each prompt under each preference; intervals over prompts keep those of a prompt together",
        at_least=1,
    )
    max_new_tokens: int = option(16, "longest sampled response", at_least=1)
    temperature: float = option(1.0, "sampling temperature; 0 is greedy", at_least=0)
    top_p: float = option(1.0, "nucleus of the sampling", above=0, at_most=1)
    batch_size: int = option(1024, "rows of one forward pass", at_least=1)
    sample_seed: int | None = option(
        None, "seed of the sampling noise, the same for every policy; empty: the training seed", at_least=0
    )
    judge: str = option(
        "none",
        "a second reward model that no policy learns from: none, or trained on the half of the training prompts that "
        "the first one then does not see, with another seed",
        choices=("none", "trained"),
    )
    rules: bool = option(
        False,
        "measure length, repetition and ends of responses, too: what no reward model has to be asked for",
    )
    draws: int = option(
        0,
        "of prompts and held-out pairs, with replacement, for intervals of a study of one seed or two, "
        "over_prompts.csv; 0: none",
        at_least=0,
    )
    trained_rewards: bool = option(True, "score responses with a reward model trained on the pairs, too")
    prompt_sets: dict[str, dict[str, Any]] | None = option(
        None,
        "name: data.KEYs (and `name`, for another data set) of a set of prompts, for scripts that measure on several; "
        "{} is the study's own, and so is nothing",
        whole=True,
    )

    def for_seed(self, seed: int) -> Self:
        """With sampling noise of the training seed's own, unless `sample_seed` says which."""
        return replace(self, sample_seed=seed) if self.sample_seed is None else self


@dataclass
class HardwareConfig:
    """What the runs train on."""

    accelerator: str = option("cpu", "cpu or gpu", choices=("cpu", "gpu"))
    devices: int = option(1, "devices of a machine that one run trains on", at_least=1)
    nodes: int = option(1, "machines that one run trains on", at_least=1)
    strategy: str | None = option(
        None, "how they share the work; empty: single on one device, ddp on several", choices=STRATEGIES
    )
    precision: str = option(
        "fp32", "the base model's weights; what is trained stays in fp32", choices=PRECISIONS
    )
    optimiser: str = option("adamw", "AdamW with its state in 32 or in 8 bits", choices=OPTIMISERS)
    tf32: bool = option(False, "let the GPU multiply float32 matrices in TF32")
    bf32: bool = option(
        False,
        "let the CPU multiply float32 matrices the fast way, where it has one in bfloat16 (torch's `medium`)",
    )
    checkpoint_every: int = option(
        0,
        "updates between two checkpoints of a policy in training, ten times as many where all weights are trained; "
        "0: only when told to stop",
        at_least=0,
    )


@dataclass
class StudyConfig:
    """What every script can be told."""

    scale: str = option(
        "tiny",
        "smoke (seconds), tiny (minutes on a CPU), laptop (hours on a CPU, of a real model), gpu (one GPU), paper "
        "(the paper's set-up)",
    )
    seeds: list[int] = option([0, 1, 2], "training seeds")
    objectives: list[str] | None = option(None, "objectives, in order; empty: the data set's default")
    data: DataConfig = option(DataConfig, "data=NAME chooses the data set, data.KEY=VALUE sets its fields")
    results_dir: str | None = option(None, "where CSVs and pictures go; empty: results/ of the repository")
    runs_dir: str | None = option(None, "where trained policies are kept; empty: runs/ of the repository")
    fresh: bool = option(False, "train again what is finished; what was stopped goes on")
    replace: bool = option(False, "write over results of another configuration in the same folder")
    workers: int | None = option(
        None, "processes that train side by side; empty: one per usable core", at_least=1
    )
    code_in_key: bool = option(True, "retrain when the package's own code has changed")
    model: ModelConfig = option(ModelConfig, "the base model")
    tokenizer: TokenizerConfig = option(TokenizerConfig, "its tokenizer")
    vocabulary: list[str] = option(
        [],
        "words that the tokenizer of a world's model has before those that the study's methods need: studies of other "
        "methods that have as many begin from the same reference",
    )
    sft: SFTConfig = option(SFTConfig, "supervised fine-tuning of a model built from scratch")
    reward_model: RewardModelConfig = option(RewardModelConfig, "the trained reward model")
    probe: str = option(
        "last_layer",
        "whose gradients gradient-based aggregation looks at: the last layer's parameters, all parameters, or the last "
        "hidden states",
        choices=("last_layer", "all", "activations"),
    )
    probe_passes: str | None = option(
        None,
        "forward passes that those gradients are taken of: one shared by all objectives, or a fresh one for each (the "
        "same update at a higher cost); empty: shared, but fresh under ZeRO-3, which goes back through a pass but once",
        choices=("shared", "fresh"),
    )
    evaluation: EvaluationConfig = option(EvaluationConfig, "the measurements")
    trainer: TrainerConfig = option(TrainerConfig, "what trainings are logged to and watched by")
    hardware: HardwareConfig = option(HardwareConfig, "what the runs train on")
    exact_beta: float | None = option(
        None,
        "weight of the KL in the exact front, where the best policies are known; empty: what the objectives train "
        "under, and 0.5 where they train under none",
        above=0,
    )
    methods: dict[str, MethodConfig] = option({}, "what a method does differently, by its name")
