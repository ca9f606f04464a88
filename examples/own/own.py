"""A study of one's own: an objective, a policy, an aggregation, a deployment, a reward and a data set from outside,
beside the package's. python own.py [key=value ...]
"""

from my_aggregation import SmoothTchebycheff
from my_deployment import MixedLogits
from my_objective import IPO
from my_policy import FiLM

import lightning_moa as moa

FIXED = moa.use("svd_lora", steered=False)
METHODS = {
    "film": moa.Product("panacea", FiLM, IPO, SmoothTchebycheff, moa.TrainedOn.sampled(), moa.Steered()),
    "mixed": moa.Product("rewarded_soups", FIXED, IPO, "linear", moa.TrainedOn.corners(), MixedLogits()),
    "panacea": moa.Product("panacea", "svd_lora", "ppo", "linear", moa.TrainedOn.sampled(), moa.Steered()),
}
STUDY = moa.Study(__file__, "own", METHODS, scale="smoke")


def main(config, console) -> None:
    artefact = moa.Artefact.begin("own", "own", config)
    collected = moa.conduct(config, METHODS, console)
    tables = artefact.tables(collected)
    claims = moa.judged(lambda reference: claims_of(tables.at(reference)))
    artefact.write(collected, tables, claims)
    picture = artefact.folder / "own.png"
    moa.save_figure(moa.front_figure(tables.points, spaces=[collected.space], title="Own"), picture)
    moa.print_summary(console, artefact, collected, tables, claims, [picture])


def claims_of(tables) -> list:
    gap = moa.metric_difference(tables.metrics, "hypervolume", "film", "mixed", "accuracy")
    words, what = "FiLM spans more than mixed logits", "difference of hypervolume (accuracy)"
    return [moa.judge(words, "own", what, gap, ">", 0, whose="ours")]


if __name__ == "__main__":
    moa.script(STUDY, main)
