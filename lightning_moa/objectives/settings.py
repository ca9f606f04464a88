"""The settings of this room's answers, each a section of a study's configuration. Light: no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lightning_moa.answers import Sections
from lightning_moa.fields import option
from lightning_moa.optimiser import SCHEDULES, OptimiserConfig
from lightning_moa.policies.settings import RiCConfig


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
    vertex_share: float = option(
        0.0,
        "share of the drawn preferences that are one objective alone, each as often",
        at_least=0,
        at_most=1,
    )


@dataclass
class ScoredConfig(OptimiserConfig):
    """An optimiser's settings, and what scores the responses that a policy learns from."""

    reward: str = option(
        "auto",
        "what scores responses by the objectives that `rewards` leaves out: gold (the synthetic world's own), trained "
        "(on the pairs), or auto: gold where there is one, else trained",
        choices=("auto", "gold", "trained"),
    )
    rewards: dict[str, Any] = option(
        {},
        "objective: gold, trained, 'module:name' of a function of (prompts, responses), a model of the table, or a "
        "mapping (model, path, revision, max_length; for a model that the table lacks also template or pair, index, "
        "sign)",
    )


@dataclass
class MODPOConfig(ScoredConfig):
    """MODPO, for every policy of the study."""

    beta: float = option(0.1, "DPO's beta: the strength of the pull to the reference policy", above=0)
    likelihood: float = option(
        0.0, "weight of the chosen responses' negative log-likelihood per token", at_least=0
    )
    base: str | None = option(
        None,
        "objective whose labels are learned from, the others entering by their rewards; empty: that of most weight",
    )
    preferences_per_batch: int = option(
        1, "preference vectors drawn for a batch, one per equal share of it", at_least=1
    )
    concentration: float = option(1.0, "Dirichlet concentration of the drawn preferences", above=0)
    vertex_share: float = option(
        0.0,
        "share of the drawn preferences that are one objective alone, each as often",
        at_least=0,
        at_most=1,
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
    max_kl: float | None = option(
        None,
        "mean KL in nats per response beyond which a run stops as diverged; empty: none is too large, and only what "
        "is not finite stops a run, as in the papers",
        above=0,
    )
    critic_start: str = option(
        "zero",
        "the value of every state to the critic at first: 0, or the mean score of the first rollout, for rewards whose "
        "mean is far from 0",
        choices=("zero", "scores"),
    )
    critic_lr: float = option(5e-3, "the critic's peak learning rate", above=0)
    critic_weight_decay: float = option(0.0, "the critic's weight decay", at_least=0)
    critic_schedule: str = option(
        "constant_with_warmup", "the critic's learning-rate schedule", choices=SCHEDULES
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
    vertex_share: float = option(
        0.0,
        "share of the drawn preferences that are one objective alone, each as often",
        at_least=0,
        at_most=1,
    )


@dataclass
class GRPOConfig(ScoredConfig):
    """GRPO, for every policy of the study. Rows of a batch are prompts."""

    group: int = option(8, "responses to each prompt, which are compared with one another", at_least=2)
    weigh: str = option(
        "linear_reward",
        "where the preference acts: linear_reward, on the rewards before they are compared; advantages, behind, each "
        "reward being compared by itself (GDPO); surrogates, on m losses, by the aggregation",
        choices=("surrogates", "advantages", "linear_reward"),
    )
    scale: str = option(
        "group",
        "what an advantage is divided by: the deviation of its group's rewards (and, with weigh=advantages, the sum by "
        "that of the batch), or nothing",
        choices=("group", "none"),
    )
    kl_coeff: float = option(0.04, "weight of the KL from the reference", at_least=0)
    kl_in: str = option(
        "loss",
        "where it stands: loss, an estimate (k3) for each token; or reward",
        choices=("loss", "reward"),
    )
    clip_ratio: float = option(0.2, "how far the ratio may move from 1", above=0)
    max_kl: float | None = option(
        None,
        "mean KL in nats per response beyond which a run stops as diverged; empty: none is too large, and only what "
        "is not finite stops a run, as in the papers",
        above=0,
    )
    update_iters: int = option(1, "updates on each rollout", at_least=1)
    max_new_tokens: int = option(16, "longest sampled response in training", at_least=1)
    temperature: float = option(1.0, "sampling temperature in training", above=0)
    top_p: float = option(1.0, "nucleus of the sampling in training", above=0, at_most=1)
    reward_scale: dict[str, float] = option({}, "objective: factor on its score; 1 where none is given")
    preferences_per_batch: int = option(
        1, "preference vectors drawn for a batch, one per equal share of it", at_least=1
    )
    concentration: float = option(1.0, "Dirichlet concentration of the drawn preferences", above=0)
    vertex_share: float = option(
        0.0,
        "share of the drawn preferences that are one objective alone, each as often",
        at_least=0,
        at_most=1,
    )


@dataclass
class RLOOConfig(GRPOConfig):
    """RLOO, for every policy of the study. Rows of a batch are prompts."""

    scale: str = option(
        "none", "what an advantage is divided by: nothing, or as GRPO's is", choices=("group", "none")
    )
    kl_coeff: float = option(0.05, "weight of the KL from the reference", at_least=0)
    kl_in: str = option(
        "reward",
        "where it stands: reward; or loss, an estimate (k3) for each token",
        choices=("loss", "reward"),
    )


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
    schedule: str = option("constant_with_warmup", "learning-rate schedule of a round", choices=SCHEDULES)
    temperature: float = option(1.0, "sampling temperature of a round", above=0)
    top_p: float = option(1.0, "nucleus of the sampling of a round", above=0, at_most=1)


SCORED: Sections = {"likelihood": LikelihoodConfig, "online": OnlineConfig, "ric": RiCConfig}
"""What all objectives have that learn from scored responses."""
