"""Foreign peer: writes the digits of `digits.npz` as TFRecord files with TensorFlow's writer."""

import sys
from pathlib import Path

import numpy as np
import tensorflow as tf

root = Path(sys.argv[1])
arrays = np.load(root / "digits.npz")


def feature(value: object) -> tf.train.Feature:
    if isinstance(value, bytes):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
    return tf.train.Feature(int64_list=tf.train.Int64List(value=np.ravel(value).tolist()))


def write(path: Path, rows: range, features: object) -> None:
    path.parent.mkdir(exist_ok=True)
    options = "GZIP" if path.suffix == ".gz" else ""
    with tf.io.TFRecordWriter(str(path), options) as writer:
        for row in rows:
            values = {key: feature(value) for key, value in features(row).items()}
            writer.write(
                tf.train.Example(features=tf.train.Features(feature=values)).SerializeToString()
            )


def encoded(row: int) -> dict[str, object]:
    picture = tf.io.encode_png(arrays["x"][row]).numpy()
    return {"image/encoded": picture, "image/class/label": arrays["y"][row], "image/format": b"png"}


def raw(row: int) -> dict[str, object]:
    sizes = {"image/height": 8, "image/width": 8, "image/channels": 1}
    return {"image/raw": arrays["x"][row].tobytes(), "image/class/label": arrays["y"][row], **sizes}


def integers(row: int) -> dict[str, object]:
    return {"image": arrays["x"][row], "label": str(arrays["y"][row]).encode()}


count = len(arrays["y"])
half = count // 2
write(root / "tfrecord/part-00000-of-00002", range(half), encoded)
write(root / "tfrecord/part-00001-of-00002", range(half, count), encoded)
write(root / "tfrecord-raw/digits.tfrecord", range(count), raw)
write(root / "tfrecord-integers/digits.tfrecords.gz", range(count), integers)
