"""Users' inference code, in a real server and against the inference toolkit's Transformer."""

import http.client
import importlib.util
import io
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import scipy.sparse
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

pytest.importorskip(
    "sagemaker_inference", reason="docker/requirements-scripts.txt is not installed"
)

from sagemaker_inference import decoder as toolkit_decoder
from sagemaker_inference import encoder as toolkit_encoder
from sagemaker_inference.transformer import Transformer

from container.serving.exchange import Request
from container.serving.third_party import model_application
from container.serving.user_code import handlers, inference_toolkit
from container.serving.user_code.application import Application
from container.serving.user_code.context import Context
from tests.contract.training_job import make_wheel
from tests.support import ROOT, USER_CODE, free_port, wait_until

ORIGINAL_CSV = toolkit_decoder._csv_to_numpy  # noqa: SLF001 - before ours replaces it
ORIGINAL_DECODE = toolkit_decoder.decode

MODEL = "def model_fn(model_dir{c}):\n    return 2\n"
VARIANTS = {
    "input_fn": [
        "",
        """import numpy as np
def input_fn(data, content_type{c}):
    return np.array([len(data)])
""",
        """def input_fn(data, content_type{c}):
    return repr((type(data).__name__, content_type))
""",
        "def input_fn(data, content_type{c}):\n    raise KeyError('secret detail')\n",
        """from sagemaker_inference import errors
def input_fn(data, content_type{c}):
    raise errors.BaseInferenceToolkitError(422, 'not like this', 'Unprocessable')
""",
        """from sagemaker_inference import errors
class Mine(errors.BaseInferenceToolkitError):
    pass
def input_fn(data, content_type{c}):
    raise Mine(503, 'later', 'Later')
""",
        """from sagemaker_inference import decoder
def input_fn(data, content_type{c}):
    return decoder.decode(data, content_type)
""",
    ],
    "predict_fn": [
        "def predict_fn(data, model{c}):\n    return data * model\n",
        "def predict_fn(data, model{c}):\n    return [1.5, None, 'x']\n",
        "def predict_fn(data, model{c}):\n    return {{'a': data}}\n",
    ],
    "output_fn": [
        "",
        "def output_fn(prediction, accept{c}):\n    return str(prediction)\n",
        """def output_fn(prediction, accept{c}):
    return str(prediction).encode(), 'text/plain'
""",
        "def output_fn(prediction, accept{c}):\n    return accept\n",
        """from sagemaker_inference import encoder
def output_fn(prediction, accept{c}):
    return encoder.encode(prediction, accept)
""",
    ],
}
TRANSFORM = [
    """def transform_fn(model, data, content_type, accept{c}):
    return repr((model, data, content_type, accept))
""",
    """def transform_fn(model, data, content_type, accept{c}):
    return repr(data).encode(), 'application/x-mine'
""",
    """def transform_fn(model, data, content_type, accept{c}):
    raise RuntimeError('secret detail')
""",
]
CLIENT_FAULTS = (
    *("decode", "Expecting", "not supported", "inhomogeneous", "NUMPY", "npy", "pickle"),
    *("header", "Extra data", "codec", "version", "Expected 1D or 2D array"),
)
"""Words of the toolkit's errors for a body, a type or an Accept that is the client's fault."""


def npy(array: Any, *, allow_pickle: bool = False) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=allow_pickle)
    return buffer.getvalue()


BODIES = [
    ("application/json", b"[[1, 2.5], [3, 4]]"),
    ("application/json", b"not json"),
    ("application/json", b"[[1], [2, 3]]"),
    ("application/json", b"\xff\xff"),
    ("text/csv", b"1,2,3\n4,5,6\n"),
    ("text/csv", b"1.5,2.5"),
    ("text/csv", b"1.5,2.5\n3.5,4.5"),
    ("application/x-npy", npy(np.arange(6).reshape(2, 3))),
    ("application/x-npy", npy(np.float32(1.5))),
    ("application/x-npy", b"\x93NUMPY broken"),
    ("application/octet-stream", b"\x00\xff"),
    (None, b"1,2"),
]
ACCEPTS = [None, "*/*", "application/json", "text/csv", "application/x-npy", "text/plain"]


