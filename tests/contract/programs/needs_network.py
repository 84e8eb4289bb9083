"""Serves once it has reached the address in OUTSIDE, as if it installed packages first."""

import os
import runpy
import socket
from pathlib import Path

host, _, port = os.environ["OUTSIDE"].partition(":")
socket.create_connection((host, int(port)), 1).close()
runpy.run_path(str(Path(__file__).with_name("echo.py")))
