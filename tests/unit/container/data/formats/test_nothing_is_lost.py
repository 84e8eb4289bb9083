"""Every reader returns each record exactly as it was written, or counts it and says why.

A record has a label, an image, and perhaps a flaw. Of the records of a set, the intact ones come
out in order, with their pixels and the names of their classes; the others are in `rejected`, or
are an error if none may be skipped. `READER_EXAMPLES=1000` tries more sets than CI does.
"""

from __future__ import annotations

import io
import json
import os
import re
import struct
import tarfile
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pyarrow import parquet

from container import contract
from container.data import loading
from container.data.formats import recordio_files
from container.data.formats.parts import Options
from container.data.images import LabeledImages
from container.errors import UserError
from local_test.data.record_formats import encode_recordio
from tests.support import encode_tfrecord

EXAMPLES = int(os.environ.get("READER_EXAMPLES", "12"))
UNLIMITED = Options(bad_record_limit=1000)
TEXTS = (
    *("cat", "Cat", "cat, black", 'say "x"', "café", "日本", "a b", "#1", "1_0", "1.5", "x;y"),
    *(
        "7",
        "007",
        "7.0",
        "+7",
        "-3",
        "2e3",
        "9007199254740992",
        "9007199254740993",
        "1e30",
        "\u0661",
    ),
)
"""Labels of which two must never become one class, unless they are the same number."""
INTEGERS = (0, 3, -1, 255, 2**53, 2**53 + 1, 2**63 - 1)
FLOATS = (0.1, 0.5, 3.0, 16777216.0)


@dataclass(frozen=True)
class Sample:
    """A record to be written."""

    label: str | int | float
    pixels: tuple[int, ...]
    """2 x 2, grey."""
    flaw: str = ""
    """`empty`, `damaged`, `joined`, `unlabeled`, `undecodable`, or none."""

    @property
    def text(self) -> bytes:
        """The label as text, which is not UTF-8 if it is undecodable."""
        return b"caf\xe9" if self.flaw == "undecodable" else str(self.label).encode()

    @property
    def picture(self) -> bytes:
        """The picture, or what is left of it."""
        stream = io.BytesIO()
        Image.fromarray(self.image).save(stream, "PNG")
        content = stream.getvalue()
        flawed = {"empty": b"", "damaged": content[:-20], "joined": content + content}
        return flawed.get(self.flaw, content)

    @property
    def image(self) -> np.ndarray:
        """`[2, 2] uint8`."""
        return np.array(self.pixels, np.uint8).reshape(2, 2)


Samples = Sequence[Sample]


def samples(labels: Sequence[object], flaws: Sequence[str] = ()) -> st.SearchStrategy[list[Sample]]:
    """Make one to twelve records; the first has no flaw, since it decides the shape."""
    one = st.builds(
        Sample,
        st.sampled_from(labels),
        st.tuples(*[st.integers(0, 255)] * 4),
        st.sampled_from(["", "", *flaws]),
    )
    return st.lists(one, min_size=1, max_size=12).map(
        lambda found: [Sample(found[0].label, found[0].pixels), *found[1:]]
    )


def read(write: Callable[[Path, Samples], None], records: Samples) -> LabeledImages:
    """Read what `write` writes, and check that all flaws are errors unless they may be skipped."""
    with tempfile.TemporaryDirectory() as directory:
        write(Path(directory), records)
        if any(record.flaw for record in records):
            with pytest.raises(UserError):
                loading.load(Path(directory))
        loaded = loading.load(Path(directory), UNLIMITED)
        return LabeledImages(
            loaded.images.copy(), loaded.labels, loaded.classes, loaded.rejected, loaded.notes
        )


def check(loaded: LabeledImages, records: Samples) -> None:
    """Check that each record came out exactly, or was rejected with its place and reason."""
    intact = [record for record in records if not record.flaw]
    assert len(loaded.labels) == len(intact)
    assert len(loaded.rejected) == len(records) - len(intact)
    assert loaded.images.dtype == np.uint8
    assert np.array_equal(loaded.images[..., 0], np.stack([record.image for record in intact]))
    names = [loaded.classes[index] for index in loaded.labels]
    for record, name in zip(intact, names, strict=True):
        if isinstance(name, int):
            assert Decimal(str(record.label)) == name
        elif isinstance(record.label, str):
            assert name == record.label
        elif isinstance(record.label, int):
            assert name == str(record.label)
        else:
            assert float(name) == record.label
    # Only `7.0` and `+7` become 7; a whole number that is written otherwise, as 007, is a name.
    for record, name in zip(intact, names, strict=True):
        text = str(record.label)
        assert not re.fullmatch(r"[+-]?\d+", text) or text.lstrip("+") == str(name).lstrip("+")


