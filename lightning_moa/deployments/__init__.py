"""For which preferences a method's policies are trained, and how they are used afterwards."""

from typing import TYPE_CHECKING

from lightning_moa.lazy import attach

if TYPE_CHECKING:
    from lightning_moa.deployments.alone import Alone as Alone
    from lightning_moa.deployments.base import Deployed as Deployed
    from lightning_moa.deployments.base import Deployment as Deployment
    from lightning_moa.deployments.base import Load as Load
    from lightning_moa.deployments.heads import EachHead as EachHead
    from lightning_moa.deployments.in_prompt import InPrompt as InPrompt
    from lightning_moa.deployments.mod import MOD as MOD
    from lightning_moa.deployments.nearest import Nearest as Nearest
    from lightning_moa.deployments.soup import Soup as Soup
    from lightning_moa.deployments.steered import Steered as Steered
    from lightning_moa.deployments.trained_on import TrainedOn as TrainedOn

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Alone": "alone",
        "Deployed": "base",
        "Deployment": "base",
        "EachHead": "heads",
        "InPrompt": "in_prompt",
        "Load": "base",
        "MOD": "mod",
        "Nearest": "nearest",
        "Soup": "soup",
        "Steered": "steered",
        "TrainedOn": "trained_on",
    },
)
