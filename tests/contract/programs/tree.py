"""A decision tree as users bring it: scikit-learn, Flask behind gunicorn, fixed paths in /opt/ml.

    python tree.py [--loopback] [--failure-elsewhere] [--needs-root] train | serve

It is written as carelessly as such programs are; the options make it worse.
"""

import io
import json
import os
import pickle
import sys
import traceback
from pathlib import Path

import numpy as np
from flask import Flask, Response, request
from sklearn.tree import DecisionTreeClassifier

BASE = Path("/opt/ml")
MODEL = BASE / "model/decision-tree-model.pkl"
app = Flask(__name__)


class ScoringService:
    model = None

    @classmethod
    def get_model(cls) -> DecisionTreeClassifier:
        if cls.model is None:
            with MODEL.open("rb") as file:
                cls.model = pickle.load(file)  # noqa: S301 - as users do
        return cls.model


@app.route("/ping", methods=["GET"])
def ping() -> Response:
    try:
        ScoringService.get_model()
    except OSError:
        return Response("\n", 404, mimetype="application/json")
    return Response("\n", 200, mimetype="application/json")


@app.route("/invocations", methods=["POST"])
def transformation() -> Response:
    if request.content_type != "text/csv":
        return Response("This predictor only supports CSV data", 415, mimetype="text/plain")
    rows = np.loadtxt(io.StringIO(request.data.decode("utf-8")), delimiter=",", ndmin=2)
    predictions = ScoringService.get_model().predict(rows)
    return Response(
        "".join(f"{prediction:g}\n" for prediction in predictions), 200, mimetype="text/csv"
    )


def train(options: list[str]) -> None:
    try:
        if "--needs-root" in options:
            Path("/etc/tree.conf").write_text("installed at start\n")
            Path("/etc/tree.conf").unlink()
        hyperparameters = json.loads((BASE / "input/config/hyperparameters.json").read_text())
        files = sorted((BASE / "input/data/training").iterdir())
        if not files:
            raise ValueError("There are no files in the training channel")
        rows = np.concatenate([np.loadtxt(path, delimiter=",", ndmin=2) for path in files])
        leaves = hyperparameters.get("max_leaf_nodes")
        tree = DecisionTreeClassifier(
            max_leaf_nodes=int(leaves) if leaves else None, random_state=0
        )
        tree.fit(rows[:, 1:], rows[:, 0])
        with MODEL.open("wb") as file:
            pickle.dump(tree, file)
        print("Training complete.")
    except Exception as error:  # noqa: BLE001 - as users do
        directory = BASE / ("failure" if "--failure-elsewhere" in options else "output")
        directory.mkdir(exist_ok=True)
        text = f"Exception during training: {error}\n{traceback.format_exc()}"
        (directory / "failure").write_text(text)
        print(text, file=sys.stderr)
        sys.exit(255)


def serve(options: list[str]) -> None:
    address = "127.0.0.1" if "--loopback" in options else "0.0.0.0"
    port = os.environ.get("SAGEMAKER_BIND_TO_PORT", "8080")
    directory = str(Path(__file__).parent)
    os.execvp(  # noqa: S606 - as users do
        "gunicorn",
        ["gunicorn", "-w", "2", "-b", f"{address}:{port}", "--chdir", directory, "tree:app"],
    )


if __name__ == "__main__":
    *options, command = sys.argv[1:]
    {"train": train, "serve": serve}[command](options)
