"""Pages from templates: everything is escaped, and a page loads nothing from elsewhere."""

import datetime as dt
import functools
import json
from pathlib import Path
from typing import Any, Final

import jinja2

from local_test.aws.account import kinds
from local_test.aws.account.account import Account
from local_test.aws.protocol.messages import Reply
from local_test.times import format_date, format_duration

_ASSETS: Final = Path(__file__).with_name("assets")
_FILES: Final = {
    "style.css": "text/css; charset=utf-8",
    **dict.fromkeys(
        ("script.js", "tables.js", "playground.js", "drawing.js", "snippets.js", "answers.js"),
        "text/javascript; charset=utf-8",
    ),
}
NAVIGATION: Final = {
    kinds.ENDPOINT.name: "Endpoints",
    kinds.COMPONENT.name: "Components",
    kinds.TRAINING_JOB.name: "Training",
    kinds.TUNING_JOB.name: "Tuning",
    kinds.PROCESSING_JOB.name: "Processing",
    kinds.TRANSFORM_JOB.name: "Transform",
    kinds.MODEL.name: "Models",
    kinds.PACKAGE.name: "Packages",
    kinds.PIPELINE.name: "Pipelines",
    "run": "Runs",
}
"""The lists that each page links to, by kind; runs are the jobs of the commands."""
_REASON_CHARACTERS: Final = 160
_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data: blob:; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def render(
    account: Account, template: str, title: str, *, status_code: int = 200, **values: Any
) -> Reply:
    """Return the page of a template; of `values`, `section` is its place in the navigation."""
    values |= {"account": account, "title": title, "navigation": NAVIGATION.items()}
    text = _load_templates().get_template(template).render(**values)
    return answer(status_code, text.encode(), "text/html; charset=utf-8")


def render_message(account: Account, status_code: int, text: str) -> Reply:
    """Return a page that says why there is nothing else."""
    title = "Not found" if status_code == 404 else "Refused"
    return render(account, "message.html", title, status_code=status_code, text=text)


def answer(status_code: int, body: bytes, content_type: str) -> Reply:
    """Return a reply that a browser takes for nothing else."""
    return Reply(status_code, body, {**_HEADERS, "Content-Type": content_type})


def find_file(name: str) -> Reply | None:
    """Return a file of that name that the pages load, or None."""
    if name not in _FILES:
        return None
    return answer(200, (_ASSETS / name).read_bytes(), _FILES[name])


def shorten(value: Any) -> str:
    """Format a number with four significant digits; leave other values as they are."""
    try:
        return f"{float(value):.4g}"
    except (TypeError, ValueError):
        return str(value or "")


def cut_reason(text: str) -> str:
    """Return the start of a failure's reason for a list; its own page has all of it."""
    return text[:_REASON_CHARACTERS] + "…" * (len(text) > _REASON_CHARACTERS)


@functools.cache
def _load_templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_ASSETS),
        autoescape=True,
        trim_blocks=True,
        undefined=jinja2.ChainableUndefined,
    )
    environment.filters |= {
        "date": format_date,
        "clock": lambda seconds: format_date(seconds, "%H:%M:%S"),
        "iso": lambda seconds: dt.datetime.fromtimestamp(seconds, dt.UTC).isoformat(
            timespec="seconds"
        ),
        "duration": format_duration,
        "short": shorten,
        "compact": json.dumps,
        "pretty": lambda document: json.dumps(document, indent=2),
    }
    return environment
