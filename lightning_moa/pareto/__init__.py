"""What a front is: dominance, hypervolume, preferences and measures of a set of points.

All objectives are maximised. Points are arrays of shape (n, m), preferences (m,) or (n, m); anything that
numpy can read is accepted.
"""

from lightning_moa.pareto.dominance import coverage, dominates, is_non_dominated
from lightning_moa.pareto.hypervolume import default_reference, hypervolume
from lightning_moa.pareto.hypervolume_gradient import hypervolume_gradient
from lightning_moa.pareto.measures import (
    additive_epsilon,
    expected_utility,
    igd,
    igd_plus,
    inner_product,
    maximum_utility_loss,
    spacing,
    sparsity,
)
from lightning_moa.pareto.min_norm import min_norm_weights
from lightning_moa.pareto.preferences import (
    check_preference,
    even_preferences,
    preference_grid,
    sample_preferences,
)

__all__ = [
    "additive_epsilon",
    "check_preference",
    "coverage",
    "default_reference",
    "dominates",
    "even_preferences",
    "expected_utility",
    "hypervolume",
    "hypervolume_gradient",
    "igd",
    "igd_plus",
    "inner_product",
    "is_non_dominated",
    "maximum_utility_loss",
    "min_norm_weights",
    "preference_grid",
    "sample_preferences",
    "spacing",
    "sparsity",
]
