"""What makes the steps of a job faster, by trials on its own network, batch and devices."""

import time
from collections.abc import Callable
from typing import Final

import tensorflow as tf

from container.training.distributed.rendezvous import Hosts
from container.training.network.kernel_trial import Ways
from container.training.settings import Settings
from container.training.step.loop import Loop

LONG_JOB_S: Final = 1800.0
"""A shorter rest of a job does not pay for a trial, in which XLA compiles for up to 20 s."""
_STEPS: Final = 8


def pays(settings: Settings, hosts: Hosts, rest_s: float) -> bool:
    """Return whether a trial is worth its time; `rest_s` is the chief's estimate of what remains.

    All hosts of a job must call it together, and decide the same.
    """
    may = settings.xla == "auto" and not settings.deterministic and hosts.is_chief
    [agreed_s] = hosts.agree([may * rest_s])
    return agreed_s >= LONG_JOB_S


def settle_kernels(
    loop: Loop, hosts: Hosts, known: Ways | None, steps_done: int, log: Callable[[str], None]
) -> Ways | None:
    """Use the `known` ways of convolutions, those of a checkpoint, or try them if that pays.

    All hosts call it together before the first step of this start, and use those of the chief.

    Returns: the ways for the next checkpoint.
    """
    if known is None and not steps_done:
        tried = loop.try_kernels(log) if hosts.is_chief else None
        known = hosts.exchange(tried)[0]
    loop.set_kernels(known or {})
    return known


def choose_xla(loop: Loop, hosts: Hosts, steps_done: int, log: Callable[[str], None]) -> bool:
    """Time the next steps with and without XLA, and choose the faster for the loop.

    The steps are undone. All hosts of a job must call it together, and choose the same.
    """
    epoch, step = divmod(steps_done, loop.steps_per_epoch)
    began = loop.xla
    state = loop.state()
    available = [0.0] * hosts.count
    available[hosts.rank] = loop.count_available(epoch, step)
    count = int(min(_STEPS, *hosts.agree(available)))
    times_s = {}
    fault = ""
    for xla in (began, not began):
        try:
            times_s[xla] = _time(loop, epoch, step, count, xla=xla) / count
        except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError) as error:
            fault = str(error).partition("\n")[0]
        loop.restore(state)
    if fault:  # the same on all hosts, since all have the same network
        loop.use_xla(began)
        log(f"xla={_word(began)}: XLA cannot compile this network: {fault}")
        return began
    with_s, without_s = hosts.agree([times_s[True], times_s[False]])
    chosen = with_s < without_s
    loop.use_xla(chosen)
    log(
        f"xla={_word(chosen)}: a step takes {1000 * with_s / hosts.count:.1f} ms with XLA and "
        f"{1000 * without_s / hosts.count:.1f} ms without ({count} steps each)"
    )
    return chosen


def _time(loop: Loop, epoch: int, step: int, count: int, *, xla: bool) -> float:
    """Return the seconds of some steps, without compilation."""
    loop.use_xla(xla)
    loop.run(epoch, step, 1, (0.0, 0))
    started = time.monotonic()
    loop.run(epoch, step, count, (0.0, 0))
    return time.monotonic() - started


def _word(xla: bool) -> str:  # noqa: FBT001 - a value, not a choice of behavior
    return "on" if xla else "off"