@st.composite
def modules(draw: st.DrawFn) -> str:
    context = st.sampled_from(["", ", context", ", context=None"])
    parts = [MODEL.format(c=draw(context))]
    if draw(st.integers(0, 4)) == 0:
        parts.append(draw(st.sampled_from(TRANSFORM)).format(c=draw(context)))
    else:
        parts += [
            draw(st.sampled_from(texts)).format(c=draw(context)) for texts in VARIANTS.values()
        ]
    if draw(st.booleans()):
        parts.append("def pre_model_fn(model_dir):\n    assert model_dir\n")
        parts.append(
            "def model_warmup_fn(model_dir, model, context):\n"
            "    assert model == 2 and context is not None\n"
        )
    return "\n".join(parts)


def ask_transformer(
    code: Path, name: str, model_dir: str, headers: dict[str, str], body: bytes
) -> tuple[int, str, Any]:
    """Let the toolkit answer: status, media type, body."""
    os.environ["SAGEMAKER_PROGRAM"] = name
    sys.path.insert(0, str(code))
    try:
        context = Context(headers, model_dir)
        [answer] = Transformer().transform([{"body": body}], context)
    finally:
        sys.path.remove(str(code))
        del os.environ["SAGEMAKER_PROGRAM"]
    return context.status or 200, context.get_response_content_type() or "", answer


@settings(
    max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=modules(), sent=st.sampled_from(BODIES), accept=st.sampled_from(ACCEPTS))
def test_handlers_answer_as_the_transformer_does(
    tmp_path: Path, text: str, sent: tuple[str | None, bytes], accept: str | None
) -> None:
    content_type, body = sent
    name = f"handlers_{uuid.uuid4().hex}.py"
    model_dir = tmp_path / "model"
    code = model_dir / "code"
    code.mkdir(parents=True, exist_ok=True)
    (code / name).write_text(text)
    headers = {"content-type": content_type, "accept": accept}
    sent_headers = {key: value for key, value in headers.items() if value is not None}
    status, media_type, answer = ask_transformer(code, name, str(model_dir), sent_headers, body)
    sys.modules.pop(name.removesuffix(".py"), None)

    ours = handlers.Handlers(code / name, model_dir).load().invoke(Request(body, sent_headers))
    sys.modules.pop(name.removesuffix(".py"), None)

    if isinstance(answer, bytes) and b"'descr': '|O'" in answer[:128]:
        # We give no npy of pickled objects; code that calls the toolkit's own encoder still may.
        assert ours.status == 500 or ours.body == answer
        return
    if status == 200:
        assert ours.status == 200, (ours.body, text)
        expected = answer if isinstance(answer, bytes) else str(answer).encode()
        assert (ours.body, ours.content_type) == (expected, media_type)
        return
    assert b"secret detail" not in ours.body, "a bug is not echoed (SEC-4)"
    assert b"Traceback" not in ours.body
    if status not in (200, 500):
        assert ours.status == status  # BaseInferenceToolkitError keeps its status and message
        assert json.loads(ours.body)["error"] == answer.partition("\n")[0]
    elif ours.status != 500:
        # The toolkit reports a server error where the client's body, type or Accept is at fault.
        assert ours.status in (400, 406, 415)
        assert any(words in answer for words in CLIENT_FAULTS)


numbers = st.one_of(
    st.integers(-(10**17), 10**17), st.floats(allow_nan=True, allow_infinity=True), st.just("")
)


@settings(max_examples=300, deadline=None)
@given(
    rows=st.integers(1, 12),
    columns=st.integers(1, 5),
    draw=st.data(),
    end=st.sampled_from(["", "\n"]),
    kind=st.sampled_from(["integers", "fractions", "by column", "anything"]),
)
def test_csv_decodes_to_what_genfromtxt_gives(
    rows: int, columns: int, draw: st.DataObject, end: str, kind: str
) -> None:
    integers, fractions = (
        st.integers(-(10**17), 10**17),
        st.floats(-1e9, 1e9).map(lambda x: x + 0.5),
    )
    by_kind = {"integers": [integers], "fractions": [fractions], "anything": [numbers]}
    sources = by_kind.get(kind, [integers, fractions])
    per_column = [draw.draw(st.sampled_from(sources)) for _ in range(columns)]
    table = [[str(draw.draw(source)) for source in per_column] for _ in range(rows)]
    text = "\n".join(",".join(row) for row in table) + end
    assume("\n\n" not in text.rstrip("\n") and text.strip("\n") and not text.startswith("\n"))
    got = inference_toolkit.csv_to_numpy(text)
    if kind in ("integers", "fractions"):
        expected = ORIGINAL_CSV(text)
        assert got.dtype == expected.dtype
    else:  # the toolkit makes a record type of these, and -1 of a missing integer
        expected = np.genfromtxt(io.StringIO(text), dtype=float, delimiter=",")
        got = got.astype(np.float64)
    assert got.shape == expected.shape
    assert repr(got.tolist()) == repr(expected.tolist())  # which NaN equals itself in


