"""Multi-objective alignment of language models: one model, several conflicting preferences.

`import lightning_moa as moa` gives what a method is made of (`moa.SVDLoRA`, `moa.DPO`, `moa.Tchebycheff`), the
methods (`moa.Panacea`) and the measures of a front, each loaded when it is first used. `moa.GAPO`, `moa.MGDA` and
`moa.PGAPO` are the LightningModules; the aggregators of the same names are in `lightning_moa.aggregation`.
"""

from typing import TYPE_CHECKING

from lightning_moa.lazy import attach

if TYPE_CHECKING:
    from lightning_moa.aggregation.augmented_tchebycheff import AugmentedTchebycheff as AugmentedTchebycheff
    from lightning_moa.aggregation.base import Aggregator as Aggregator
    from lightning_moa.aggregation.boundary_intersection import BoundaryIntersection as BoundaryIntersection
    from lightning_moa.aggregation.cagrad import CAGrad as CAGrad
    from lightning_moa.aggregation.epo import EPO as EPO
    from lightning_moa.aggregation.from_torchjd import IMTLG as IMTLG
    from lightning_moa.aggregation.from_torchjd import AlignedMTL as AlignedMTL
    from lightning_moa.aggregation.from_torchjd import FromTorchJD as FromTorchJD
    from lightning_moa.aggregation.from_torchjd import PCGrad as PCGrad
    from lightning_moa.aggregation.gradients import GradientAggregator as GradientAggregator
    from lightning_moa.aggregation.lagrangian import Multipliers as Multipliers
    from lightning_moa.aggregation.linear import Linear as Linear
    from lightning_moa.aggregation.nash_mtl import NashMTL as NashMTL
    from lightning_moa.aggregation.smooth_tchebycheff import SmoothTchebycheff as SmoothTchebycheff
    from lightning_moa.aggregation.tchebycheff import Tchebycheff as Tchebycheff
    from lightning_moa.aggregation.upgrad import UPGrad as UPGrad
    from lightning_moa.aggregation.volume import Hypervolume as Hypervolume
    from lightning_moa.answers import use as use
    from lightning_moa.batches import PairBatch as PairBatch
    from lightning_moa.batches import PromptBatch as PromptBatch
    from lightning_moa.batches import Rollout as Rollout
    from lightning_moa.batches import SequenceBatch as SequenceBatch
    from lightning_moa.callbacks.grid_rewards import GridRewards as GridRewards
    from lightning_moa.callbacks.log_responses import LogResponses as LogResponses
    from lightning_moa.callbacks.looks import Look as Look
    from lightning_moa.callbacks.looks import log_numbers as log_numbers
    from lightning_moa.callbacks.stop_on_kl import StopOnKL as StopOnKL
    from lightning_moa.callbacks.watch_gradients import WatchGradients as WatchGradients
    from lightning_moa.callbacks.watch_heads import WatchHeads as WatchHeads
    from lightning_moa.config.options import StudyConfig as StudyConfig
    from lightning_moa.data.base import PreferenceData as PreferenceData
    from lightning_moa.data.base import RowData as RowData
    from lightning_moa.data.beavertails import BeaverTails as BeaverTails
    from lightning_moa.data.configs import DataConfig as DataConfig
    from lightning_moa.data.helpsteer2 import HelpSteer2 as HelpSteer2
    from lightning_moa.data.helpsteer3 import HelpSteer3 as HelpSteer3
    from lightning_moa.data.hh_rlhf import HHRLHF as HHRLHF
    from lightning_moa.data.pairs import Pairs as Pairs
    from lightning_moa.data.pku_saferlhf import PKUSafeRLHF as PKUSafeRLHF
    from lightning_moa.data.prompts import Prompts as Prompts
    from lightning_moa.data.scored import ScoredRows as ScoredRows
    from lightning_moa.data.summarize_from_feedback import SummarizeFromFeedback as SummarizeFromFeedback
    from lightning_moa.data.synthetic import Synthetic as Synthetic
    from lightning_moa.data.synthetic_summaries import SyntheticSummaries as SyntheticSummaries
    from lightning_moa.data.synthetic_thresholds import SyntheticThresholds as SyntheticThresholds
    from lightning_moa.data.training import TrainingData as TrainingData
    from lightning_moa.data.ultrafeedback import UltraFeedback as UltraFeedback
    from lightning_moa.deployments.alone import Alone as Alone
    from lightning_moa.deployments.base import Deployed as Deployed
    from lightning_moa.deployments.base import Deployment as Deployment
    from lightning_moa.deployments.heads import EachHead as EachHead
    from lightning_moa.deployments.in_prompt import InPrompt as InPrompt
    from lightning_moa.deployments.mod import MOD as MOD
    from lightning_moa.deployments.nearest import Nearest as Nearest
    from lightning_moa.deployments.soup import Soup as Soup
    from lightning_moa.deployments.steered import Steered as Steered
    from lightning_moa.deployments.trained_on import TrainedOn as TrainedOn
    from lightning_moa.errors import Diverged as Diverged
    from lightning_moa.errors import UserError as UserError
    from lightning_moa.evaluation.accuracy import implicit_accuracies as implicit_accuracies
    from lightning_moa.evaluation.endpoint import EndpointConfig as EndpointConfig
    from lightning_moa.evaluation.endpoint import EndpointJudge as EndpointJudge
    from lightning_moa.evaluation.judge import Judge as Judge
    from lightning_moa.evaluation.judge import RewardJudge as RewardJudge
    from lightning_moa.evaluation.judge import WinRate as WinRate
    from lightning_moa.evaluation.judge import win_rate as win_rate
    from lightning_moa.evaluation.sampling import Decoding as Decoding
    from lightning_moa.evaluation.sampling import sample_grid as sample_grid
    from lightning_moa.fields import option as option
    from lightning_moa.inference.loading import load as load
    from lightning_moa.methods.base import Alignment as Alignment
    from lightning_moa.methods.dps import DPS as DPS
    from lightning_moa.methods.dynamic_weights import DynamicWeights as DynamicWeights
    from lightning_moa.methods.gapo import GAPO as GAPO
    from lightning_moa.methods.ham import HaM as HaM
    from lightning_moa.methods.head_watch import HeadWatch as HeadWatch
    from lightning_moa.methods.mgda import MGDA as MGDA
    from lightning_moa.methods.panacea import Panacea as Panacea
    from lightning_moa.methods.pgapo import PGAPO as PGAPO
    from lightning_moa.methods.products import Product as Product
    from lightning_moa.methods.reward_model import RewardModel as RewardModel
    from lightning_moa.methods.rewarded_soups import RewardedSoups as RewardedSoups
    from lightning_moa.methods.ric import RiC as RiC
    from lightning_moa.methods.safe_rlhf import SafeRLHF as SafeRLHF
    from lightning_moa.methods.sca import HeadwiseSCA as HeadwiseSCA
    from lightning_moa.methods.sft import SFT as SFT
    from lightning_moa.methods.watching import GradientWatch as GradientWatch
    from lightning_moa.objectives.base import Objective as Objective
    from lightning_moa.objectives.base import better_sign as better_sign
    from lightning_moa.objectives.base import labelled_mean as labelled_mean
    from lightning_moa.objectives.base import per_example as per_example
    from lightning_moa.objectives.bradley_terry import BradleyTerry as BradleyTerry
    from lightning_moa.objectives.dpo import DPO as DPO
    from lightning_moa.objectives.dpo import dpo_losses as dpo_losses
    from lightning_moa.objectives.dpo import implicit_margins as implicit_margins
    from lightning_moa.objectives.grpo import GRPO as GRPO
    from lightning_moa.objectives.likelihood import Likelihood as Likelihood
    from lightning_moa.objectives.likelihood import RewardWeightedLikelihood as RewardWeightedLikelihood
    from lightning_moa.objectives.modpo import MODPO as MODPO
    from lightning_moa.objectives.ppo import PPO as PPO
    from lightning_moa.objectives.ppo import PPOSettings as PPOSettings
    from lightning_moa.objectives.rloo import RLOO as RLOO
    from lightning_moa.optimiser import OptimiserConfig as OptimiserConfig
    from lightning_moa.pareto.dominance import coverage as coverage
    from lightning_moa.pareto.dominance import dominates as dominates
    from lightning_moa.pareto.dominance import is_non_dominated as is_non_dominated
    from lightning_moa.pareto.hypervolume import hypervolume as hypervolume
    from lightning_moa.pareto.measures import additive_epsilon as additive_epsilon
    from lightning_moa.pareto.measures import igd as igd
    from lightning_moa.pareto.measures import igd_plus as igd_plus
    from lightning_moa.pareto.measures import inner_product as inner_product
    from lightning_moa.pareto.measures import spacing as spacing
    from lightning_moa.pareto.measures import sparsity as sparsity
    from lightning_moa.pareto.min_norm import min_norm_weights as min_norm_weights
    from lightning_moa.pareto.preferences import preference_grid as preference_grid
    from lightning_moa.pareto.preferences import sample_preferences as sample_preferences
    from lightning_moa.policies.adapter import AdapterPolicy as AdapterPolicy
    from lightning_moa.policies.base import Policy as Policy
    from lightning_moa.policies.generation import Responses as Responses
    from lightning_moa.policies.generation import generate as generate
    from lightning_moa.policies.heads import HeadPolicy as HeadPolicy
    from lightning_moa.policies.heads import Heads as Heads
    from lightning_moa.policies.in_prompt import RewardPrompt as RewardPrompt
    from lightning_moa.policies.loading import load_policy as load_policy
    from lightning_moa.policies.logprobs import response_logps as response_logps
    from lightning_moa.policies.logprobs import token_logps as token_logps
    from lightning_moa.policies.lora import LoRA as LoRA
    from lightning_moa.policies.mixed import MixedPolicies as MixedPolicies
    from lightning_moa.policies.model import build_model as build_model
    from lightning_moa.policies.model import load_model as load_model
    from lightning_moa.policies.model import save_model as save_model
    from lightning_moa.policies.probes import Probe as Probe
    from lightning_moa.policies.prompted import PromptedLoRA as PromptedLoRA
    from lightning_moa.policies.soup import RewardedSoup as RewardedSoup
    from lightning_moa.policies.steered import SteeredPolicy as SteeredPolicy
    from lightning_moa.policies.svd_lora import SVDLoRA as SVDLoRA
    from lightning_moa.reporting.claims import judge as judge
    from lightning_moa.reporting.plots import front_figure as front_figure
    from lightning_moa.reporting.plots import save_figure as save_figure
    from lightning_moa.reporting.statistics import metric_difference as metric_difference
    from lightning_moa.rewards.base import Rewards as Rewards
    from lightning_moa.rewards.base import RuleRewards as RuleRewards
    from lightning_moa.rewards.hub import HubRewards as HubRewards
    from lightning_moa.rewards.joined import Normalised as Normalised
    from lightning_moa.rewards.joined import RewardSet as RewardSet
    from lightning_moa.rewards.table import HubModel as HubModel
    from lightning_moa.rewards.trained import TrainedRewards as TrainedRewards
    from lightning_moa.rewards.unit import UnitMap as UnitMap
    from lightning_moa.study.compared import run_study as run_study
    from lightning_moa.study.conduct import conduct as conduct
    from lightning_moa.study.results import Artefact as Artefact
    from lightning_moa.study.results import judged as judged
    from lightning_moa.study.results import print_summary as print_summary
    from lightning_moa.study.script import script as script
    from lightning_moa.study.study import Study as Study

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "RowData": "data.base",
        "save_figure": "reporting.plots",
        "front_figure": "reporting.plots",
        "metric_difference": "reporting.statistics",
        "judge": "reporting.claims",
        "judged": "study.results",
        "print_summary": "study.results",
        "Artefact": "study.results",
        "conduct": "study.conduct",
        "run_study": "study.compared",
        "script": "study.script",
        "StudyConfig": "config.options",
        "Study": "study.study",
        "use": "answers",
        "OptimiserConfig": "optimiser",
        "InPrompt": "deployments.in_prompt",
        "EachHead": "deployments.heads",
        "Alone": "deployments.alone",
        "Nearest": "deployments.nearest",
        "Soup": "deployments.soup",
        "Steered": "deployments.steered",
        "TrainedOn": "deployments.trained_on",
        "Deployment": "deployments.base",
        "Deployed": "deployments.base",
        "SteeredPolicy": "policies.steered",
        "better_sign": "objectives.base",
        "labelled_mean": "objectives.base",
        "per_example": "objectives.base",
        "implicit_margins": "objectives.dpo",
        "DPO": "objectives.dpo",
        "DPS": "methods.dps",
        "GAPO": "methods.gapo",
        "HHRLHF": "data.hh_rlhf",
        "HelpSteer2": "data.helpsteer2",
        "HelpSteer3": "data.helpsteer3",
        "Prompts": "data.prompts",
        "UltraFeedback": "data.ultrafeedback",
        "MGDA": "methods.mgda",
        "PGAPO": "methods.pgapo",
        "PPO": "objectives.ppo",
        "SFT": "methods.sft",
        "AdapterPolicy": "policies.adapter",
        "Aggregator": "aggregation.base",
        "Alignment": "methods.base",
        "BeaverTails": "data.beavertails",
        "BradleyTerry": "objectives.bradley_terry",
        "DataConfig": "data.configs",
        "Decoding": "evaluation.sampling",
        "Diverged": "errors",
        "EndpointConfig": "evaluation.endpoint",
        "EndpointJudge": "evaluation.endpoint",
        "GradientAggregator": "aggregation.gradients",
        "GradientWatch": "methods.watching",
        "HaM": "methods.ham",
        "HeadPolicy": "policies.heads",
        "HeadWatch": "methods.head_watch",
        "Heads": "policies.heads",
        "HeadwiseSCA": "methods.sca",
        "HubModel": "rewards.table",
        "HubRewards": "rewards.hub",
        "Hypervolume": "aggregation.volume",
        "Judge": "evaluation.judge",
        "Likelihood": "objectives.likelihood",
        "Linear": "aggregation.linear",
        "LoRA": "policies.lora",
        "Multipliers": "aggregation.lagrangian",
        "Normalised": "rewards.joined",
        "Objective": "objectives.base",
        "PKUSafeRLHF": "data.pku_saferlhf",
        "PPOSettings": "objectives.ppo",
        "PairBatch": "batches",
        "Pairs": "data.pairs",
        "Panacea": "methods.panacea",
        "Policy": "policies.base",
        "PreferenceData": "data.base",
        "Probe": "policies.probes",
        "Product": "methods.products",
        "PromptBatch": "batches",
        "Responses": "policies.generation",
        "RewardJudge": "evaluation.judge",
        "RewardModel": "methods.reward_model",
        "RewardPrompt": "policies.in_prompt",
        "RewardSet": "rewards.joined",
        "RewardWeightedLikelihood": "objectives.likelihood",
        "RewardedSoup": "policies.soup",
        "RewardedSoups": "methods.rewarded_soups",
        "Rewards": "rewards.base",
        "RiC": "methods.ric",
        "Rollout": "batches",
        "RuleRewards": "rewards.base",
        "SVDLoRA": "policies.svd_lora",
        "SafeRLHF": "methods.safe_rlhf",
        "ScoredRows": "data.scored",
        "SequenceBatch": "batches",
        "SummarizeFromFeedback": "data.summarize_from_feedback",
        "Synthetic": "data.synthetic",
        "SyntheticSummaries": "data.synthetic_summaries",
        "SyntheticThresholds": "data.synthetic_thresholds",
        "Tchebycheff": "aggregation.tchebycheff",
        "GridRewards": "callbacks.grid_rewards",
        "LogResponses": "callbacks.log_responses",
        "Look": "callbacks.looks",
        "log_numbers": "callbacks.looks",
        "StopOnKL": "callbacks.stop_on_kl",
        "WatchGradients": "callbacks.watch_gradients",
        "WatchHeads": "callbacks.watch_heads",
        "TrainedRewards": "rewards.trained",
        "TrainingData": "data.training",
        "UnitMap": "rewards.unit",
        "UserError": "errors",
        "WinRate": "evaluation.judge",
        "additive_epsilon": "pareto.measures",
        "build_model": "policies.model",
        "coverage": "pareto.dominance",
        "dominates": "pareto.dominance",
        "dpo_losses": "objectives.dpo",
        "generate": "policies.generation",
        "hypervolume": "pareto.hypervolume",
        "igd": "pareto.measures",
        "igd_plus": "pareto.measures",
        "implicit_accuracies": "evaluation.accuracy",
        "inner_product": "pareto.measures",
        "is_non_dominated": "pareto.dominance",
        "load_model": "policies.model",
        "load": "inference.loading",
        "load_policy": "policies.loading",
        "min_norm_weights": "pareto.min_norm",
        "option": "fields",
        "preference_grid": "pareto.preferences",
        "response_logps": "policies.logprobs",
        "sample_grid": "evaluation.sampling",
        "sample_preferences": "pareto.preferences",
        "save_model": "policies.model",
        "spacing": "pareto.measures",
        "sparsity": "pareto.measures",
        "token_logps": "policies.logprobs",
        "win_rate": "evaluation.judge",
        "SmoothTchebycheff": "aggregation.smooth_tchebycheff",
        "AugmentedTchebycheff": "aggregation.augmented_tchebycheff",
        "BoundaryIntersection": "aggregation.boundary_intersection",
        "FromTorchJD": "aggregation.from_torchjd",
        "PCGrad": "aggregation.from_torchjd",
        "AlignedMTL": "aggregation.from_torchjd",
        "IMTLG": "aggregation.from_torchjd",
        "UPGrad": "aggregation.upgrad",
        "CAGrad": "aggregation.cagrad",
        "NashMTL": "aggregation.nash_mtl",
        "EPO": "aggregation.epo",
        "GRPO": "objectives.grpo",
        "RLOO": "objectives.rloo",
        "MODPO": "objectives.modpo",
        "MOD": "deployments.mod",
        "MixedPolicies": "policies.mixed",
        "PromptedLoRA": "policies.prompted",
        "DynamicWeights": "methods.dynamic_weights",
    },
)
