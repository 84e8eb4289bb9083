"""The console: server-rendered pages for a browser on the same port, under `/console`.

Rules of this file: pages read and never change anything. The only request that does something is
the playground's, and it must come from a page of ours.
"""

import functools
import json
import secrets
from collections.abc import Callable, Mapping
from typing import Any, Final

from container.user_packages.masking import hide_secrets
from local_test.aws.account import kinds
from local_test.aws.account.account import Account
from local_test.aws.account.kinds import COMPONENT, ENDPOINT, PIPELINE_EXECUTION, TUNING_JOB
from local_test.aws.console import overview
from local_test.aws.console.endpoint_page import show_component, show_endpoint
from local_test.aws.console.job_page import show_job
from local_test.aws.console.pipeline_page import show_pipeline
from local_test.aws.console.rendering import NAVIGATION, find_file, render, render_message
from local_test.aws.console.rendering import answer as send
from local_test.aws.console.request_form import make_form
from local_test.aws.console.run_page import list_runs, show_run
from local_test.aws.console.tuning_page import show_tuning_job
from local_test.aws.protocol.messages import Reply, read_body
from local_test.aws.sagemaker import live_jobs
from local_test.aws.sagemaker.hosting.component_operations import list_of
from local_test.aws.sagemaker.live_endpoints import find_live
from local_test.aws.sagemaker.runtime import api_of
from local_test.endpoints.invocation_http import InvocationError, read_headers

_PAGES: Final[Mapping[str, tuple[str, Callable[[Account, Any], dict[str, Any]]]]] = {
    TUNING_JOB.name: ("tuning.html", show_tuning_job),
    ENDPOINT.name: ("endpoint.html", show_endpoint),
    COMPONENT.name: ("component.html", show_component),
    kinds.PIPELINE.name: ("pipeline.html", show_pipeline),
    PIPELINE_EXECUTION.name: ("pipeline.html", show_pipeline),
}
"""The template of a kind's pages, and what returns its values."""
_KINDS: Final = {**kinds.RESOURCES, PIPELINE_EXECUTION.name: PIPELINE_EXECUTION}
_JOBS: Final = {job.kind.name: job for job in live_jobs.JOB_KINDS}


def concerns(environ: Mapping[str, Any]) -> bool:
    """Return whether a request without a signature is for the console."""
    path = environ.get("PATH_INFO", "")
    if "HTTP_X_AMZ_TARGET" in environ or (path == "/" and environ["REQUEST_METHOD"] != "GET"):
        return False
    return path in ("/", "/favicon.ico", "/console") or path.startswith("/console/")


def answer(account: Account, environ: dict[str, Any]) -> Reply:
    """Answer a request of the console."""
    method = environ["REQUEST_METHOD"]
    path = environ["PATH_INFO"]
    parts = path.strip("/").split("/")
    if method == "POST" and parts[1:2] == ["invoke"] and len(parts) == 3:
        return _invoke(account, parts[2], environ)
    if method not in ("GET", "HEAD"):
        return render_message(account, 405, f"{method} is not allowed here")
    if path == "/":
        return Reply(302, b"", {"Location": "/console"})
    found = _find_page(account, parts)
    return found or render_message(account, 404, f"{path} does not exist.")


def _find_page(account: Account, parts: list[str]) -> Reply | None:
    if parts == ["console"]:
        groups = overview.list_groups(account)
        return render(account, "overview.html", "Overview", section="overview", groups=groups)
    if parts == ["console", "status.json"]:
        document = json.dumps(overview.summarize(account))
        return Reply(200, document.encode(), {"Content-Type": "application/json"})
    if len(parts) == 2 and parts[1] in NAVIGATION:
        is_run = parts[1] == "run"
        group = list_runs(account) if is_run else overview.list_group(account, parts[1])
        return render(account, "overview.html", group["title"], section=parts[1], groups=[group])
    if len(parts) == 2:
        return find_file(parts[1])
    return _show(account, parts[1], "/".join(parts[2:])) if len(parts) > 2 else None


def _show(account: Account, kind: str, name: str) -> Reply | None:
    if kind == "playground":
        return _show_playground(account, name)
    if kind == "run":
        return _show_run(account, *name.partition("/")[::2])
    record = account.store.find(_KINDS[kind], name) if kind in _KINDS else None
    if record is None:
        return None
    record = hide_secrets(record)
    show = functools.partial(render, account, section=kind)
    if kind in _JOBS:
        return show("job.html", name, **show_job(account, _JOBS[kind], record))
    if kind in _PAGES:
        template, describe = _PAGES[kind]
        return show(template, name, **describe(account, record))
    request = record.get("_request", record)
    return show("resource.html", name, record=record, request=request)


def _show_run(account: Account, folder: str, name: str) -> Reply | None:
    values = show_run(account, folder, name)
    if values is None:
        return None
    return render(account, "run.html", name, section="run", **values)


def _show_playground(account: Account, path: str) -> Reply | None:
    """Show the playground of an endpoint, or `ENDPOINT/COMPONENT`: the first one unless named."""
    name, _, chosen = path.partition("/")
    record = account.store.find(ENDPOINT, name)
    if record is None:
        return None
    components = [item["InferenceComponentName"] for item in list_of(account, name)]
    if chosen and chosen not in components:
        return None
    form = make_form(account, record, chosen or next(iter(components), ""))
    show = functools.partial(render, account, section=ENDPOINT.name)
    return show("playground.html", "Playground", endpoint=name, form=form, components=components)


def _invoke(account: Account, name: str, environ: dict[str, Any]) -> Reply:
    """Pass on a request of the playground, which has the session's token from its page."""
    token = environ.get("HTTP_X_LOCAL_CONSOLE", "")
    if not secrets.compare_digest(token.encode(), account.session.encode()):
        message = "This address accepts requests of the playground only; reload its page."
        return render_message(account, 403, message)
    live = find_live(account, name)
    if live is None:
        return send(404, f"endpoint {name} is not in service\n".encode(), "text/plain")
    body = read_body(environ)
    try:
        result = api_of(account).invoke(live, body, read_headers(environ))
    except InvocationError as error:
        document = {"code": error.code, "message": error.message, **error.members}
        return send(error.status, json.dumps(document).encode(), "application/json")
    content_type = result.headers.get("content-type", "application/octet-stream")
    return send(200, result.body, content_type)
