"""WebDataset archives."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from container.data import loading
from container.data.formats.parts import Options
from container.errors import UserError

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 4, 5, 3), np.uint8)


def encode(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def make_tar(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


def make_samples(*kinds: str) -> dict[str, bytes]:
    """Make six samples whose labels are in members of these kinds in turn."""
    members = {}
    for number, image in enumerate(IMAGES):
        kind = kinds[number % len(kinds)]
        label = str(number % 2).encode()
        members[f"data/{number:03}.png"] = encode(image)
        members[f"data/{number:03}.{kind}"] = b'{"label": %s}' % label if kind == "json" else label
    return members


@pytest.mark.parametrize("kinds", [("cls",), ("json",), ("cls", "json")])
@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.tgz", "shard-000"])
def test_samples_have_the_labels_of_their_members(
    name: str, kinds: tuple[str, ...], tmp_path: Path
) -> None:
    content = make_tar(make_samples(*kinds))
    if name.endswith("gz"):
        content = gzip.compress(content)
    (tmp_path / name).write_bytes(content)
    loaded = loading.load(tmp_path)
    assert np.array_equal(loaded.images, IMAGES)
    assert loaded.classes == (0, 1)
    assert loaded.labels.tolist() == [0, 1] * 3


def test_shards_follow_each_other_and_notes_and_folders_are_left_out(tmp_path: Path) -> None:
    samples = list(make_samples("cls").items())
    (tmp_path / "b.tar").write_bytes(make_tar(dict(samples[6:])))
    notes = {"README.txt": b"a note", "data/._000.png": b"of another system"}
    (tmp_path / "a.tar").write_bytes(make_tar({**notes, **dict(samples[:6])}))
    assert np.array_equal(loading.load(tmp_path).images, IMAGES)


def test_samples_that_cannot_be_read_are_named_or_skipped(tmp_path: Path) -> None:
    members = make_samples("cls", "json")
    del members["data/000.cls"]
    members["data/001.json"] = b'{"caption": "a cat"}'
    del members["data/002.png"]
    members["data/003.png"] = b"damaged"
    (tmp_path / "a.tar").write_bytes(make_tar(members))
    with pytest.raises(UserError, match=r"a\.tar, sample data/000: it has no member cls or json"):
        loading.load(tmp_path)
    loaded = loading.load(tmp_path, Options(bad_record_limit=9))
    assert np.array_equal(loaded.images, IMAGES[4:])
    text = "\n".join(loaded.rejected)
    assert "sample data/001: its member json has none of the keys label, cls, class" in text
    assert "sample data/002: it has 0 pictures, expected one" in text
    assert "sample data/003: not a PNG" in text


def test_a_sample_with_two_pictures_is_refused(tmp_path: Path) -> None:
    members = {"0.png": encode(IMAGES[0]), "0.mask.png": encode(IMAGES[1]), "0.cls": b"1"}
    (tmp_path / "a.tar").write_bytes(make_tar({**members, **make_samples("cls")}))
    with pytest.raises(UserError, match="sample 0: it has 2 pictures, expected one"):
        loading.load(tmp_path)


@pytest.mark.parametrize("cut", [100, 700, 3000])
def test_an_archive_that_ends_early_is_named(cut: int, tmp_path: Path) -> None:
    content = make_tar(make_samples("cls")).rstrip(b"\0")
    (tmp_path / "a.tar").write_bytes(content[:-cut])
    with pytest.raises(UserError, match=r"a\.tar"):
        loading.load(tmp_path)


def test_a_member_that_comes_twice_or_is_a_link_is_a_fault_and_others_are_counted(
    tmp_path: Path,
) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in (
            ("0.png", encode(IMAGES[0])),
            ("0.cls", b"1"),
            ("1.png", encode(IMAGES[1])),
            ("1.cls", b"1"),
            ("1.cls", b"2"),
            ("2.png", b""),
            ("2.cls", b"2"),
            ("3.heic", b"no format of ours"),
            ("3.json", b"{}"),
            ("5.png", encode(IMAGES[0]) * 2),
            ("5.cls", b"1"),
            ("6.png", encode(IMAGES[0])),
            ("6.json", b'{"label": 1, "label": 2}'),
        ):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        link = tarfile.TarInfo("4.png")
        link.type, link.linkname = tarfile.LNKTYPE, "0.png"
        archive.addfile(link)
    (tmp_path / "a.tar").write_bytes(stream.getvalue())
    loaded = loading.load(tmp_path, Options(bad_record_limit=9))
    assert len(loaded.labels) == 1
    assert [fault.split("sample ")[1] for fault in loaded.rejected] == [
        "1: it has two members cls",
        "2: it is empty",
        "5: another picture follows in it",
        "6: its member json has none of the keys label, cls, class: a name comes twice",
        "4: its member png is not a regular file",
    ]
    assert "passed over 2 members of" in loaded.notes[0]
    assert "3.heic, 3.json" in loaded.notes[0]


def test_an_archive_that_was_cut_off_between_members_is_named(tmp_path: Path) -> None:
    members = {"0.png": encode(IMAGES[0]), "0.cls": b"1", "1.png": encode(IMAGES[1]), "1.cls": b"2"}
    content = make_tar(members)
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        end = archive.getmembers()[2].offset
    (tmp_path / "a.tar").write_bytes(content[:end])
    with pytest.raises(UserError, match=r"a\.tar: it ends without its end mark"):
        loading.load(tmp_path)
    loaded = loading.load(tmp_path, Options(bad_record_limit=1))
    assert loaded.classes == (1,)
    (tmp_path / "a.tar").write_bytes(content[: end + 512])  # the header of the next member
    with pytest.raises(UserError, match="unexpected end of data"):
        loading.load(tmp_path)


def test_a_sample_that_comes_twice_is_a_fault_of_the_second(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, image in (("a/0", 0), ("a/1", 1), ("b/0", 2), ("a/0", 3)):  # as tar --append does
            for suffix, content in (("png", encode(IMAGES[image])), ("cls", b"1")):
                entry = tarfile.TarInfo(f"{name}.{suffix}")
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    (tmp_path / "a.tar").write_bytes(stream.getvalue())
    loaded = loading.load(tmp_path, Options(bad_record_limit=1))
    assert len(loaded.labels) == 3
    fault = "sample a/0: another sample of the archive has this name, too"
    assert loaded.rejected == (f"{tmp_path}/a.tar, {fault}",)


@pytest.mark.parametrize("shape", [None, (4, 4, 1)])
def test_an_archive_without_members_has_no_rows(
    shape: tuple[int, int, int] | None, tmp_path: Path
) -> None:
    (tmp_path / "a.tar").write_bytes(make_tar({}))
    with pytest.raises(UserError, match="holds no rows"):
        loading.load(tmp_path, Options(image_shape=shape))


def test_members_beside_picture_and_label_are_counted(tmp_path: Path) -> None:
    members = make_samples("cls")
    for number in range(2):
        members[f"data/00{number}.txt"] = b"a caption"
        members[f"data/00{number}.json"] = b'{"label": 9}'
    members["data/000.boxes.npy"] = b"another array"
    members = dict(sorted(members.items()))
    (tmp_path / "a.tar").write_bytes(make_tar(members))
    assert loading.load(tmp_path).notes == (
        f"passed over 5 more members of samples in {tmp_path}/a.tar: 2 json, 2 txt, 1 boxes.npy",
    )


def test_archives_that_were_joined_by_cat_are_refused(tmp_path: Path) -> None:
    samples = list(make_samples("cls").items())
    content = make_tar(dict(samples[:6])) + make_tar(dict(samples[6:]))
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.tar has data after the end of its archive"):
        loading.load(tmp_path)
