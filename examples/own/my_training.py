"""A training of one's own, of answers from outside, by Lightning's Trainer: python my_training.py"""

import lightning as L
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from my_aggregation import SmoothTchebycheff
from my_callback import Finished
from my_objective import IPO
from my_policy import FiLM
from my_reward import brevity

import lightning_moa as moa


def main(**options) -> L.Trainer:
    """`options` are those of `Trainer.fit`, such as ckpt_path."""
    data = moa.TrainingData("my_data:MyData", batch_size=16)
    model = moa.build_model(tokenizer=data.tokenizer)
    moa.save_model(model, "film/base", data.tokenizer)
    policy = FiLM(model, m=len(data.objectives))
    method = moa.Panacea(policy, IPO(tau=0.1), SmoothTchebycheff(), lr=5e-3)
    watched = [
        moa.GridRewards({"concise": brevity}, prompts=16),
        Finished(prompts=16),
        EarlyStopping("val/loss", patience=2),
        ModelCheckpoint("film", monitor="val/loss", save_last=True, save_top_k=-1),
    ]
    trainer = L.Trainer(max_epochs=2, callbacks=watched)
    trainer.fit(method, data, **options)
    policy.save("film/policy", objectives=data.objectives)
    return trainer


if __name__ == "__main__":
    main()
