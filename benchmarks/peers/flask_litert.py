"""Flask with the LiteRT model, for gunicorn's threads: the tuned form of the sample's design."""

import threading

import flask
from litert import Model

app = flask.Flask(__name__)
model, lock = Model(), threading.Lock()


@app.get("/ping")
def ping() -> flask.Response:
    """Healthy."""
    return flask.Response(status=200)


@app.post("/invocations")
def invocations() -> flask.Response:
    """JSON in, JSON out."""
    with lock:
        return flask.jsonify(outputs=model.predict(flask.request.get_json()["instances"]).tolist())
