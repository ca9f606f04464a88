"""Every setting of a study, typed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lightning_moa.data.configs import DataConfig
from lightning_moa.fields import option
from lightning_moa.strategies.choices import OPTIMISERS, PRECISIONS, STRATEGIES

SYNTHETIC = "synthetic"


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


@dataclass
class TokenizerConfig:
    """The tokenizer of a model built from scratch (the synthetic world and pretrained models bring their own)."""

    vocab_size: int = option(2000, "entries of the byte-level BPE fitted on the training split", at_least=260)


@dataclass
class OptimiserConfig:
    """AdamW, its schedule, and how long it runs."""

    lr: float = option(1e-3, "peak learning rate", above=0)
    weight_decay: float = option(0.0, "AdamW's weight decay", at_least=0)
    beta1: float = option(0.9, "AdamW's first momentum", at_least=0, below=1)
    beta2: float = option(0.95, "AdamW's second momentum", at_least=0, below=1)
    schedule: str = option("cosine", "learning-rate schedule", choices=("cosine", "linear", "constant"))
    warmup_ratio: float = option(
        0.03, "share of the steps that the learning rate rises over", at_least=0, at_most=1
    )
    grad_clip: float = option(1.0, "largest gradient norm; 0 does not clip", at_least=0)
    batch_size: int = option(64, "rows of an update, over all devices", at_least=1)
    accumulate: int = option(1, "micro-batches that an update is split into", at_least=1)
    steps: int | None = option(None, "updates; empty: as many as `epochs` takes", at_least=1)
    epochs: float = option(1.0, "passes over the training split, where `steps` is empty", above=0)


@dataclass
class SFTConfig(OptimiserConfig):
    """Supervised fine-tuning of a model built from scratch: the reference policy."""

    lr: float = option(3e-3, "peak learning rate", above=0)


@dataclass
class RewardModelConfig(OptimiserConfig):
    """A Bradley-Terry reward model trained on the pairs, one output per objective."""

    regularisation: float = option(0.001, "weight of the mean squared score", at_least=0)


@dataclass
class AdapterConfig:
    """The adapter that all policies of a study share in size."""

    rank: int = option(
        8, "k: preference-agnostic singular values (baselines without a preference get k + 1)", at_least=1
    )
    scaling: float = option(1.0, "factor on the low-rank update", above=0)
    targets: str = option(
        "all-linear-and-head", "linear layers adapted: all-linear-and-head, or a part of their names"
    )
    dropout: float = option(0.0, "dropout on the adapter's input", at_least=0, at_most=1)
    fixed_scale: float | None = option(None, "Panacea's factor on the preference; empty: learned")
    orthogonality: float = option(0.0, "weight of the penalty |U'U-I|^2 + |V'V-I|^2", at_least=0)


@dataclass
class DPOConfig(OptimiserConfig):
    """Direct preference optimisation, for every policy of the study."""

    beta: float = option(0.1, "DPO's beta: the strength of the pull to the reference policy", above=0)
    likelihood: float = option(
        0.0, "weight of the chosen responses' negative log-likelihood per token", at_least=0
    )
    preferences_per_batch: int = option(
        1, "preference vectors drawn for a batch, one per equal share of it", at_least=1
    )
    concentration: float = option(1.0, "Dirichlet concentration of the drawn preferences", above=0)


@dataclass
class ScoredConfig(OptimiserConfig):
    """An optimiser's settings, and what scores the responses that a policy learns from."""

    reward: str = option(
        "auto",
        "what scores responses: gold (the synthetic world's own), trained (on the pairs), hub (hub_rewards, and "
        "trained for objectives that it leaves out); auto: gold where there is one, else trained",
        choices=("auto", "gold", "trained", "hub"),
    )
    hub_rewards: dict[str, str] = option(
        {}, "objective: reward model, by its name in the table of hub models"
    )
    hub_paths: dict[str, str] = option(
        {}, "objective: local folder with the files of its hub_rewards model, read instead of the hub"
    )


