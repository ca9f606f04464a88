"""Two methods in one study: trained, measured and judged by one call.

    python compare_two_methods.py

`mine` is Panacea with another aggregation: an answer of one's own is a class in a file of its own (docs/extending.md).
"""

import sys

import lightning_moa as moa

METHODS = {
    "panacea": moa.Product("panacea", "svd_lora", "dpo", "linear", moa.TrainedOn.sampled(), moa.Steered()),
    "mine": moa.Product("panacea", "svd_lora", "dpo", "tchebycheff", moa.TrainedOn.sampled(), moa.Steered()),
}
SETTINGS = {"dpo.beta": 0.5, "dpo.lr": 0.01, "dpo.steps": 100, "sft.steps": 400, "sft.batch_size": 128}

if __name__ == "__main__":
    changed = dict(word.split("=", 1) for word in sys.argv[1:])  # such as dpo.steps=10
    compared = moa.run_study(METHODS, data="synthetic", seeds=[0, 1, 2], settings=SETTINGS | changed)
    print(compared.claims[["claim", "value", "ci_low", "ci_high", "verdict"]].to_string(index=False))
