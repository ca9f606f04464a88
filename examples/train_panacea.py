"""Panacea by DPO: one policy that takes a preference, trained on pairs of one's own.

    python train_panacea.py --data my_pairs.jsonl --labels helpful=better concise=-longer --model <hub id or folder>

Without --data the pairs come from the synthetic world; without --model a small one is made, and kept as <out>/base.
"""

from argparse import ArgumentParser

import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger

import lightning_moa as moa

parser = ArgumentParser(description=__doc__)
parser.add_argument(
    "--data", default="synthetic", help="jsonl, json, csv or parquet: prompt, two responses, labels"
)
parser.add_argument(
    "--labels", nargs="*", default=[], help="objective=column, the index of the better response"
)
parser.add_argument("--limit", type=int, help="at most so many rows of each split")
parser.add_argument("--model", help="hub id or folder of a pretrained model")
parser.add_argument("--steps", type=int, default=-1, help="at most so many updates")
parser.add_argument("--out", default="panacea", help="folder of logs, checkpoints and the trained policy")
parser.add_argument("--resume", help="a checkpoint to go on from, all other words as before")


def main(args) -> None:
    L.seed_everything(0)
    labels = dict(label.split("=", 1) for label in args.labels)
    data = moa.TrainingData(args.data, labels, tokenizer=args.model, options={"limit": args.limit})

    model = args.model or moa.build_model(tokenizer=data.tokenizer)
    if not args.model:  # a model from scratch learns to answer first
        first = L.Trainer(max_epochs=1, max_steps=args.steps, logger=False, enable_checkpointing=False)
        first.fit(moa.SFT(moa.Policy(model)), data)
        moa.save_model(model, f"{args.out}/base", data.tokenizer)
    policy = moa.SVDLoRA(model, k=8, m=len(data.objectives))
    method = moa.Panacea(policy, moa.DPO(beta=0.1), lr=5e-3)
    trainer = L.Trainer(
        max_epochs=2,
        max_steps=args.steps,
        logger=CSVLogger(args.out, name="log"),
        callbacks=[ModelCheckpoint(args.out, monitor="val/loss", save_last=True)],
    )
    trainer.fit(method, data, ckpt_path=args.resume, weights_only=True)
    policy.save(f"{args.out}/policy", objectives=data.objectives)
    prompt = data.batches("eval", "prompts", limit=1)[0]
    asked = policy, prompt.input_ids, prompt.attention_mask
    for preference in torch.eye(policy.m):  # one policy, asked for each objective
        said = moa.generate(*asked, preference=preference, max_new_tokens=16)
        print(preference.tolist(), data.tokenizer.decode(said.tokens[0], skip_special_tokens=True))


if __name__ == "__main__":
    main(parser.parse_args())
