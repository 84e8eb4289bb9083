"""Calls a function of Lambda: `function_program.py FOLDER`, which has `call.json` and `code`.

It runs by itself and imports nothing of ours; the answer is in `answer.json`.
"""

import importlib
import json
import os
import sys
import time
import traceback
from pathlib import Path
from types import SimpleNamespace


def main(folder: Path) -> None:
    """Call the handler and write its answer, or what went wrong."""
    call = json.loads((folder / "call.json").read_text("utf-8"))
    os.chdir(folder / "code")
    sys.path.insert(0, str(folder / "code"))
    end_s = time.monotonic() + call["timeout_s"]
    context = SimpleNamespace(
        **call["context"],
        get_remaining_time_in_millis=lambda: max(0, int((end_s - time.monotonic()) * 1000)),
    )
    module, _, name = call["handler"].rpartition(".")
    try:
        handler = getattr(importlib.import_module(module.replace("/", ".")), name)
        text = json.dumps({"answer": handler(call["event"], context)})
    except Exception as error:  # noqa: BLE001 - the handler's, whatever it is
        traceback.print_exc()
        text = json.dumps({"fault": f"{type(error).__name__}: {error}"})
    (folder / "answer.json").write_text(text, "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
