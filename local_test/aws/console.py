"""The console: pages for a browser on the same port."""

from __future__ import annotations

import json
from typing import Any

from local_test.aws import jobs, resources
from local_test.aws.account import Account
from local_test.aws.protocol import Reply


def concerns(environ: dict[str, Any]) -> bool:
    """Tell whether an unsigned request is for the console."""
    path = environ.get("PATH_INFO", "")
    if "HTTP_X_AMZ_TARGET" in environ or (path == "/" and environ["REQUEST_METHOD"] != "GET"):
        return False
    return path in ("/", "/favicon.ico", "/console") or path.startswith("/console/")


def answer(account: Account, environ: dict[str, Any]) -> Reply:
    """Answer a request of the console."""
    if environ["PATH_INFO"] == "/console/status.json":
        return Reply(200, json.dumps(summarize(account)).encode(), {"Content-Type": "application/json"})
    return Reply(404, b"there is no such page\n", {"Content-Type": "text/plain"})


def summarize(account: Account) -> dict[str, Any]:
    """Say what runs, for `status` and `down`."""
    return {
        "account": account.number,
        "region": account.region,
        "jobs": [
            record[job.kind.name_name]
            for job in jobs.JOB_KINDS
            for record in account.store.list(job.kind.name)
            if record[job.kind.status_name] in jobs.UNFINISHED
        ],
        "endpoints": {
            record["EndpointName"]: record["EndpointStatus"] for record in account.store.list(resources.ENDPOINT.name)
        },
    }