@pytest.mark.parametrize(
    "prediction", [np.arange(6).reshape(2, 3), np.float32([0.1, 2]), [[1, 2.5]], np.array(["a"])]
)
@pytest.mark.parametrize("content_type", ["application/json", "text/csv", "application/x-npy"])
def test_encoding_is_the_toolkits(prediction: Any, content_type: str) -> None:
    assert inference_toolkit.encode(prediction, content_type) == toolkit_encoder.encode(
        prediction, content_type
    )


def test_sparse_bodies_decode_as_the_toolkit_decodes_them() -> None:
    buffer = io.BytesIO()
    scipy.sparse.save_npz(buffer, scipy.sparse.csr_matrix(np.eye(3)))
    ours = inference_toolkit.decode(buffer.getvalue(), "application/x-npz")
    assert (ours != ORIGINAL_DECODE(buffer.getvalue(), "application/x-npz")).nnz == 0


# Where we differ on purpose; docs/bring-your-own.md lists the same


@pytest.fixture
def application(tmp_path: Path) -> Iterator[Application]:
    code = tmp_path / "code"
    code.mkdir()
    name = f"handlers_{uuid.uuid4().hex}"
    (code / f"{name}.py").write_text(
        "import numpy as np\n"
        "from sagemaker_inference import decoder\n"
        "def model_fn(model_dir):\n    return 1\n"
        "def input_fn(data, content_type):\n"
        "    return data, content_type, decoder.decode.__module__\n"
        "def predict_fn(data, model):\n    return data\n"
        "def output_fn(prediction, accept):\n    return repr((*prediction, accept))\n"
    )
    yield handlers.Handlers(code / f"{name}.py", tmp_path).load()
    sys.modules.pop(name)


@pytest.mark.parametrize(
    ("content_type", "accept", "seen"),
    [
        ("text/csv; charset=utf-8", "application/json", ("1,2", "text/csv", "application/json")),
        ("Text/CSV", "text/html;q=0.5, application/json", ("1,2", "text/csv", "application/json")),
        (
            "multipart/form-data; boundary=x",
            "*/*;q=0.1",
            (b"1,2", "multipart/form-data; boundary=x", "application/json"),
        ),
        ("text/csv;charset=utf-16-le", "application/*", ("㈱", "text/csv", "application/json")),
    ],
)
def test_handler_is_given_one_plain_media_type(
    application: Application, content_type: str, accept: str, seen: tuple[Any, str, str]
) -> None:
    body = "㈱".encode("utf-16-le") if "utf-16" in content_type else b"1,2"
    response = application.invoke(Request(body, {"content-type": content_type, "accept": accept}))
    data, given_type, _, given_accept = eval(response.body)  # noqa: S307 - a literal of our own
    assert (data, given_type, given_accept) == seen
    assert response.content_type == "application/json"


def test_toolkits_decoder_inside_a_handler_is_the_safe_one(
    application: Application,
) -> None:
    response = application.invoke(Request(b"1", {"content-type": "text/csv"}))
    assert b"container.serving.user_code.inference_toolkit" in response.body


def test_pickled_objects_are_refused_and_never_loaded(tmp_path: Path) -> None:
    marker = tmp_path / "executed"

    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (marker,)

    body = npy(np.array([Bomb()], dtype=object), allow_pickle=True)
    code = tmp_path / "code"
    code.mkdir()
    name = f"handlers_{uuid.uuid4().hex}"
    (code / f"{name}.py").write_text(
        "def model_fn(d):\n    return 1\ndef predict_fn(data, model):\n    return data\n"
    )
    loaded = handlers.Handlers(code / f"{name}.py", tmp_path).load()
    response = loaded.invoke(Request(body, {"content-type": "application/x-npy"}))
    sys.modules.pop(name)
    assert response.status == 400
    assert not marker.exists()