def write_csv(directory: Path, records: Samples) -> None:
    rows = [b"label,a,b,c,d"]
    for record in records:
        quoted = b'"' + record.text.replace(b'"', b'""') + b'"'
        values = [b"%d" % value for value in record.pixels]
        rows.append(b",".join([b"" if record.flaw == "unlabeled" else quoted, *values]))
        if record.flaw in ("damaged", "joined"):
            rows[-1] += b"#1"
        if record.flaw == "empty":
            rows[-1] = quoted
    (directory / "rows.csv").write_bytes(b"\n".join(rows) + b"\n")


def write_pictures(directory: Path, records: Samples) -> None:
    for number, record in enumerate(records):
        folder = directory / str(record.label)
        folder.mkdir(exist_ok=True)
        (folder / f"{number:03}.png").write_bytes(record.picture)


def encode_feature(value: bytes | float) -> bytes:
    """Encode a `tf.train.Feature`, as TensorFlow does."""
    if isinstance(value, bytes):
        return field(1, field(1, value))
    if isinstance(value, float):
        return field(2, field(1, struct.pack("<f", value)))
    return field(3, field(1, varint(value % 2**64)))


def field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2]) + varint(len(content)) + content


def varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    return bytes([*encoded, value])


def write_tfrecord(directory: Path, records: Samples) -> None:
    content = b""
    for record in records:
        label = record.text if isinstance(record.label, str) else record.label
        features = {"image/encoded": encode_feature(record.picture)}
        if record.flaw != "unlabeled":
            features["image/class/label"] = encode_feature(label)
        entries = [field(1, field(1, k.encode()) + field(2, v)) for k, v in features.items()]
        content += encode_tfrecord(field(1, b"".join(entries)))
    (directory / "a.tfrecord").write_bytes(content)


def write_recordio(directory: Path, records: Samples) -> None:
    heads = [struct.pack("<IfQQ", 0, record.label, 0, 0) for record in records]
    framed = [
        encode_recordio(head + record.picture) for head, record in zip(heads, records, strict=True)
    ]
    (directory / "a.rec").write_bytes(b"".join(framed))


def write_parquet(directory: Path, records: Samples) -> None:
    labels = [None if record.flaw == "unlabeled" else record.label for record in records]
    kind = pa.float32() if isinstance(records[0].label, float) else None
    column = pa.array(labels, kind)
    if isinstance(records[0].label, str):  # Arrow does not look at the text
        texts = [None if record.flaw == "unlabeled" else record.text for record in records]
        column = pa.array(texts, pa.binary()).view(pa.string())
    pictures = pa.array([record.picture for record in records], pa.binary())
    table = {"image": pictures, "label": column}
    parquet.write_table(pa.table(table), directory / "a.parquet")


def write_webdataset(directory: Path, records: Samples) -> None:
    with tarfile.open(directory / "a.tar", "w") as archive:
        for number, record in enumerate(records):
            is_json = number % 2 == 0 and record.flaw != "undecodable"
            document = json.dumps({"label": record.label}).encode()
            members = [("png", record.picture)]
            if record.flaw != "unlabeled":
                members.append(("json", document) if is_json else ("cls", record.text))
            for suffix, content in members:
                entry = tarfile.TarInfo(f"set/{number:03}.{suffix}")
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))


PICTURE_FLAWS = ("empty", "damaged", "joined", "unlabeled")
TEXT_FLAWS = (*PICTURE_FLAWS, "undecodable")


@pytest.mark.parametrize(
    ("labels", "flaws"),
    [(TEXTS, TEXT_FLAWS), (INTEGERS, PICTURE_FLAWS)],
    ids=["text", "integers"],
)
@pytest.mark.parametrize(
    "write", [write_csv, write_tfrecord, write_parquet, write_webdataset], ids=lambda f: f.__name__
)
@settings(max_examples=EXAMPLES)
@given(data=st.data())
def test_records_come_out_exactly_or_are_counted(
    write: Callable[[Path, Samples], None],
    labels: Sequence[object],
    flaws: Sequence[str],
    data: st.DataObject,
) -> None:
    records = data.draw(samples(labels, flaws))
    check(read(write, records), records)


