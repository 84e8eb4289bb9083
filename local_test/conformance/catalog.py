"""Every check: the clause that it holds a container to, how grave a breach is, and what mends it.

MUST: the platform fails, or gives wrong results, for who breaks it. SHOULD: a breach costs at
times, or on the caller's side.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Severity = Literal["MUST", "SHOULD"]
Outcome = Literal["pass", "fail", "not applicable"]


@dataclass(frozen=True)
class Check:
    """One check; its `id` is the contract's clause and a letter."""

    id: str
    severity: Severity
    claim: str
    remedy: str

    @property
    def clause(self) -> str:
        """The contract's clause."""
        return self.id.rstrip("abcdefgh")


@dataclass(frozen=True)
class Verdict:
    """What a check found."""

    check: Check
    outcome: Outcome
    evidence: str

    @property
    def is_violation(self) -> bool:
        """Whether the container breaks the clause."""
        return self.outcome == "fail"


_ALL: Final = (
    # The image
    Check("IMG-1a", "MUST", "starts training with the argument `train`", "let the entry point take `train` as its argument, or put an executable `train` on PATH"),
    Check("IMG-1b", "MUST", "starts a server with the argument `serve`", "let the entry point take `serve` as its argument, or put an executable `serve` on PATH"),
    Check("IMG-2a", "SHOULD", "does not demand an argument when it runs as a processing job", "treat no argument as a processing job when /opt/ml/config/processingjobconfig.json exists"),
    Check("IMG-4a", "MUST", "has an entry point in exec form", 'write ENTRYPOINT as a JSON array, ["python", "-m", "program"]; end a wrapper script with exec'),
    Check("IMG-5a", "SHOULD", "has no init of its own as entry point", "drop tini or dumb-init: the platform brings its own"),
    Check("IMG-6a", "SHOULD", "runs as root", "drop USER from the Dockerfile: mounts below /opt/ml are root's"),
    Check("IMG-8a", "MUST", "is built for linux/amd64", "build with --platform linux/amd64 (arm64 only for Graviton instances)"),
    Check("IMG-12a", "MUST", "carries labels for what it implements alone", "set the multi-models label if, and only if, GET /models is answered"),
    Check("IMG-14a", "MUST", "lets log lines out while it runs", "set PYTHONUNBUFFERED=1, or flush every line"),
    Check("SRV-1a", "SHOULD", "is at most 10 GB large", "slim the image: serverless endpoints take 10 GB"),
    # Training
    Check("OUT-1a", "MUST", "ends with code 0 after a good training job", "exit 0 when, and only when, the model was saved"),
    Check("OUT-1b", "MUST", "ends with another code than 0 after a failed job", "do not swallow exceptions: end with sys.exit(1)"),
    Check("OUT-2a", "MUST", "writes /opt/ml/output/failure when it fails", "write the cause to /opt/ml/output/failure before the process ends"),
    Check("OUT-2b", "SHOULD", "begins the failure file with the cause", "write the message first and the traceback after it: 1024 characters are shown"),
    Check("OUT-3a", "MUST", "leaves a model in /opt/ml/model", "save everything that serving needs below /opt/ml/model"),
    Check("OUT-6a", "MUST", "leaves no links or special files in the model directory", "copy files instead of linking them"),
    Check("OUT-6b", "SHOULD", "leaves no rubbish in the model directory", "save to a temporary directory and move the result; keep caches in /tmp"),
    Check("OUT-7a", "SHOULD", "leaves a usable model when it is stopped", "on SIGTERM save what is learned so far, under a temporary name first"),
    Check("OUT-8a", "MUST", "ends within 120 s of SIGTERM", "handle SIGTERM: set a flag, finish the step, save; no shell between the platform and the program"),
    Check("OUT-8b", "SHOULD", "ends with code 0 after a stop", "exit 0 after the model was saved"),
    Check("TF-1a", "MUST", "trains with the three documented files and nothing else", "read hyperparameters.json, inputdataconfig.json and resourceconfig.json below /opt/ml/input/config"),
    Check("TF-2a", "MUST", "does not mind undocumented files in the configuration directory", "open the documented files by name; never list input/config"),
    Check("TF-3a", "MUST", "finds its channels in inputdataconfig.json", "never list input/data: manifests lie beside the channels"),
    Check("TF-4a", "MUST", "needs no SM_ variables", "read /opt/ml and the JSON files: SM_* is set by a toolkit, never by the platform"),
    Check("HP-1a", "MUST", "trains with hyperparameters that are all strings", "convert values by the type that you expect"),
    Check("HP-2a", "MUST", "understands hyperparameters in JSON within strings", "try json.loads on each value, keep the text if it fails"),
    Check("HP-2b", "SHOULD", "understands True, False and None as Python writes them", "map the texts True, False and None before bool() sees them"),
    Check("HP-5a", "MUST", "ignores hyperparameters of the platform and its SDKs", "ignore sagemaker_*, _tuning_objective_metric and model_dir"),
    Check("HP-6a", "SHOULD", "understands a tuner's numbers", "read 1.0E-4 and 3.0 as numbers"),
    Check("HP-7a", "SHOULD", "keeps values of the environment out of its log", "do not log os.environ"),
    Check("IN-1a", "MUST", "ignores channels that it does not know", "read the channels that you need; never fail because of others"),
    Check("IN-3a", "MUST", "trains from read-only channels", "write caches, locks and unpacked files to /tmp, never into a channel"),
    Check("IN-7a", "SHOULD", "survives an empty channel directory on a second host", "handle a shard without a file: other hosts wait for this one"),
    Check("IN-11a", "SHOULD", "ignores hidden and empty files in a channel", "skip names that begin with a dot or underscore, and files without a byte"),
    Check("CK-1a", "SHOULD", "writes checkpoints and resumes from them", "save to /opt/ml/checkpoints while training, and look there at the start"),
    Check("CK-2a", "SHOULD", "writes checkpoints under a temporary name first", "write NAME.tmp, then rename: a half-written file is uploaded as it is"),
    Check("DS-1a", "SHOULD", "trains on two hosts", "read hosts from resourceconfig.json; let the others end in peace if only one works"),
    Check("DS-2a", "SHOULD", "does not depend on the network interface being eth0", "read network_interface_name"),
    Check("DS-3a", "MUST", "does not depend on its host being algo-1", "compare current_host with sorted(hosts)[0]"),
    Check("OUT-5a", "SHOULD", "does not let two hosts write the same file", "save the model on the first host alone, or under names with the host's"),
    Check("SEC-1a", "MUST", "trains without a network", "bake everything into the image: no pip, download or telemetry at start"),
    Check("HPO-1a", "MUST", "prints every metric that it defines", "print each metric on a line that its regex finds"),
    Check("HPO-2a", "SHOULD", "prints neither carriage returns nor escape sequences", "turn progress bars and colors off: metrics are searched line by line"),
    Check("TRIP-24a", "MUST", "fails when the model cannot be saved", "let errors of writing end the program; check that the file is there"),
    # Serving
    Check("HO-1a", "MUST", "listens on all addresses at the port that it is told", "bind 0.0.0.0 at $SAGEMAKER_BIND_TO_PORT, or 8080"),
    Check("HO-1b", "SHOULD", "keeps connections open between requests", "speak HTTP/1.1 with Content-Length"),
    Check("HO-2a", "MUST", "serves from a read-only model directory", "write caches to /tmp; set PYTHONDONTWRITEBYTECODE=1"),
    Check("HO-4a", "MUST", "answers GET /ping with 200", "route GET /ping"),
    Check("HO-4b", "SHOULD", "answers POST /ping as well", "route POST /ping to the same function"),
    Check("HO-4c", "MUST", "answers pings within 2 s while it predicts", "answer /ping in a thread or worker that predictions do not block"),
    Check("HO-4d", "SHOULD", "sends no body with a ping's answer", "return an empty body"),
    Check("HO-5a", "MUST", "is healthy within the start limit", "load the model faster, or raise ContainerStartupHealthCheckTimeoutInSeconds"),
    Check("HO-6a", "MUST", "predicts as soon as it says that it is healthy", "answer /ping with 503 until the model is loaded"),
    Check("HO-6b", "SHOULD", "is not healthy with a broken model", "load the model at the start, and end or answer 503 if that fails"),
    Check("HO-7a", "MUST", "accepts connections within 250 ms under load", "raise the listen backlog; accept in a thread of its own"),
    Check("HO-8a", "MUST", "answers within 60 s", "make predictions faster, or use asynchronous inference"),
    Check("HO-9a", "MUST", "takes bodies of 25 MB", "raise every body limit to 25 MB: client_max_body_size, MAX_CONTENT_LENGTH"),
    Check("HO-10a", "MUST", "ends within 30 s of SIGTERM", "handle SIGTERM; no shell between the platform and the server"),
    Check("HO-10b", "MUST", "answers a request in flight before it ends", "stop accepting, finish, then exit: gunicorn's graceful timeout below 30 s"),
    Check("HO-10c", "SHOULD", "ends with code 0 after SIGTERM", "exit 0 after a graceful stop"),
    Check("HO-12a", "SHOULD", "recovers from a killed worker, or says that it is unhealthy", "supervise workers; end if one cannot be replaced"),
    Check("HO-14a", "MUST", "gives parallel requests the answers of single ones", "load the model after the fork; guard what is not thread-safe"),
    Check("HO-16a", "SHOULD", "answers 404 for unknown paths", "route /ping and /invocations alone"),
    Check("HO-16b", "SHOULD", "answers 405 for GET /invocations", "route POST alone"),
    Check("HO-16c", "SHOULD", "does not redirect /ping/", "switch strict slashes' redirects off"),
    Check("RQ-1a", "MUST", "predicts for a good request", "answer POST /invocations with 200"),
    Check("RQ-2a", "MUST", "ignores headers that it does not know", "read the headers that you need"),
    Check("RQ-3a", "MUST", "takes a content type with parameters", "compare the media type before the semicolon"),
    Check("RQ-3b", "SHOULD", "takes a content type in any case", "compare media types in lower case"),
    Check("RQ-3c", "SHOULD", "answers 415 for an unknown content type", "say what is supported, with 415"),
    Check("RQ-3d", "MUST", "does not break without a content type", "assume a default, or answer 415"),
    Check("RQ-4a", "MUST", "answers without an Accept header, and with */*", "choose a default"),
    Check("RQ-4b", "SHOULD", "takes a list of types with weights in Accept", "split at commas, read q"),
    Check("RQ-4c", "SHOULD", "answers 406 if nothing acceptable can be given", "check Accept before predicting"),
    Check("RQ-4d", "MUST", "names the content type of its answers", "set Content-Type on every answer with a body"),
    Check("RQ-5a", "SHOULD", "takes custom attributes of 1024 characters", "raise the header limit"),
    Check("RQ-6a", "MUST", "answers 4xx for a malformed body", "catch decoding errors and answer 400"),
    Check("RQ-6b", "SHOULD", "says in a refusal what is wrong", "put the message into the first 2048 characters of the body"),
    Check("RQ-8a", "MUST", "answers 4xx, or 204, for an empty body", "check for it before decoding"),
    Check("RQ-8b", "MUST", "stays healthy after bad requests", "never let a request end the worker"),
    Check("SEC-4a", "MUST", "shows no traceback to callers", "log it with a request id, answer with the id"),
    Check("BT-2a", "MUST", "starts with the variables of a batch job", "read SAGEMAKER_BATCH... without regard to case"),
    Check("BT-3a", "MUST", "answers /execution-parameters with JSON, or 404", "return the three values as JSON"),
    Check("BT-4a", "MUST", "gives execution parameters in the platform's spelling and limits", 'return {"MaxConcurrentTransforms": N, "BatchStrategy": "MULTI_RECORD", "MaxPayloadInMB": M} with N times M at most 100'),
    Check("BT-6a", "MUST", "takes bodies in chunks", "read Transfer-Encoding: chunked, with wsgi.input_terminated"),
    Check("BT-8a", "SHOULD", "does not end a batch answer with an empty line", "separate records by line feeds, with none at the end"),
    Check("BT-9a", "MUST", "gives one record for each record", "answer with as many lines as came"),
    Check("SEC-1b", "MUST", "serves without a network", "bake everything into the image"),
    # Multi-model
    Check("MME-2a", "MUST", "loads a model at POST /models", "load synchronously, then answer 200"),
    Check("MME-2b", "MUST", "answers 409 for a model that is loaded already", "keep a table of loaded models"),
    Check("MME-2c", "MUST", "answers 404 or 400 for a model that is not there", "check the path before loading"),
    Check("MME-3a", "MUST", "lists its models at GET /models", 'answer {"models": [{"modelName": ..., "modelUrl": ...}]}'),
    Check("MME-4a", "MUST", "unloads a model at DELETE /models/NAME", "free the memory, then answer 200"),
    Check("MME-5a", "MUST", "answers 404 when an unloaded model is invoked", "check the table before predicting"),
    Check("MME-6a", "MUST", "is healthy without a model", "answer /ping with 200 when nothing is loaded"),
)  # fmt: skip

CHECKS: Final = {check.id: check for check in _ALL}


def judge(identity: str, is_kept: bool, evidence: str) -> Verdict:  # noqa: FBT001 - reads as a sentence
    """Give the verdict of a check that was made."""
    return Verdict(CHECKS[identity], "pass" if is_kept else "fail", evidence)


def skip(identity: str, reason: str) -> Verdict:
    """Give the verdict of a check that says nothing about this container."""
    return Verdict(CHECKS[identity], "not applicable", reason)
