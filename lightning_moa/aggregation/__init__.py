"""How m objectives become one update.

An aggregator takes the losses (m,) of a batch, the preference (m,) and the trained parameters, and returns one
scalar whose gradient is the update. Where a batch carries g preferences, both are (g, m) and the scalar is the
mean over the g groups. One that looks at gradients takes those of the probed tensors for the parameters.
"""

from lightning_moa.aggregation.base import Aggregator
from lightning_moa.aggregation.gapo import GAPO, MGDA, PGAPO
from lightning_moa.aggregation.gradients import GradientAggregator
from lightning_moa.aggregation.hypervolume import (
    Hypervolume,
    even_preferences,
    hypervolume,
    inclusion_exclusion,
    random_scalarisation,
    sample_directions,
)
from lightning_moa.aggregation.lagrangian import Multipliers
from lightning_moa.aggregation.linear import Linear
from lightning_moa.aggregation.tchebycheff import Tchebycheff

__all__ = [
    "GAPO",
    "MGDA",
    "PGAPO",
    "Aggregator",
    "GradientAggregator",
    "Hypervolume",
    "Linear",
    "Multipliers",
    "Tchebycheff",
    "even_preferences",
    "hypervolume",
    "inclusion_exclusion",
    "random_scalarisation",
    "sample_directions",
]
