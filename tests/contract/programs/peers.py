"""Every host but the first greets the first by name over TCP; the first waits for all of them."""

import json
import os
import socket
import time
from pathlib import Path

base = Path(os.environ.get("SAGEMAKER_BASE_DIR") or "/opt/ml")
# A processing job has its configuration in another place (PR-1).
config = base / "input/config" if (base / "input/config").exists() else base / "config"
resources = json.loads((config / "resourceconfig.json").read_text())
hosts, own = resources["hosts"], resources["current_host"]
leader, port = hosts[0], 17843
if own == leader:
    with socket.create_server(("", port)) as server:
        heard = []
        while len(heard) < len(hosts) - 1:
            connection, _ = server.accept()
            with connection:
                heard.append(connection.recv(100).decode())
    print("heard from", ", ".join(sorted(heard)), flush=True)
else:
    is_told = False
    for _ in range(3000):
        try:
            with socket.create_connection((leader, port), 5) as connection:
                connection.sendall(own.encode())
            break
        except OSError as error:
            if isinstance(error, socket.gaierror) and not is_told:
                print(leader, "is unknown", flush=True)
                is_told = True
            time.sleep(0.02)
