"""Any method by a `LightningCLI`: python train_by_yaml.py fit --config panacea.yaml

Needs `pip install .[cli]`.
"""

import lightning as L
from lightning.pytorch.cli import LightningCLI

import lightning_moa as moa

if __name__ == "__main__":
    LightningCLI(
        moa.Alignment,
        moa.TrainingData,
        subclass_mode_model=True,
        save_config_callback=None,
        trainer_class=L.Trainer,
    )
