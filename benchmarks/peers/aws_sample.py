"""Flask and `model.predict` behind gunicorn's sync workers and nginx, as in AWS's samples."""

import os

import flask
import keras
import numpy as np

app = flask.Flask(__name__)
model = None


def get_model() -> keras.Model:
    """Load the model at the first request of a worker, as the samples do."""
    global model  # noqa: PLW0603
    model = model or keras.models.load_model(os.environ["MODEL"] + "/model.keras")
    return model


@app.get("/ping")
def ping() -> flask.Response:
    """Healthy once the model is loaded."""
    return flask.Response(status=200 if get_model() is not None else 404)


@app.post("/invocations")
def invocations() -> flask.Response:
    """CSV or JSON in, JSON out."""
    if flask.request.content_type == "text/csv":
        rows = np.loadtxt(flask.request.get_data().decode().splitlines(), delimiter=",", ndmin=2)
    else:
        rows = np.array(flask.request.get_json()["instances"])
    shape = get_model().input_shape[1:]
    return flask.jsonify(
        outputs=get_model().predict(rows.reshape(-1, *shape).astype("uint8"), verbose=0).tolist()
    )
