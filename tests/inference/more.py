"""Methods of other papers, for a study with all deployments."""

from lightning_moa.answers import use
from lightning_moa.deployments import EachHead, InPrompt, TrainedOn
from lightning_moa.methods.products import Product


def heads(number: int):
    """Beside policies that adapt the output head, which heads stand in the place of."""
    return use("heads", number=number, targets="all-linear")


HAM = Product("ham", heads(2), "likelihood", "hypervolume", TrainedOn.sampled(), EachHead())
RIC = Product(
    "ric", heads(1), "in_context", "linear", TrainedOn.sampled(), InPrompt(((0.5, 0.5), (1.0, 0.0)))
)
