"""CRC-32C, Castagnoli's polynomial reflected, for many records at once; TFRecord frames carry it.

A CRC is linear, so that 256 bytes are one sum of table look-ups, done for many lanes at once; the
lanes of a record are then joined by the same trick. Zeros in front change nothing once the
register's initial ones are written into the data's first four bytes.
"""

import functools
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

_LANE_BYTES: Final = 256


def compute_masked_crc(data: bytes) -> int:
    """Return the masked CRC-32C of a few bytes, as TFRecord writes it (BT-14)."""
    return _mask(_compute_crc(data))


def compute_masked_crcs(records: Sequence[bytes]) -> list[int]:
    """Return the masked CRC-32C of each record."""
    by_lanes: dict[int, list[int]] = {}
    for index, data in enumerate(records):
        by_lanes.setdefault(-(-max(len(data), 1) // _LANE_BYTES), []).append(index)
    checksums = [0] * len(records)
    for lanes, indices in by_lanes.items():
        padded = np.zeros((len(indices), lanes * _LANE_BYTES), np.uint8)
        for row, index in zip(padded, indices, strict=True):
            data = records[index]
            if len(data) < 4:
                continue
            row[len(row) - len(data) :] = np.frombuffer(data, np.uint8)
            row[len(row) - len(data) :][:4] ^= 255
        registers = _sum_lanes(padded.reshape(-1, _LANE_BYTES)).reshape(len(indices), lanes)
        joined = registers[:, 0]
        for lane in range(1, lanes):
            joined = _shift_lane(joined) ^ registers[:, lane]
        for register, index in zip(joined.tolist(), indices, strict=True):
            data = records[index]
            crc = _compute_crc(data) if len(data) < 4 else register ^ 0xFFFFFFFF
            checksums[index] = _mask(crc)
    return checksums


def _mask(crc: int) -> int:
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _compute_crc(data: bytes) -> int:
    table = _byte_table()
    register = 0xFFFFFFFF
    for byte in data:
        register = int(table[(register ^ byte) & 255]) ^ register >> 8
    return register ^ 0xFFFFFFFF


@functools.cache
def _byte_table() -> NDArray[np.uint32]:
    """Return what each value of the register's low byte becomes, `[256] uint32`."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, table >> 1 ^ np.uint32(0x82F63B78), table >> 1)
    return table


@functools.cache
def _lane_tables() -> NDArray[np.uint32]:
    """Return `[position, byte] uint32`, what a byte at a position of a lane adds to the sum."""
    tables = np.empty((_LANE_BYTES, 256), np.uint32)
    tables[-1] = _byte_table()
    for position in range(_LANE_BYTES - 2, -1, -1):
        later = tables[position + 1]
        tables[position] = tables[-1][later & 255] ^ later >> 8
    return tables


def _sum_lanes(lanes: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Return the register after each lane `[lane, 256] uint8`, starting from 0."""
    tables = _lane_tables()
    columns = np.ascontiguousarray(lanes.T)
    register: NDArray[np.uint32] = tables[0].take(columns[0])
    for position in range(1, _LANE_BYTES):
        register ^= tables[position].take(columns[position])
    return register


def _shift_lane(register: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Move registers on by a lane of zeros: their four bytes count as the lane's first four."""
    tables = _lane_tables()
    moved: NDArray[np.uint32] = tables[0][register & 255]
    for byte in (1, 2, 3):
        moved ^= tables[byte][register >> 8 * byte & 255]
    return moved
