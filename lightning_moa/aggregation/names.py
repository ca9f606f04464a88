"""This room's answers by their short names. Light: no torch."""

from __future__ import annotations

from lightning_moa.answers import Known
from lightning_moa.policies.settings import HeadsConfig

AGGREGATIONS = {
    "linear": Known("lightning_moa.aggregation.linear:Linear"),
    "tchebycheff": Known("lightning_moa.aggregation.tchebycheff:Tchebycheff"),
    "smooth_tchebycheff": Known("lightning_moa.aggregation.smooth_tchebycheff:SmoothTchebycheff"),
    "augmented_tchebycheff": Known("lightning_moa.aggregation.augmented_tchebycheff:AugmentedTchebycheff"),
    "boundary_intersection": Known("lightning_moa.aggregation.boundary_intersection:BoundaryIntersection"),
    "mgda": Known("lightning_moa.aggregation.gapo:MGDA"),
    "gapo": Known("lightning_moa.aggregation.gapo:GAPO"),
    "pgapo": Known("lightning_moa.aggregation.gapo:PGAPO"),
    "upgrad": Known("lightning_moa.aggregation.upgrad:UPGrad"),
    "pcgrad": Known("lightning_moa.aggregation.from_torchjd:PCGrad"),
    "cagrad": Known("lightning_moa.aggregation.cagrad:CAGrad"),
    "aligned_mtl": Known("lightning_moa.aggregation.from_torchjd:AlignedMTL"),
    "imtl_g": Known("lightning_moa.aggregation.from_torchjd:IMTLG"),
    "nash_mtl": Known("lightning_moa.aggregation.nash_mtl:NashMTL"),
    "torchjd": Known("lightning_moa.aggregation.from_torchjd:FromTorchJD"),
    "epo": Known("lightning_moa.aggregation.epo:EPO"),
    "hypervolume": Known("lightning_moa.aggregation.volume:Hypervolume", {"heads": HeadsConfig}),
}
"""How m objectives become one update."""