@settings(max_examples=EXAMPLES)
@given(samples(FLOATS, ("damaged", "joined")))
def test_recordio_comes_out_exactly_or_is_counted(records: list[Sample]) -> None:
    check(read(write_recordio, records), records)


@pytest.mark.parametrize("write", [write_tfrecord, write_parquet], ids=lambda f: f.__name__)
@settings(max_examples=EXAMPLES)
@given(records=samples(FLOATS, PICTURE_FLAWS))
def test_labels_that_are_floats_have_their_shortest_digits(
    write: Callable[[Path, Samples], None], records: list[Sample]
) -> None:
    check(read(write, records), records)


@settings(max_examples=EXAMPLES)
@given(samples(TEXTS, ("damaged", "joined")))
def test_pictures_in_folders_come_out_exactly_or_are_counted(records: list[Sample]) -> None:
    kept = {record.label for record in records if not record.flaw}
    records = [record for record in records if record.label in kept]
    by_folder = sorted(records, key=lambda record: str(record.label))
    check(read(write_pictures, by_folder), by_folder)


@settings(max_examples=EXAMPLES)
@given(samples((*TEXTS, *INTEGERS), ("empty", "unlabeled")))
def test_an_augmented_manifest_keeps_the_label_of_each_line(records: list[Sample]) -> None:
    attributes = []
    for record in records:
        label = record.label if isinstance(record.label, str) else json.dumps(record.label)
        attributes += [record.picture, b"null" if record.flaw == "unlabeled" else label.encode()]
    pairs = list(recordio_files.pair(attributes, "pipe"))
    assert len(pairs) == len(records)
    for record, (_, label, load) in zip(records, pairs, strict=True):
        if record.flaw == "unlabeled":
            with pytest.raises(OSError, match="not a single number or text"):
                load()
            continue
        assert label == str(record.label)
        assert load() == record.picture


DTYPES = ("u1", "i1", ">i2", "<u4", "i8", "u8", "f2", ">f4", "f8")
LABEL_DTYPES = ("u1", "i1", ">i4", "i8", "u8", "f2", "f4", "f8", "U4", "S4")


