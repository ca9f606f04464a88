"""HaM: K policies at once, heads on one backbone that maximise the hypervolume of their objectives.

    python train_ham.py --data my_pairs.jsonl --labels helpful=helpful_better_id concise=-verbose_better_id \
        --model <hub id or folder>

A pair's better response has the reward 1, the other 0. Without --data responses and rewards come from the synthetic
world; without --model a small model is made from scratch, and kept as <out>/base.
"""

from argparse import ArgumentParser

import lightning as L
from lightning.pytorch.loggers import CSVLogger

import lightning_moa as moa

parser = ArgumentParser(description=__doc__)
parser.add_argument(
    "--data", default="synthetic", help="jsonl, json, csv or parquet: a prompt, two responses, labels"
)
parser.add_argument(
    "--labels", nargs="*", default=[], help="objective=column, the index of the better response"
)
parser.add_argument("--limit", type=int, help="at most so many rows of each split")
parser.add_argument("--model", help="hub id or folder of a pretrained model")
parser.add_argument("--heads", type=int, default=5, help="K")
parser.add_argument("--steps", type=int, default=200, help="updates")
parser.add_argument("--out", default="ham", help="folder of logs and the trained policies")


def main(args) -> None:
    L.seed_everything(0)
    labels = dict(label.split("=", 1) for label in args.labels)
    data = moa.TrainingData(args.data, labels, tokenizer=args.model, options={"limit": args.limit})

    model = args.model or moa.build_model(tokenizer=data.tokenizer)
    if not args.model:
        moa.save_model(model, f"{args.out}/base", data.tokenizer)
    policy = moa.Heads(model, args.heads, rank=8)
    likelihood = moa.RewardWeightedLikelihood(z_factor=2.0)
    spread = moa.Hypervolume(warm_up=args.steps // 4)  # first each head for a preference of its own
    method = moa.HaM(policy, likelihood, spread, objectives=data.objectives, lr=5e-3, grad_clip=1.0)
    trainer = L.Trainer(
        max_epochs=-1,
        max_steps=args.steps,
        limit_val_batches=20,
        logger=CSVLogger(args.out, name="log"),
        enable_checkpointing=False,
    )
    trainer.fit(method, data)
    trainer.validate(method, data)
    policy.save(f"{args.out}/policies", objectives=data.objectives)


if __name__ == "__main__":
    main(parser.parse_args())
