"""A process that makes models, serves them without code, and answers what came back.

    python -m tests.contract.models.worker FAMILY DIRECTORY

Each line of its input is the name of a kind of FAMILY. It is made, packed as an archive, unpacked
and asked; the answer is a line of JSON. So a library is imported once for all of its kinds.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import traceback
import warnings
from pathlib import Path
from typing import Any

from container import contract
from container.serving.exchange import Request
from container.serving.third_party.model_application import Found
from container.serving.user_code import handlers

warnings.simplefilter("ignore")


def serve(family: Any, kind: str, directory: Path) -> dict[str, Any]:
    """Make a model, serve it, and return its kind and an entry for each request."""
    made = directory / kind / "made"
    made.mkdir(parents=True)
    case = family.KINDS[kind](made)
    layout = contract.Layout(directory / kind)
    archive = directory / kind / "model.tar.gz"
    layout.model.mkdir()
    subprocess.run(["tar", "-czf", archive, "-C", made, "."], check=True)
    subprocess.run(["tar", "-xzf", archive, "-C", layout.model], check=True)
    (layout.model / "._model").write_bytes(b"written by macOS")
    found = handlers.find(layout, case.environ)
    assert isinstance(found, Found), found
    application = found.load()
    entries = []
    for ask in case.asks:
        response = application.invoke(Request(ask.body, {"content-type": ask.content_type}))
        answer = json.loads(response.body)
        if response.status == 200:
            [answer] = answer.values()
        entries.append(
            {
                "asked": f"{ask.content_type} {ask.body[:200]!r}",
                "status": response.status,
                "answer": answer,
                "expected": ask.answer,
                "refusal": ask.refusal,
            }
        )
    return {"kind": found.kind, "entries": entries}


def main() -> None:
    family = importlib.import_module(f"tests.contract.models.{sys.argv[1]}")
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries print
    for line in sys.stdin:
        try:
            answer = serve(family, line.strip(), Path(sys.argv[2]))
        except Exception:  # noqa: BLE001 - the test shows it
            answer = {"error": traceback.format_exc()}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