@st.composite
def arrays(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Make images and labels of any type of number, and the names that the labels should have."""
    count = draw(st.integers(1, 9))
    values = st.lists(st.integers(0, 127), min_size=count, max_size=count)
    numbers = np.array(draw(values))
    dtype = np.dtype(draw(st.sampled_from(LABEL_DTYPES)))
    names = [str(number) for number in numbers]
    if dtype.kind == "f":
        numbers = numbers / 8
        names = [str(number).removesuffix(".0") for number in numbers]
    if dtype == np.uint64:
        numbers = numbers.astype(np.uint64) + np.uint64(2**63)
        names = list(map(str, numbers.tolist()))
    images = np.stack([np.array(draw(values)) for _ in range(4)], axis=1).reshape(-1, 2, 2)
    order = draw(st.sampled_from("CF"))
    return (
        np.array(images, draw(st.sampled_from(DTYPES)), order=order),
        numbers.astype(dtype),
        names,
    )


def save_npz(directory: Path, images: np.ndarray, labels: np.ndarray) -> None:
    np.savez(directory / "a.npz", images=images, labels=labels, more=labels)


def save_npy(directory: Path, images: np.ndarray, labels: np.ndarray) -> None:
    np.save(directory / "images.npy", images)
    np.save(directory / "labels.npy", labels)


def save_idx(directory: Path, images: np.ndarray, labels: np.ndarray) -> None:
    for name, array in (("images", images), ("labels", labels)):
        head = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
        (directory / f"train-{name}-idx{array.ndim}-ubyte").write_bytes(head + array.tobytes())


@pytest.mark.parametrize("save", [save_npz, save_npy, save_idx], ids=lambda f: f.__name__)
@settings(max_examples=EXAMPLES)
@given(arrays(), st.booleans())
def test_arrays_of_any_type_come_out_exactly_or_are_refused(
    save: Callable[[Path, np.ndarray, np.ndarray], None],
    drawn: tuple[np.ndarray, np.ndarray, list[str]],
    goes_on: bool,
) -> None:
    images, labels, names = drawn
    if save is save_idx:
        images, labels = images.astype("u1"), np.arange(len(images), dtype="u1")
        names = list(map(str, labels))
    with tempfile.TemporaryDirectory() as directory:
        save(Path(directory), images, labels)
        if goes_on and save is not save_npz:
            with next(Path(directory).glob("*images*")).open("ab") as stream:
                stream.write(b"more")
            with pytest.raises(UserError, match="has data after the array"):
                loading.load(Path(directory))
            return
        loaded = loading.load(Path(directory))
        assert np.array_equal(loaded.images[..., 0], images)
        assert [str(loaded.classes[index]) for index in loaded.labels] == names
        if save is save_npz:
            assert loaded.notes[-1] == f"passed over 1 arrays of {directory}/a.npz: more"


INTEGER_PIXELS = (0, 1, 17, 128, 255, 256, 300, 511, 32767)
FRACTIONS = (0.5, 254.5, float("nan"), float("inf"), -float("inf"), 1e30, 255.00001)
PIXELS = {
    **dict.fromkeys(("u2", ">u4", "u8"), INTEGER_PIXELS),
    **dict.fromkeys(("i2", ">i4", "i8"), (*INTEGER_PIXELS, -1, -256)),
    **dict.fromkeys(("f4", ">f4", "f8"), (*INTEGER_PIXELS, *FRACTIONS, -1)),
}


@st.composite
def flawed_arrays(draw: st.DrawFn) -> np.ndarray:
    """Make images of which all but the first may hold what is no pixel."""
    dtype = draw(st.sampled_from(sorted(PIXELS)))
    image = st.tuples(*[st.sampled_from(PIXELS[dtype])] * 4)
    rows = [(0, 1, 17, 255), *draw(st.lists(image, max_size=9))]
    return np.array(rows, dtype).reshape(-1, 2, 2)


@pytest.mark.parametrize("save", [save_npz, save_npy], ids=lambda f: f.__name__)
@settings(max_examples=EXAMPLES)
@given(images=flawed_arrays())
def test_values_that_are_no_pixels_are_counted_and_never_cut_to_a_byte(
    save: Callable[[Path, np.ndarray, np.ndarray], None], images: np.ndarray
) -> None:
    values = images.astype(np.float64)
    intact = np.isin(values, range(256)).all(axis=(1, 2))
    with tempfile.TemporaryDirectory() as directory:
        save(Path(directory), images, np.arange(len(images)))
        if not intact.all():
            with pytest.raises(UserError, match="a pixel is not a whole number from 0 to 255"):
                loading.load(Path(directory))
        loaded = loading.load(Path(directory), UNLIMITED)
        assert np.array_equal(loaded.images[..., 0], values[intact])
        assert [loaded.classes[index] for index in loaded.labels] == np.flatnonzero(intact).tolist()
        assert len(loaded.rejected) == np.count_nonzero(~intact)


WRONG_CELLS = ("256", "-1", "0.5", "", "nan", "inf", "0x10", "1_0", "3 3", "1e3", "x")
CELLS = {
    "0": 0,
    "255": 255,
    "007": 7,
    "12.0": 12,
    " 5 ": 5,
    "1e2": 100,
    "+5": 5,
    '"9"': 9,
    **dict.fromkeys(WRONG_CELLS, -1),
}
"""Pixels as text, and their values; -1 for what is no pixel."""


@settings(max_examples=EXAMPLES)
@given(st.lists(st.tuples(*[st.sampled_from(sorted(CELLS))] * 4), max_size=9))
def test_pixels_of_csv_have_the_values_that_are_written_or_are_counted(
    rows: list[tuple[str, ...]],
) -> None:
    rows = [("0", "255", "007", "0"), *rows]
    values = [[CELLS[cell] for cell in row] for row in rows]
    intact = [row for row in values if -1 not in row]
    with tempfile.TemporaryDirectory() as directory:
        lines = [",".join((str(number), *row)) for number, row in enumerate(rows)]
        (Path(directory) / "rows.csv").write_text("\n".join(lines))
        loaded = loading.load(Path(directory), UNLIMITED)
        assert loaded.images.reshape(-1, 4).tolist() == intact
        names = [loaded.classes[index] for index in loaded.labels]
        assert names == [number for number, row in enumerate(values) if -1 not in row]
        assert len(loaded.rejected) == len(rows) - len(intact)


def wrap_files(
    write: Callable[[Path, Samples], None], records: Samples, *, is_wrapped: bool
) -> bytes:
    """Make what a pipe delivers of two files: one after another, or each as a RecordIO record."""
    content = b""
    for part in (records[:1], records[1:]):
        with tempfile.TemporaryDirectory() as directory:
            write(Path(directory), part)
            (path,) = Path(directory).iterdir()
            found = path.read_bytes()
        content += encode_recordio(found) if is_wrapped else found
    return content


@pytest.mark.parametrize("is_wrapped", [False, True], ids=["plain", "wrapped"])
@pytest.mark.parametrize("write", [write_csv, write_tfrecord], ids=lambda f: f.__name__)
@settings(max_examples=EXAMPLES)
@given(records=samples(TEXTS, TEXT_FLAWS))
def test_a_pipe_delivers_records_exactly_or_counts_them(
    write: Callable[[Path, Samples], None], is_wrapped: bool, records: list[Sample]
) -> None:
    content = wrap_files(write, records, is_wrapped=is_wrapped)
    content_type = "text/csv" if write is write_csv else None
    check(read_pipe(content, records, content_type), records)


@settings(max_examples=EXAMPLES)
@given(records=samples((*TEXTS, *INTEGERS), TEXT_FLAWS))
def test_a_pipe_of_an_augmented_manifest_delivers_records_exactly_or_counts_them(
    records: list[Sample],
) -> None:
    content = b""
    for record in records:
        label = b"null" if record.flaw == "unlabeled" else record.text
        content += encode_recordio(record.picture) + encode_recordio(label)
    check(read_pipe(content, records), records)


def read_pipe(content: bytes, records: Samples, content_type: str | None = None) -> LabeledImages:
    """Read what a pipe delivers, and check that all flaws are errors unless they may be skipped."""
    wrapper = "RecordIO" if content.startswith(b"\x0a\x23\xd7\xce") else "None"
    channel = contract.Channel("train", content_type, "Pipe", record_wrapper=wrapper)
    with tempfile.TemporaryDirectory() as directory:
        layout = contract.Layout(Path(directory))
        layout.input_data.mkdir(parents=True)
        layout.pipe("train", 0).write_bytes(content)
        if any(record.flaw for record in records):
            with pytest.raises(UserError):
                loading.open_channel(layout, channel)
        loaded = loading.open_channel(layout, channel, UNLIMITED)
        assert isinstance(loaded, LabeledImages)
        return loaded


def test_records_without_pixels_are_named_and_not_a_crash(tmp_path: Path) -> None:
    features = {"image": encode_feature(b""), "label": encode_feature(1)}
    entries = [field(1, field(1, k.encode()) + field(2, v)) for k, v in features.items()]
    (tmp_path / "a.tfrecord").write_bytes(encode_tfrecord(field(1, b"".join(entries))))
    with pytest.raises(UserError, match=r"a\.tfrecord, record 0 holds 0 raw pixels"):
        loading.load(tmp_path)


def test_features_without_use_are_counted_once(tmp_path: Path) -> None:
    records = [Sample("cat", (1, 2, 3, 4)), Sample("dog", (5, 6, 7, 200))]
    content = b""
    for record in records:
        features = {
            "image/encoded": encode_feature(record.picture),
            "image/class/label": encode_feature(1),
            "image/class/text": encode_feature(str(record.label).encode()),
            "image/height": encode_feature(2),
            "image/filename": encode_feature(b"1.png"),
        }
        entries = [field(1, field(1, k.encode()) + field(2, v)) for k, v in features.items()]
        content += encode_tfrecord(field(1, b"".join(entries)))
    for name in ("a.tfrecord", "b.tfrecord"):
        (tmp_path / name).write_bytes(content)
    notes = loading.load(tmp_path).notes
    (note,) = (note for note in notes if "features of the records" in note)
    assert note.startswith(f"passed over 2 features of the records in {tmp_path}/a.tfrecord: ")
    assert note.endswith("image/class/text, image/filename")


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        (["images.npy", "labels.npy", "labels.npy"], "holds two arrays of the same name"),
        (["images.npy", "labels"], "holds labels, which is not an array"),
        (["cat/1.png", "dog/2.png"], "holds cat/1.png, which is not an array"),
    ],
)
def test_archives_of_other_things_than_arrays_are_refused(
    members: list[str], reason: str, tmp_path: Path
) -> None:
    array = io.BytesIO()
    np.save(array, np.arange(4))
    with warnings.catch_warnings(), zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        warnings.simplefilter("ignore")  # of the name that comes twice
        for member in members:
            archive.writestr(member, array.getvalue())
    with pytest.raises(UserError, match=reason):
        loading.load(tmp_path)