@dataclass
class PPOConfig(ScoredConfig):
    """PPO, for every policy of the study; the optimiser's fields are the actor's."""

    kl_coeff: float = option(0.02, "weight of the KL from the reference in the reward (beta)", at_least=0)
    clip_ratio: float = option(0.2, "how far the ratio may move from 1", above=0)
    clip_score: float = option(50.0, "largest absolute score, and token reward", above=0)
    clip_value: float = option(5.0, "how far a value may move in one update", above=0)
    gamma: float = option(1.0, "discount", above=0, at_most=1)
    gae_lambda: float = option(0.95, "lambda of generalised advantage estimation", at_least=0, at_most=1)
    update_iters: int = option(1, "updates on each rollout", at_least=1)
    weigh: str = option(
        "advantages",
        "where the preference acts",
        choices=("surrogates", "advantages", "linear_reward", "tchebycheff_reward"),
    )
    ideal_point: list[float] | None = option(
        None, "z of tchebycheff_reward, one value per objective, after scaling"
    )
    max_kl: float = option(200.0, "mean KL in nats per response at which a run stops as diverged", above=0)
    critic_lr: float = option(5e-3, "the critic's peak learning rate", above=0)
    critic_weight_decay: float = option(0.0, "the critic's weight decay", at_least=0)
    critic_schedule: str = option(
        "constant", "the critic's learning-rate schedule", choices=("cosine", "linear", "constant")
    )
    critic_warmup_ratio: float = option(0.03, "share of the steps that it rises over", at_least=0, at_most=1)
    max_new_tokens: int = option(16, "longest sampled response in training", at_least=1)
    temperature: float = option(1.0, "sampling temperature in training", above=0)
    top_p: float = option(1.0, "nucleus of the sampling in training", above=0, at_most=1)
    ptx: float = option(
        0.0, "weight of the negative log-likelihood per token of given responses (PTX)", at_least=0
    )
    ptx_path: str | None = option(
        None, "file with columns prompt and response for PTX; empty: the data set's own responses"
    )
    reward_scale: dict[str, float] = option({}, "objective: factor on its score; 1 where none is given")
    objective_scale: dict[str, float] = option(
        {}, "objective: factor on the whole of it, score and KL term alike; 1 where none is given"
    )
    preferences_per_batch: int = option(
        1, "preference vectors drawn for a batch, one per equal share of it", at_least=1
    )
    concentration: float = option(1.0, "Dirichlet concentration of the drawn preferences", above=0)


@dataclass
class LikelihoodConfig(ScoredConfig):
    """Likelihood of scored responses: weighted by their rewards (HaM, SCA), or given them in the prompt (RiC)."""

    rows: int = option(
        5000, "responses of the offline phase, drawn at random from the training split", at_least=2
    )
    unit_map: str = option(
        "minmax",
        "what takes scores to rewards in [0, 1], fitted on the offline rows",
        choices=("minmax", "sigmoid", "rank"),
    )
    power: float = option(1.0, "exponent of the rewards that weigh a likelihood", above=0)
    weigh: str = option(
        "per_objective",
        "what weighs a likelihood: sum_j w_j r_j^power, so that objectives stay apart (the paper), or (w . r)^power, "
        "scalarised first",
        choices=("per_objective", "scalarise_first"),
    )
    z: float | None = option(
        None, "z of max((L + z) / z, 0), nats; empty: z_factor times the reference's largest |L|", above=0
    )
    z_factor: float = option(
        2.0, "z over the largest |L_j| of the reference policy on the offline rows", above=1
    )


@dataclass
class HeadsConfig:
    """HaM's policies: heads on one backbone."""

    number: int = option(5, "K: heads, each a policy", at_least=1)
    rank: int | None = option(
        None, "rank of each head's update of the model's own head; empty: a full head", at_least=1
    )
    jitter: float = option(0.0, "standard deviation of noise on each head at the start", at_least=0)
    warm_up: int = option(
        0,
        "updates, before the hypervolume's, in which head k maximises a scalarisation of its own",
        at_least=0,
    )
    volume: str = option(
        "exact", "how the hypervolume is computed", choices=("exact", "inclusion_exclusion", "random")
    )
    scalarisations: int = option(1024, "random directions of an update, where volume=random", at_least=1)
    directions: int | None = option(
        None,
        "where likelihood.weigh=scalarise_first: preferences on an even grid, each an objective of the hypervolume; "
        "empty: 2 m - 1",
        at_least=1,
    )
    watch: int = option(
        50,
        "updates between two looks at the heads (alive, KL, likelihood), kept in the run; 0: none",
        at_least=0,
    )
    watch_rows: int = option(512, "offline rows that such a look is taken on", at_least=1)


@dataclass
class OnlineConfig:
    """The online phase: rounds of sampling, scoring, filtering and training on."""

    rounds: int = option(0, "rounds; 0: offline only", at_least=0)
    generated: int = option(5000, "responses sampled in a round, over all policies of a method", at_least=1)
    kept: int = option(500, "of those that pass the filter, how many join the rows, at random", at_least=1)
    quantile: float = option(
        0.7, "MORS: a response passes where any score reaches this quantile of it", at_least=0, below=1
    )
    steps: int = option(400, "updates of a round", at_least=1)
    lr: float = option(1e-5, "learning rate of a round", above=0)
    schedule: str = option(
        "constant", "learning-rate schedule of a round", choices=("cosine", "linear", "constant")
    )
    temperature: float = option(1.0, "sampling temperature of a round", above=0)
    top_p: float = option(1.0, "nucleus of the sampling of a round", above=0, at_most=1)


@dataclass
class RiCConfig:
    """Rewards in the prompt."""

    marker: str = option("<r{i}>", "what stands before the reward of objective i, from 1")
    decimals: int = option(1, "decimals of a reward in the prompt", at_least=0)
    before: str = option("", "the prompt's ending that the rewards go in front of; empty: at its end")


