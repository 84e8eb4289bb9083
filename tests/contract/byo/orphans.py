"""Fixture program: leaves orphans and zombies behind, as programs with workers do."""

import os
import subprocess
import sys
import time
from pathlib import Path

for _ in range(3):
    subprocess.run(["/bin/sh", "-c", "sleep 0.1 & sleep 0.1 &"], check=True)
time.sleep(0.5)
parent = os.getppid()
states = [
    stat.read_text().rpartition(")")[2].split()[:2]
    for stat in Path("/proc").glob("[0-9]*/stat")
    if stat.parent.exists()
]
zombies = sum(state == "Z" and int(owner) == parent for state, owner in states)
Path(os.environ["SM_MODEL_DIR"], "model").write_text("model")
subprocess.Popen(["sleep", "600"])
sys.exit(f"{zombies} zombies") if zombies else print("no zombies")
