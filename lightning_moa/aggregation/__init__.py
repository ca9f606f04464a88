"""How m objectives become one update.

An aggregator takes the losses (m,) of a batch, the preference (m,) and the trained parameters, and returns one
scalar whose gradient is the update. Where a batch carries g preferences, both are (g, m) and the scalar is the
mean over the g groups. One that looks at gradients takes those of the probed tensors for the parameters.
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
    from lightning_moa.aggregation.gapo import GAPO as GAPO
    from lightning_moa.aggregation.gapo import MGDA as MGDA
    from lightning_moa.aggregation.gapo import PGAPO as PGAPO
    from lightning_moa.aggregation.gradients import GradientAggregator as GradientAggregator
    from lightning_moa.aggregation.lagrangian import Multipliers as Multipliers
    from lightning_moa.aggregation.linear import Linear as Linear
    from lightning_moa.aggregation.nash_mtl import NashMTL as NashMTL
    from lightning_moa.aggregation.smooth_tchebycheff import SmoothTchebycheff as SmoothTchebycheff
    from lightning_moa.aggregation.tchebycheff import Tchebycheff as Tchebycheff
    from lightning_moa.aggregation.upgrad import UPGrad as UPGrad
    from lightning_moa.aggregation.volume import Hypervolume as Hypervolume
    from lightning_moa.aggregation.volume import fronts_of as fronts_of
    from lightning_moa.aggregation.volume import hypervolume as hypervolume
    from lightning_moa.aggregation.volume import inclusion_exclusion as inclusion_exclusion
    from lightning_moa.aggregation.volume import random_scalarisation as random_scalarisation
    from lightning_moa.aggregation.volume import sample_directions as sample_directions

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Aggregator": "base",
        "AlignedMTL": "from_torchjd",
        "AugmentedTchebycheff": "augmented_tchebycheff",
        "BoundaryIntersection": "boundary_intersection",
        "CAGrad": "cagrad",
        "EPO": "epo",
        "FromTorchJD": "from_torchjd",
        "GAPO": "gapo",
        "GradientAggregator": "gradients",
        "Hypervolume": "volume",
        "IMTLG": "from_torchjd",
        "Linear": "linear",
        "MGDA": "gapo",
        "Multipliers": "lagrangian",
        "NashMTL": "nash_mtl",
        "PCGrad": "from_torchjd",
        "PGAPO": "gapo",
        "SmoothTchebycheff": "smooth_tchebycheff",
        "Tchebycheff": "tchebycheff",
        "UPGrad": "upgrad",
        "fronts_of": "volume",
        "hypervolume": "volume",
        "inclusion_exclusion": "volume",
        "random_scalarisation": "volume",
        "sample_directions": "volume",
    },
)
