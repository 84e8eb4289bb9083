"""The data, which training and serving prepare alike."""

import numpy as np
import torch
from PIL import Image

SIDE = 32
SUFFIXES = (".png", ".jpg", ".jpeg")


def prepare(pixels):
    """Return `[height, width, channel] uint8` as `[3, SIDE, SIDE] float32 0-1`."""
    picture = Image.fromarray(np.squeeze(pixels)).convert("RGB").resize((SIDE, SIDE))
    return torch.from_numpy(np.asarray(picture, np.float32) / 255).permute(2, 0, 1)


def read(channel):
    """Return inputs, targets and the names of the classes: none of them for rows of numbers."""
    folders = sorted(path for path in channel.iterdir() if path.is_dir() and path.name[0] != ".")
    if folders:
        return read_pictures(folders)
    tables = [np.loadtxt(file, delimiter=",", ndmin=2) for file in sorted(channel.glob("*.csv"))]
    if not tables:
        raise SystemExit(f"{channel} has neither CSV files nor a folder of pictures for each class")
    rows = torch.tensor(np.concatenate(tables), dtype=torch.float32)
    return rows[:, 1:], rows[:, :1], []


def read_pictures(folders):
    pictures, labels, others = [], [], 0
    for label, folder in enumerate(folders):
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            if file.suffix.lower() not in SUFFIXES:
                others += 1
                continue
            with Image.open(file) as picture:
                pictures.append(prepare(np.asarray(picture.convert("RGB"))))
            labels.append(label)
    if len(set(labels)) < len(folders):
        message = f"a class has no {', '.join(SUFFIXES)}: {[folder.name for folder in folders]}"
        raise SystemExit(message)
    print(f"pictures={len(pictures)}; classes={len(folders)}; ignored={others};", flush=True)
    return torch.stack(pictures), torch.tensor(labels), [folder.name for folder in folders]
