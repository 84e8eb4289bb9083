"""`train`: runs the user's program or the bundled network, and writes the failure file.

Rules of this file: the one broad `except` of training is here.
"""

import faulthandler
import os
import sys
import traceback
from collections.abc import Mapping

from container import algorithm, contract, variables
from container.errors import PlatformError, UserError
from container.training import typed
from container.training.launching import choice
from container.training.termination import StopRequest
from container.training.tracking import tracked_job
from container.training.user_script.find import find_program
from container.training.user_script.run import run as run_program


def main(layout: contract.Layout, environ: Mapping[str, str], stop: StopRequest) -> int:
    """Run `train`, and record it where that is asked for.

    Returns: the exit code: 0 if the job is completed or was stopped, 1 if it failed (OUT-1).
    """
    try:
        if kinds := tracked_job.choose(layout, environ):
            return tracked_job.run(layout, environ, stop, kinds)
        return _train(layout, environ, stop)
    except (UserError, PlatformError) as error:
        return _fail(layout, f"{type(error).__name__}: {error}", stop)
    except MemoryError as error:
        cause = f"out of memory: {error}; choose a larger instance or a smaller batch_size"
        return _fail(layout, f"PlatformError: {cause}", stop)
    except Exception as error:  # noqa: BLE001 - the boundary: bugs leave a reason, too
        cause = f"this is a bug in the toolkit: {type(error).__name__}: {error}"
        return _fail(layout, f"{cause}\n\n{traceback.format_exc()}", stop)


def _train(layout: contract.Layout, environ: Mapping[str, str], stop: StopRequest) -> int:
    faulthandler.enable(os.dup(2))  # a native crash leaves its stack in the log (TRIP-16)
    if "TF_CPP_MIN_LOG_LEVEL" not in environ:
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"  # TensorFlow's messages would bury the metrics
    for text in variables.find_misspelt(environ):
        print(f"warning: {text}", flush=True)
    program = find_program(layout, environ)
    if program is not None:
        code = run_program(program, layout, environ)
        stop.disregard()
        return code
    choice.refuse_for_bundled(layout)
    from container.training import bundled  # takes as long as all else that a user's program needs

    typed.run(algorithm.read(bundled, bundled.NAME), layout, stop)
    return 0


def _fail(layout: contract.Layout, reason: str, stop: StopRequest) -> int:
    """Log the reason, then write the failure file, which must be last (OUT-2)."""
    stop.disregard()
    print(reason, file=sys.stderr, flush=True)
    try:
        contract.write_failure(layout, reason)
    except OSError as error:
        print(f"{layout.failure} cannot be written: {error}", file=sys.stderr, flush=True)
    return 1
