"""Trains a network on the CSV files of the channel `training`: a class, then its features.

Lightning keeps checkpoints in the directory that SageMaker saves, and resumes from the last one.
The model is an exported program, which is served without code.
"""

import argparse
import os
from pathlib import Path

import lightning
import numpy as np
import torch
from torch import nn

CHECKPOINTS = Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"), "checkpoints")


class Classifier(lightning.LightningModule):
    def __init__(self, inputs, classes, learning_rate):
        super().__init__()
        self.save_hyperparameters()
        self.network = nn.Sequential(
            nn.BatchNorm1d(inputs), nn.Linear(inputs, 64), nn.ReLU(), nn.Linear(64, classes)
        )

    def training_step(self, batch, _):
        rows, classes = batch
        return nn.functional.cross_entropy(self.network(rows), classes)

    def validation_step(self, batch, _):
        rows, classes = batch
        hits = self.network(rows).argmax(dim=1) == classes
        self.log("validation_accuracy", hits.float().mean())

    def on_validation_epoch_end(self):
        if not self.trainer.sanity_checking:
            accuracy = self.trainer.callback_metrics["validation_accuracy"]
            print(f"epoch={self.current_epoch + 1}; validation_accuracy={accuracy:.4f};")

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), self.hparams.learning_rate)


def read_tables(channel):
    tables = [np.loadtxt(file, delimiter=",", ndmin=2) for file in sorted(channel.glob("*.csv"))]
    table = torch.as_tensor(np.concatenate(tables), dtype=torch.float32)
    table = table[torch.randperm(len(table))]
    return torch.utils.data.TensorDataset(table[:, 1:], table[:, 0].long())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--learning-rate", type=float, default=0.003)
    options, others = parser.parse_known_args()
    if others:  # the SDKs may add --model_dir
        print("ignored:", *others, flush=True)

    lightning.seed_everything(0)
    rows = read_tables(Path(os.environ["SM_CHANNEL_TRAINING"]))
    training, validation = torch.utils.data.random_split(rows, [0.8, 0.2])
    inputs, classes = rows.tensors[0].shape[1], int(rows.tensors[1].max()) + 1
    model = Classifier(inputs, classes, options.learning_rate)
    trainer = lightning.Trainer(
        max_epochs=options.epochs,
        num_nodes=int(os.environ.get("GROUP_WORLD_SIZE", "1")),  # of torchrun
        default_root_dir=CHECKPOINTS,
        callbacks=[lightning.pytorch.callbacks.ModelCheckpoint(CHECKPOINTS, save_last=True)],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    last = CHECKPOINTS / "last.ckpt"
    trainer.fit(
        model,
        torch.utils.data.DataLoader(training, batch_size=64, shuffle=True),
        torch.utils.data.DataLoader(validation, batch_size=256),
        ckpt_path=last if last.exists() else None,
    )
    if trainer.is_global_zero:
        model.cpu().eval()
        example = torch.zeros(2, inputs)
        batch = torch.export.Dim("batch")
        program = torch.export.export(model.network, (example,), dynamic_shapes=({0: batch},))
        torch.export.save(program, Path(os.environ["SM_MODEL_DIR"], "model.pt2"))


if __name__ == "__main__":
    main()
