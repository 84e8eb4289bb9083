"""Each host listens on the same port, greets the next one by name and prints its network."""

import json
import socket
import time
from pathlib import Path

resources = json.loads(Path("/opt/ml/input/config/resourceconfig.json").read_text())
hosts, own = resources["hosts"], resources["current_host"]
after = hosts[(hosts.index(own) + 1) % len(hosts)]
with socket.create_server(("", 17844)) as server:
    for _ in range(3000):
        try:
            with socket.create_connection((after, 17844), 5) as connection:
                connection.sendall(own.encode())
            break
        except OSError:
            time.sleep(0.02)
    connection, _ = server.accept()
    with connection:
        heard = connection.recv(100).decode()
try:
    socket.create_connection(("192.0.2.1", 80), 5)
    way_out = "found"
except OSError as error:
    way_out = error.strerror
fds = list(Path("/proc/self/fd").iterdir())
seen = {
    "heard": heard,
    "named": resources["network_interface_name"],
    "interfaces": sorted(name for _, name in socket.if_nameindex()),
    "way_out": way_out,
    "open_files": sorted(
        path.name for path in fds if path.is_symlink() and "[" in str(path.readlink())
    ),
}
Path("/opt/ml/output/data", f"{own}.json").write_text(json.dumps(seen))
