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
    assert "expands to more than 100 times" in refusal("application/x-npz", make_bomb(), status=413)