@pytest.mark.parametrize(
    ("accept", "status"),
    [("text/csv;q=0.9", 200), ("image/png", 406), ("text/html, application/x-npy;q=0.1", 200)],
)
def test_accept_is_weighed_where_no_output_fn_is_given(
    tmp_path: Path, accept: str, status: int
) -> None:
    functions = {"model_fn": lambda _: 1, "predict_fn": lambda data, _: data}
    application = Application(functions, tmp_path)
    request = Request(b"1,2\n3,4", {"content-type": "text/csv", "accept": accept})
    assert application.invoke(request).status == status


# The real server around user code


@contextmanager
def serve(
    base: Path, python: str = sys.executable, **environ: str
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Start the server on the model directory below `base`, one worker; yield process and port."""
    port = free_port()
    own = {
        "SAGEMAKER_BASE_DIR": str(base),
        "SAGEMAKER_BIND_TO_PORT": str(port),
        "SAGEMAKER_MODEL_SERVER_WORKERS": "1",
    }
    with (base / "log").open("wb") as log:
        command = [python, "-m", "container", "serve"]
        process = subprocess.Popen(
            command, cwd=ROOT, env=os.environ | own | environ, stdout=log, stderr=log
        )
    try:
        yield process, port
    finally:
        process.terminate()
        process.wait(timeout=40)


def ask(port: int, body: bytes | None = None, timeout_s: float = 30) -> tuple[int, bytes]:
    """POST a body to /invocations, or GET /ping without one."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        headers = {"Content-Type": "text/plain"}
        connection.request(
            *(("GET", "/ping") if body is None else ("POST", "/invocations", body, headers))
        )
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def ping(port: int) -> int:
    """Return the status of /ping; 0 while nothing listens."""
    try:
        return ask(port, timeout_s=2)[0]  # HO-4: two seconds
    except OSError:
        return 0


@pytest.fixture
def base(tmp_path: Path) -> Path:
    (tmp_path / "model/code").mkdir(parents=True)
    (tmp_path / "model/code/inference.py").write_text((USER_CODE / "slow_inference.py").read_text())
    return tmp_path


def test_server_is_unhealthy_until_the_users_model_is_loaded(base: Path) -> None:
    with serve(base, LOAD_S="1.5") as (_, port):
        seen: list[int] = []
        wait_until(lambda: seen.append(ping(port)) or seen[-1] == 200)  # type: ignore[func-returns-value]
        assert 503 in seen
        assert ask(port, b"hello") == (200, b"hello answered by True")


def test_server_pings_while_the_users_code_computes_and_hides_its_faults(base: Path) -> None:
    with serve(base) as (_, port), ThreadPoolExecutor() as pool:
        wait_until(lambda: ping(port) == 200)
        slow = pool.submit(ask, port, b"sleep 3")
        while not slow.done():
            assert ping(port) == 200
            time.sleep(0.05)
        assert slow.result() == (200, b"sleep answered by True")
        status, body = ask(port, b"raise")
        assert status == 500
        assert b"secret" not in body
        assert json.loads(body)["request_id"] in (base / "log").read_text()
        assert "a secret of the server" in (base / "log").read_text()


def test_server_outlives_a_crash_in_the_users_code(base: Path) -> None:
    with serve(base) as (process, port):
        wait_until(lambda: ping(port) == 200)
        with pytest.raises((http.client.HTTPException, OSError)):
            ask(port, b"die")
        wait_until(lambda: ping(port) == 200)
        assert ask(port, b"hello")[0] == 200
        assert process.poll() is None


def test_server_ends_with_the_reason_when_the_users_model_does_not_load(base: Path) -> None:
    with serve(base, LOAD_FAULT="torn archive") as (process, _):
        assert process.wait(timeout=40) != 0
    log = (base / "log").read_text()
    assert "EOFError: torn archive" in log
    assert "holds ['code']" in log


def test_every_form_of_a_model_gives_the_same_predictions_without_code(
    digits_job: Path, tmp_path: Path
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 1))
    (tmp_path / "images.json").write_text(json.dumps({"instances": images.tolist()}))
    program = [
        sys.executable,
        USER_CODE / "ask_models.py",
        digits_job / "model",
        tmp_path,
        tmp_path / "images.json",
    ]
    environ = os.environ | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    result = subprocess.run(
        program, env=environ, capture_output=True, text=True, check=False, timeout=120
    )
    assert result.returncode == 0, result.stderr
    answers = json.loads(result.stdout.splitlines()[-1])
    assert list(answers) == ["LiteRT", "SavedModel", "Keras", "H5"]
    for predictions in answers.values():
        assert np.shape(predictions) == (3, 10)
        np.testing.assert_allclose(predictions, answers["Keras"], atol=1e-5)