@dataclass
class LagrangianConfig:
    """PPO-Lagrangian's multipliers, one for each objective after the first, which is the one that is maximised."""

    thresholds: list[float] | None = option(
        None, "least mean score of each objective after the first, after scaling; empty: 0"
    )
    lr: float = option(0.1, "step of the gradient ascent on their logarithms", above=0)
    initial: float = option(1.0, "their value at the start", above=0)
    largest: float = option(5.0, "their largest value", above=0)
    episodes: int = option(128, "last responses that a mean score is taken of", at_least=1)
    delay: int = option(0, "batches before they move", at_least=0)


@dataclass
class MethodConfig:
    """What one method of a study does differently."""

    steps: int | None = option(
        None, "updates of each of its policies; empty: as the objective says", at_least=1
    )
    lr: float | None = option(None, "its peak learning rate; empty: as the objective says", above=0)
    fixed_scale: float | None = option(None, "its factor on the preference; empty: as `adapter` says")
    snapshots: list[float] = option(
        [], "shares of the training after which its policies are saved and measured"
    )
    watch: int = option(
        0, "updates between two looks at all objectives' gradients, kept in its runs; 0: none", at_least=0
    )


@dataclass
class EvaluationConfig:
    """How a trained policy is measured."""

    grid_step: float = option(0.1, "spacing of the grid of preferences", above=0, at_most=1)
    pairs: int = option(256, "held-out pairs for the accuracies", at_least=1)
    prompts: int = option(256, "held-out prompts that responses are sampled to", at_least=1)
    max_new_tokens: int = option(16, "longest sampled response", at_least=1)
    temperature: float = option(1.0, "sampling temperature; 0 is greedy", at_least=0)
    top_p: float = option(1.0, "nucleus of the sampling", above=0, at_most=1)
    batch_size: int = option(1024, "rows of one forward pass", at_least=1)
    sample_seed: int = option(0, "seed of the sampling noise, the same for every policy", at_least=0)
    trained_rewards: bool = option(True, "score responses with a reward model trained on the pairs, too")
    prompt_sets: dict[str, dict[str, Any]] | None = option(
        None,
        "name: data.KEYs (and `name`, for another data set) of a set of prompts, for scripts that measure on several; "
        "{} is the study's own, and so is nothing",
    )


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
        "tiny", "smoke (seconds), tiny (minutes on a CPU), gpu (one GPU), paper (the paper's set-up)"
    )
    seeds: list[int] = option([0, 1, 2], "training seeds")
    objectives: list[str] | None = option(None, "objectives, in order; empty: the data set's default")
    data: DataConfig = option(DataConfig, "data=NAME chooses the data set, data.KEY=VALUE sets its fields")
    results_dir: str | None = option(None, "where CSVs and pictures go; empty: results/ of the repository")
    runs_dir: str | None = option(None, "where trained policies are kept; empty: runs/ of the repository")
    fresh: bool = option(False, "train again what is already there")
    workers: int | None = option(None, "processes that train side by side; empty: one per core", at_least=1)
    code_in_key: bool = option(True, "retrain when the package's own code has changed")
    model: ModelConfig = option(ModelConfig, "the base model")
    tokenizer: TokenizerConfig = option(TokenizerConfig, "its tokenizer")
    sft: SFTConfig = option(SFTConfig, "supervised fine-tuning of a model built from scratch")
    reward_model: RewardModelConfig = option(RewardModelConfig, "the trained reward model")
    adapter: AdapterConfig = option(AdapterConfig, "the policies' adapters")
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
    hardware: HardwareConfig = option(HardwareConfig, "what the runs train on")
    methods: dict[str, MethodConfig] = option({}, "what a method does differently, by its name")


@dataclass
class DPOStudyConfig(StudyConfig):
    """A study whose policies are trained by DPO."""

    dpo: DPOConfig = option(DPOConfig, "direct preference optimisation")


@dataclass
class PPOStudyConfig(StudyConfig):
    """A study whose policies are trained by PPO."""

    ppo: PPOConfig = option(PPOConfig, "proximal policy optimisation")
    lagrangian: LagrangianConfig = option(LagrangianConfig, "Safe RLHF's multipliers")


@dataclass
class LikelihoodStudyConfig(StudyConfig):
    """A study whose policies are trained by likelihood on scored responses: HaM, SCA, RiC."""

    likelihood: LikelihoodConfig = option(LikelihoodConfig, "likelihood of scored responses")
    heads: HeadsConfig = option(HeadsConfig, "HaM's policies")
    online: OnlineConfig = option(OnlineConfig, "the online phase")
    ric: RiCConfig = option(RiCConfig, "rewards in the prompt")
    large: ModelConfig = option(ModelConfig, "the larger model, for scripts that show two")
    clusters: int = option(
        5, "clusters of the held-out prompts; a point is one policy's mean rewards on one of them", at_least=1
    )
    exact_beta: float = option(
        0.5, "weight of the KL in the exact front that pictures show; nothing is trained under it", above=0
    )
