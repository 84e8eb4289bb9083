"""npy and npz to images; the oracles are numpy and zipfile."""

import io
import pickle
import struct
import zipfile
from typing import Any

import numpy as np
import pytest

from tests.unit.container.serving.bodies.request_bodies import IMAGES, decode, refusal, save


class Bomb:
    """An object whose unpickling would raise: the tests would see it."""

    def __reduce__(self) -> Any:
        """Return what unpickling would call."""
        return (eval, ("1 / 0",))


def forge_npy(header: str, data: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    return b"\x93NUMPY" + version + struct.pack("<H", len(header)) + header.encode() + data


@pytest.mark.parametrize(
    ("body", "parts"),
    [
        (save(np.save, np.array([Bomb()], dtype=object)), ["pickled", "never read"]),
        (pickle.dumps(Bomb()), ["not an npy file"]),
        (b"\x93NUM", ["not an npy file"]),
        (b"\x93NUMPY\x01", ["not a complete npy file"]),
        (save(np.save, np.zeros((1, 6), np.uint8))[:-1], ["declares 6 bytes", "5 follow"]),
        (save(np.save, np.zeros((1, 6), np.uint8)) + b"1", ["declares 6 bytes", "7 follow"]),
        (
            forge_npy("{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000000, 6)}"),
            ["0 follow"],
        ),
        (
            forge_npy("{'descr': '|u1', 'fortran_order': False, 'shape': (-1, 6)}"),
            ["not a complete npy file"],
        ),
        (
            forge_npy("{'descr': '|u1', 'fortran_order': False, 'shape': (True, 6)}"),
            ["not a complete npy file"],
        ),
        (
            forge_npy("{'descr': '|u1', 'fortran_order': False, 'shape': 6}"),
            ["not a complete npy file"],
        ),
        (
            forge_npy("{'descr': 'nonsense', 'fortran_order': False, 'shape': (1, 6)}"),
            ["not a complete npy file"],
        ),
        (forge_npy("__import__('os').abort()"), ["not a complete npy file"]),
        (forge_npy("(" * 9000), ["not a complete npy file"]),
        (forge_npy("[]"), ["not a complete npy file"]),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\x7f", ["header is 2147483659 bytes long"]),
        (save(np.save, np.zeros((1, 6), bool)), ["type bool"]),
        (save(np.save, np.zeros((1, 6), complex)), ["type complex128"]),
        (save(np.save, np.zeros((1, 6), "U3")), ["type <U3"]),
        (save(np.save, np.uint8(3)), ["shape []"]),
        (save(np.save, np.zeros((0, 6), np.uint8)), ["no image"]),
        (save(np.save, np.zeros((1, 7), np.uint8)), ["shape [1, 7]"]),
        (save(np.save, np.full((1, 6), np.nan, np.float32)), ["row 1, column 1 is nan"]),
        (save(np.save, np.full((1, 6), 256, np.int16)), ["row 1, column 1 is 256"]),
        (save(np.save, np.full((1, 6), 2**63, np.uint64)), ["row 1, column 1 is 9.2"]),
        (save(np.save, np.full((1, 6), 1.5)), ["row 1, column 1 is 1.5"]),
    ],
)
def test_npy_fault_is_named_and_nothing_is_unpickled(body: bytes, parts: list[str]) -> None:
    """SEC-3, RQ-8."""
    message = refusal("application/x-npy", body)

    assert all(part in message for part in parts), message


def test_npz_of_one_array_decodes_to_its_images() -> None:
    assert np.array_equal(decode("application/x-npz", save(np.savez, IMAGES)), IMAGES)
    assert np.array_equal(
        decode("application/x-npz", save(np.savez_compressed, images=IMAGES)), IMAGES
    )


def make_bomb() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", bytes(20_000_000))
    return stream.getvalue()


def test_npz_fault_is_named() -> None:
    whole = save(np.savez, IMAGES)

    assert "not a complete npz file" in refusal("application/x-npz", b"PK")
    assert "not a complete npz file" in refusal("application/x-npz", whole[:-30])
    assert "'a.npy', 'b.npy'" in refusal("application/x-npz", save(np.savez, a=IMAGES, b=IMAGES))
    assert "pickled" in refusal("application/x-npz", save(np.savez, np.array([{}], dtype=object)))


def test_npz_never_expands_beyond_the_budget_of_its_request() -> None:
    """SEC-6."""
    archive = make_bomb()
    message = refusal("application/x-npz", archive, status=413, expansion_bytes=19_999_999)
    assert "expands to more than 19999999 bytes" in message

    image = np.zeros((1, 6), np.uint8)
    npz = save(np.savez_compressed, image)
    expanded = len(save(np.save, image))
    assert len(decode("application/x-npz", npz, expansion_bytes=expanded)) == 1
    refusal("application/x-npz", npz, status=413, expansion_bytes=expanded - 1)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_npz_member_that_expands_at_once_is_refused_before_it_is_read(
    method: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SEC-6: bzip2 and lzma have no bound on what one read of theirs expands to."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        archive.writestr("a.npy", save(np.save, IMAGES))
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *_: pytest.fail("it is read"))

    assert "another method than deflate" in refusal("application/x-npz", stream.getvalue())


def test_npz_that_lies_about_its_size_is_damaged() -> None:
    """SEC-6: the budget counts the size that the archive names, so no more than it may be read."""
    archive = bytearray(make_bomb())
    central = archive.index(b"PK\x01\x02")
    struct.pack_into("<I", archive, central + 24, 100)  # for 20 MB

    assert "not a complete npz file" in refusal("application/x-npz", bytes(archive))


def test_npz_of_many_members_is_refused_before_they_are_listed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """SEC-6."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for number in range(100):
            archive.writestr(str(number), b"")
    monkeypatch.setattr(zipfile, "ZipFile", lambda *_: pytest.fail("they are listed"))

    assert "more than 64 arrays" in refusal("application/x-npz", stream.getvalue())


@pytest.mark.parametrize(
    "header",
    [
        f"{{'descr': '|u1', 'fortran_order': False, 'shape': (0, {2**70})}}",
        f"{{'descr': '|u1', 'fortran_order': False, 'shape': {(1,) * 70 + (6,)}}}",
        f"{{'descr': '|u1', 'fortran_order': False, 'shape': (0, {2**62}, {2**62})}}",
        "{'descr': (), 'fortran_order': False, 'shape': (1, 6)}",
        "{'descr': ('<f4',), 'fortran_order': False, 'shape': (1, 6)}",
        "{'descr': [()], 'fortran_order': False, 'shape': (1, 6)}",
        "{'descr': {'names': 1}, 'fortran_order': False, 'shape': (1, 6)}",
        f"{{'descr': ('<f4', ({2**70},)), 'fortran_order': False, 'shape': (1, 6)}}",
        "{'descr': '|V0', 'fortran_order': False, 'shape': (1, 6)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': '16'}",
        "b'descr'",
        "-1" + "j" * 50,
    ],
)
def test_npy_header_of_an_impossible_array_is_the_clients_fault(header: str) -> None:
    """RQ-8."""
    for data in (b"", bytes(6)):
        body = forge_npy(header, data)
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            archive.writestr("a.npy", body)
        refusal("application/x-npy", body)
        refusal("application/x-npz", stream.getvalue())
