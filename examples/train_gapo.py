"""GAPO by PPO: one policy that balances its objectives by the directions of their gradients.

    python train_gapo.py --data my_pairs.jsonl --model <hub id or folder>

The rules below score responses. Without --data prompts and rewards come from the synthetic world.
"""

from argparse import ArgumentParser

import lightning as L
import numpy as np
from lightning.pytorch.loggers import CSVLogger

import lightning_moa as moa


def brevity(prompts: list[str], responses: list[str]) -> np.ndarray:
    """Fewer words are better."""
    return -np.array([len(response.split()) for response in responses], dtype=float)


def variety(prompts: list[str], responses: list[str]) -> np.ndarray:
    """Different words are better than repeated ones."""
    return np.array([len(set(words)) / max(1, len(words)) for words in map(str.split, responses)])


parser = ArgumentParser(description=__doc__)
parser.add_argument(
    "--data", default="synthetic", help="jsonl, json, csv or parquet with a column of prompts"
)
parser.add_argument("--limit", type=int, help="at most so many rows of each split")
parser.add_argument("--model", help="hub id or folder of a pretrained model")
parser.add_argument("--steps", type=int, default=100, help="updates")
parser.add_argument("--out", default="gapo", help="folder of logs and the trained policy")


def main(args) -> None:
    L.seed_everything(0)
    labels = None if args.data == "synthetic" else {"short": "shorter"}  # a rule: prompts alone are used
    data = moa.TrainingData(args.data, labels, tokenizer=args.model, options={"limit": args.limit})
    rewards = moa.RuleRewards(data.source.gold_rewards() or {"short": brevity, "varied": variety})

    model = args.model or moa.build_model(tokenizer=data.tokenizer)
    if not args.model:  # random weights, kept as the policy's base
        moa.save_model(model, f"{args.out}/base", data.tokenizer)
    policy = moa.LoRA(model, rank=8)
    ppo = moa.PPO.of(policy, rewards, data.tokenizer, kl_coeff=0.1, max_new_tokens=16)
    method = moa.GAPO(policy, ppo, objectives=rewards.objectives, probe="last_layer", lr=5e-3)
    log = CSVLogger(args.out, name="log")
    trainer = L.Trainer(max_epochs=-1, max_steps=args.steps, logger=log, enable_checkpointing=False)
    trainer.fit(method, data)
    trainer.validate(method, data)
    policy.save(f"{args.out}/policy", objectives=rewards.objectives)


if __name__ == "__main__":
    main(parser.parse_args())
