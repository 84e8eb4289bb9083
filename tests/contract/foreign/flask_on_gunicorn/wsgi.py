"""The application: Flask as people write it, with the model in a module variable."""

from __future__ import annotations

import json
import os
from pathlib import Path

import flask

BASE = Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))
TOTAL = sum(json.loads((BASE / "model/model.json").read_text())["totals"].values())
app = flask.Flask(__name__)


@app.get("/ping")
def ping() -> flask.Response:
    return flask.Response(status=200)


@app.post("/invocations")
def predict() -> flask.Response:
    if flask.request.mimetype not in ("text/csv", ""):
        return flask.Response("only text/csv is supported", 415, mimetype="text/plain")
    accepted = flask.request.accept_mimetypes
    if accepted and "text/csv" not in accepted:
        return flask.Response("only text/csv is possible", 406, mimetype="text/plain")
    try:
        lines = flask.request.get_data().decode().splitlines()
        rows = [[float(cell) for cell in line.split(",")] for line in lines if line.strip()]
    except ValueError as error:
        return flask.Response(f"not CSV of numbers: {error}", 400, mimetype="text/plain")
    if not rows:
        return flask.Response("the body is empty", 400, mimetype="text/plain")
    return flask.Response("\n".join(f"{sum(row) + TOTAL:g}" for row in rows), mimetype="text/csv")
