"""For which preferences a method's policies are trained, and how they are used afterwards."""

from lightning_moa.deployments.alone import Alone
from lightning_moa.deployments.base import Deployed, Deployment
from lightning_moa.deployments.heads import EachHead
from lightning_moa.deployments.in_prompt import InPrompt
from lightning_moa.deployments.nearest import Nearest
from lightning_moa.deployments.soup import Soup
from lightning_moa.deployments.steered import Steered
from lightning_moa.deployments.trained_on import TrainedOn

__all__ = [
    "Alone",
    "Deployed",
    "Deployment",
    "EachHead",
    "InPrompt",
    "Nearest",
    "Soup",
    "Steered",
    "TrainedOn",
]