# What the code needs installed


CODE = "import byo_served_wheel\ndef model_fn(model_dir):\n    return byo_served_wheel.NAME\n"
CODE += "def transform_fn(model, data, content_type, accept):\n    return model, 'text/plain'\n"


def test_wheels_in_the_archive_are_installed_once_before_the_first_request(base: Path) -> None:
    (base / "model/code/inference.py").write_text(CODE)
    (base / "model/code/requirements.txt").write_text("byo_served_wheel==1.0\nnumpy\n")
    make_wheel(base / "model/code/wheels", "byo_served_wheel")
    environ = {"SAGEMAKER_MODEL_SERVER_WORKERS": "2", "HOME": str(base)}
    with serve(base, **environ) as (_, port):
        wait_until(lambda: ping(port) == 200)
        answers = []
        # The other worker may still be starting.
        wait_until(lambda: answers.append(ask(port, b"")) or answers[-1][0] != 503)
        assert answers[-1] == (200, b"byo_served_wheel")
    log = (base / "log").read_text()
    assert log.count("installing: ") == 1
    assert "--no-index" in log
    assert importlib.util.find_spec("byo_served_wheel") is None, "it is in our environment"


def test_requirements_without_wheels_are_installed_only_when_asked_for(base: Path) -> None:
    (base / "model/code/inference.py").write_text(CODE)
    for asked, requirement, words in (
        ("", "byo_served_wheel==1.0", "or set SAGEMAKER_INSTALL_REQUIREMENTS=true"),
        ("true", "byo_served_wheel==1.0", "cannot be installed: requirements.txt could not"),
        ("true", "flask==0.0.1", f"flask==0.0.1 against flask {metadata.version('flask')}"),
    ):
        (base / "model/code/requirements.txt").write_text(requirement)
        variables = {"SAGEMAKER_INSTALL_REQUIREMENTS": asked, "HOME": str(base)}
        with serve(base, **variables, PIP_NO_INDEX="1") as (process, _):
            assert process.wait(timeout=60) != 0
        assert words in (base / "log").read_text()


# Models that need no code: ONNX, with the runtime that users add


def make_onnx(path: Path) -> None:
    """Write a model of two inputs, `x` [n, 3] float32 and `scale` [1] int64, and two outputs."""
    tensor = onnx.TensorProto
    weights = onnx.numpy_helper.from_array(np.eye(3, 2, dtype=np.float32), "w")
    nodes = [
        onnx.helper.make_node("MatMul", ["x", "w"], ["y"]),
        onnx.helper.make_node("Cast", ["scale"], ["factor"], to=tensor.FLOAT),
        onnx.helper.make_node("Mul", ["y", "factor"], ["scaled"]),
        onnx.helper.make_node("ArgMax", ["y"], ["best"], axis=1, keepdims=0),
    ]
    inputs = [
        onnx.helper.make_tensor_value_info("x", tensor.FLOAT, ["n", 3]),
        onnx.helper.make_tensor_value_info("scale", tensor.INT64, [1]),
    ]
    outputs = [
        onnx.helper.make_tensor_value_info("scaled", tensor.FLOAT, ["n", 2]),
        onnx.helper.make_tensor_value_info("best", tensor.INT64, ["n"]),
    ]
    graph = onnx.helper.make_graph(nodes, "fixture", inputs, outputs, [weights])
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=10
    )
    onnx.save(model, path)


def test_onnx_model_is_served_without_code(tmp_path: Path) -> None:
    make_onnx(tmp_path / "model.onnx")
    application = model_application.Found("ONNX", tmp_path / "model.onnx").load()
    body = json.dumps({"inputs": {"x": [[1, 2, 3], [5, 4, 3]], "scale": [10]}}).encode()
    headers = {"content-type": "application/json"}
    answer = application.invoke(Request(body, headers))
    assert answer.status == 200, answer.body
    columns = json.loads(answer.body)["outputs"]
    assert columns == {"scaled": [[10, 20], [50, 40]], "best": [1, 0]}
    missing = application.invoke(Request(b'{"inputs": {"x": [[1, 2, 3]], "y": 1}}', headers))
    assert missing.status == 400
    assert b"'scale' is missing; the model has no input 'y'" in missing.body
