"""Damages bodies at random and decodes them: only images, or a refusal, come out (SEC-6).

    usage: python -m tests.unit.container.serving.fuzz_decoders [SECONDS [SEED]]

The bodies are those of `worst_inputs`, short. Each is decoded with a limit on time; the peak of the
process's memory is looked at all the time. Prints what was found, with the body, and exits with 1.
"""

from __future__ import annotations

import random
import signal
import sys
import time
from collections.abc import Iterator
from typing import Any

from container.errors import RequestError
from tests.unit.container.serving import worst_inputs, worst_user_inputs

SEED_BYTES = 3000
PAYLOAD_BYTES = 2**20
SECONDS_MAXIMUM = 10
MEMORY_MAXIMUM_KIB = 100 * 1024
TOKENS = (
    *(b"0", b"-1", b"255", b"256", b"1e999", b"nan", b".5", b"007", b",", b"\n", b"\r\n", b'"'),
    *(b"[", b"]", b"[[", b"]]", b"{", b"}", b"true", b"null", b"\\", b"\\u0000", b"\xff", b"'"),
    *(b"\x93NUMPY\1\0", b"PK\1\2", b"PK\5\6", b"\x89PNG", b"IEND\xaeB`\x82", b"\0" * 8),
    *(b"\xff\xd8", b"\xff\xd9", b"\xff\xda", b"\x1f\x8b\x08", b"\x0a#\xd7\xce", b"\r\n--b"),
    *(b"\r\n\r\n", b"--", b"<f4", b"|O", b"'shape': (1, 784)", b"'fortran_order': True"),
    *(b"\xff\xff\xff\x7f", b"\x80" * 9, b"(" * 99),
)
LENGTHS = (0, 1, 2**31 - 1, 2**32 - 1)


def make_seeds() -> dict[str, bytes]:
    """Make a short body of each case."""
    return {name: make(SEED_BYTES) for name, (_, make) in worst_inputs.CASES.items()}


def damage(rng: random.Random, seed: bytes, others: list[bytes]) -> bytes:
    """Damage a body in a few places."""
    data = bytearray(seed)
    for _ in range(rng.choice((1, 1, 2, 4, 8))):
        place = rng.randrange(len(data) + 1)
        match rng.randrange(7):
            case 0:
                data[place:place] = rng.choice(TOKENS)
            case 1:
                del data[place : place + rng.choice((1, 2, 4, 50, 1000))]
            case 2:
                data[place : place + 1] = bytes([rng.randrange(256)])
            case 3:
                data[place:place] = data[place : place + rng.choice((1, 16, 400))] * rng.choice(
                    (1, 30)
                )
            case 4:
                data[place : place + 4] = rng.randbytes(4)
            case 5:
                data[place : place + 4] = rng.choice((0, 1, 2**31 - 1, 2**32 - 1)).to_bytes(
                    4, "big"
                )
            case _:
                other = rng.choice(others)
                data[place:] = other[rng.randrange(len(other) + 1) :]
    return bytes(data)


def _stop(*_: Any) -> None:
    raise TimeoutError


def find_faults(seed: int) -> Iterator[tuple[str, bytes, str]]:
    """Decode damaged bodies for ever; yield after each its case, itself and its fault, if any."""
    rng = random.Random(seed)  # noqa: S311 - a seed makes it repeatable
    seeds = make_seeds()
    others = list(seeds.values())
    names = list(seeds)
    signal.signal(signal.SIGALRM, _stop)
    before_kib = worst_inputs.read_kib("VmHWM")
    while True:
        name = rng.choice(names)
        body = damage(rng, seeds[name], others)
        yield name, body, decode(name, body, before_kib)


def decode(name: str, body: bytes, before_kib: int) -> str:
    """Decode one body and return what is wrong with that; empty if nothing is."""
    decoder, _ = worst_inputs.CASES[name]
    signal.alarm(SECONDS_MAXIMUM)
    try:
        decoder(body, PAYLOAD_BYTES)
    except RequestError as error:
        if error.status not in (400, 413, 415) or len(str(error)) > 2000:
            return f"status {error.status}: {str(error)[:300]}"
    except UnicodeDecodeError:
        if not name.startswith("user code"):  # there the text has been decoded before
            return "UnicodeDecodeError"
    except Exception as error:  # noqa: BLE001 - it is what is looked for
        possible = worst_user_inputs.TOOLKIT_FAULTS if name.startswith("user code") else ()
        if not isinstance(error, possible):
            return f"{type(error).__name__}: {str(error)[:300]}"
    finally:
        signal.alarm(0)
    grown_kib = worst_inputs.read_kib("VmHWM") - before_kib
    return f"the process has grown by {grown_kib} KiB" if grown_kib > MEMORY_MAXIMUM_KIB else ""


def main(arguments: list[str]) -> int:
    """Fuzz for so many seconds; return 1 if something was found."""
    seconds = float(arguments[0]) if arguments else 60.0
    seed = int(arguments[1]) if len(arguments) > 1 else random.SystemRandom().randrange(2**32)
    print(f"seed {seed}, {seconds:g} s", flush=True)
    deadline = time.monotonic() + seconds
    found = {}
    tried = 0
    for name, body, fault in find_faults(seed):
        tried += 1
        if fault and (name, fault[:40]) not in found:
            found[name, fault[:40]] = body
            print(f"{name}: {fault}\n    {body[:2000]!r}", flush=True)
        if time.monotonic() > deadline:
            break
    print(f"{tried} bodies, {len(found)} faults")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
