"""`python -m container.serving.model_program FILE`: forks a process for each of many models.

The endpoint starts it with the first model that runs code of its own. It has imported the server
and no user code, and has one thread, so that a fork costs milliseconds and shares what is imported.

FILE is the number of a socket. Each request on it is the directory of a model, and comes with two
sockets. One is the model's control socket: its process says there that the model is loaded, and is
then handed a socket for each request at a time. The other one reports the ID of the process to the
endpoint and, when it has ended, how.

When the endpoint closes a control socket, the model's process ends with all that it has started.
When the endpoint itself has gone, all of them do.
"""

import contextlib
import gc
import logging
import math
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from container import contract, machine
from container.errors import PlatformError, UserError
from container.serving import inference, plan, server_settings
from container.serving.exchange import CustomTotals, Response
from container.serving.many_models import wire
from container.serving.service import Service
from container.serving.telemetry import logs
from container.serving.telemetry.metrics import Metrics
from container.serving.user_code import handlers

log = logging.getLogger(__name__)

# If memory runs out in spite of all care, the kernel takes a model and not the endpoint.
_OOM_SCORE: Final = b"500"
_PATH_BYTES: Final = 65_536


def main(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Fork processes until the endpoint has gone."""
    settings = server_settings.parse(environ)
    logs.configure(settings.log_level, settings.log_format)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    gc.freeze()  # the collector would write to pages that the processes share
    with socket.socket(fileno=int(argv[0])) as endpoint:
        return _Template(endpoint, environ, settings).run()


class _Template:
    """The process that the models' processes are forked from."""

    def __init__(
        self,
        endpoint: socket.socket,
        environ: Mapping[str, str],
        settings: server_settings.Settings,
    ) -> None:
        self._endpoint = endpoint
        self._environ = environ
        self._settings = settings
        self._fates: dict[int, socket.socket] = {}
        """Where to say how a process has ended, by its ID."""

    def run(self) -> int:
        """Fork on request, and report ends; return when the endpoint has gone."""
        woken, waker = os.pipe()
        for end in (woken, waker):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        while True:
            ready, _, _ = select.select([self._endpoint.fileno(), woken], [], [])
            if woken in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(woken, 4096)
                self._report_ends()
            if self._endpoint.fileno() in ready and not self._fork():
                break
        for pid in self._fates:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
        return 0

    def _fork(self) -> bool:
        """Fork the process that the endpoint asks for; return False if it has gone."""
        try:
            path, files, _, _ = socket.recv_fds(self._endpoint, _PATH_BYTES, 2)
        except OSError:
            return False
        if not path:
            return False
        control, fate = (socket.socket(fileno=file) for file in files)
        with control:
            pid = os.fork()
            if pid == 0:
                self._become_model(Path(os.fsdecode(path)), control, fate)
        self._fates[pid] = fate
        return True

    def _become_model(self, model_dir: Path, control: socket.socket, fate: socket.socket) -> None:
        """Be the process of one model; never return."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.setsid()
            if "numpy.random" in sys.modules:  # as of Python's own generator, each has its own seed
                sys.modules["numpy.random"].seed()
            for other in (self._endpoint, *self._fates.values()):
                other.close()
            with fate:
                wire.send(fate, {"pid": os.getpid()})
            with contextlib.suppress(OSError):
                Path("/proc/self/oom_score_adj").write_bytes(_OOM_SCORE)
            code = serve(model_dir, control, self._environ, self._settings)
        except SystemExit as error:  # user code's own, while it loads
            code = error.code if isinstance(error.code, int) else 1
        except BaseException:
            log.exception("the process of the model in %s ends", model_dir)
        finally:
            logs.flush()
            os._exit(code)

    def _report_ends(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                if pid in self._fates:
                    with self._fates.pop(pid) as fate, contextlib.suppress(OSError):
                        wire.send(fate, {"code": os.waitstatus_to_exitcode(status)})


def serve(
    model_dir: Path,
    control: socket.socket,
    environ: Mapping[str, str],
    settings: server_settings.Settings,
) -> int:
    """Load a model and answer its requests, until the endpoint closes the control socket."""
    follower = _Follower(control)
    threading.Thread(target=follower.run, name="control", daemon=True).start()
    try:
        service = prepare(model_dir, environ, settings)
        follower.metrics = service.metrics
        follower.application = service.load()
    except (UserError, PlatformError) as error:
        wire.send(control, {"error": str(error)})
        return 1
    wire.send(control, {})
    threading.Event().wait()  # the main thread is left to the signals of user code
    return 0


def prepare(
    model_dir: Path, environ: Mapping[str, str], settings: server_settings.Settings
) -> Service:
    """Prepare to load the model as a server of this one model would.

    Raises: UserError if the model is missing.
    """
    found = handlers.find_one_of_many(contract.Layout.from_environ(environ), environ, model_dir)
    if found is None:
        raise UserError(f"{model_dir} no longer holds code or a model")
    cores = math.ceil(machine.count_cpus())
    return Service(plan.Plan(settings, 1, cores, {}, user_code=found))


class _Follower:
    """Does what the endpoint asks for on the control socket."""

    def __init__(self, control: socket.socket) -> None:
        self.application: inference.Application | None = None
        self.metrics: Metrics | None = None
        self._control = control

    def run(self) -> None:
        """Serve each connection that arrives; end the process and its group with the endpoint."""
        with contextlib.suppress(OSError):
            while files := socket.recv_fds(self._control, 1, 1)[1]:
                connection = socket.socket(fileno=files[0])
                serving = (connection,)
                threading.Thread(target=self._serve, args=serving, daemon=True).start()
        os.killpg(0, signal.SIGKILL)

    def _serve(self, connection: socket.socket) -> None:
        assert self.application is not None  # noqa: S101 - connections come when it is loaded
        with connection, contextlib.suppress(EOFError, OSError):
            while True:
                request = wire.receive_request(connection)
                response = inference.guard(self.application.invoke, request, body=request.body)
                response = join(response)._replace(custom=self._add_up_custom())
                wire.send_response(connection, response)

    def _add_up_custom(self) -> CustomTotals | None:
        assert self.metrics is not None  # noqa: S101 - as of the application
        time_s = time.monotonic()
        values, left_out = self.metrics.custom.add_up()
        if not values and not left_out:
            return None
        return CustomTotals(time_s, values, left_out)


def join(response: Response) -> Response:
    """Return an answer in one piece."""
    if response.rest is None:
        return response
    pieces = []
    piece = response
    while piece.rest is not None and piece.body:
        pieces.append(piece.body)
        piece = inference.take_piece(piece)
    if piece.status != response.status:  # it has failed
        return piece
    return response._replace(body=b"".join(pieces), rest=None)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
