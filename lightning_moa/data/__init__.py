"""Data sets as LightningDataModules, one file each, and all of them by name (`DATASETS`, `build`)."""

from typing import TYPE_CHECKING

from lightning_moa.lazy import attach

if TYPE_CHECKING:
    from lightning_moa.data.answers import Answers as Answers
    from lightning_moa.data.base import PreferenceData as PreferenceData
    from lightning_moa.data.base import RowData as RowData
    from lightning_moa.data.beavertails import BeaverTails as BeaverTails
    from lightning_moa.data.configs import CONFIGS as CONFIGS
    from lightning_moa.data.configs import DataConfig as DataConfig
    from lightning_moa.data.helpsteer2 import HelpSteer2 as HelpSteer2
    from lightning_moa.data.helpsteer3 import HelpSteer3 as HelpSteer3
    from lightning_moa.data.hh_rlhf import HHRLHF as HHRLHF
    from lightning_moa.data.pairs import Pairs as Pairs
    from lightning_moa.data.pku_saferlhf import PKUSafeRLHF as PKUSafeRLHF
    from lightning_moa.data.prompts import Prompts as Prompts
    from lightning_moa.data.registry import CLASSES as CLASSES
    from lightning_moa.data.registry import DATASETS as DATASETS
    from lightning_moa.data.registry import DataSet as DataSet
    from lightning_moa.data.registry import build as build
    from lightning_moa.data.registry import data_entry as data_entry
    from lightning_moa.data.scored import ScoredRows as ScoredRows
    from lightning_moa.data.summarize_from_feedback import SummarizeFromFeedback as SummarizeFromFeedback
    from lightning_moa.data.synthetic import Synthetic as Synthetic
    from lightning_moa.data.synthetic_summaries import SyntheticSummaries as SyntheticSummaries
    from lightning_moa.data.synthetic_thresholds import SyntheticThresholds as SyntheticThresholds
    from lightning_moa.data.ultrafeedback import UltraFeedback as UltraFeedback

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Answers": "answers",
        "CLASSES": "registry",
        "CONFIGS": "configs",
        "DATASETS": "registry",
        "HHRLHF": "hh_rlhf",
        "BeaverTails": "beavertails",
        "DataConfig": "configs",
        "DataSet": "registry",
        "HelpSteer2": "helpsteer2",
        "HelpSteer3": "helpsteer3",
        "PKUSafeRLHF": "pku_saferlhf",
        "Pairs": "pairs",
        "PreferenceData": "base",
        "Prompts": "prompts",
        "RowData": "base",
        "ScoredRows": "scored",
        "SummarizeFromFeedback": "summarize_from_feedback",
        "Synthetic": "synthetic",
        "SyntheticSummaries": "synthetic_summaries",
        "SyntheticThresholds": "synthetic_thresholds",
        "UltraFeedback": "ultrafeedback",
        "build": "registry",
        "data_entry": "registry",
    },
)
