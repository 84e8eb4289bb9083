"""Verdicts as JSON, JUnit XML and one self-contained HTML page.

Evidence is text of unknown containers: it is escaped everywhere.
"""

import json
import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from local_test.conformance.catalog import Verdict

_KINDS: Final = {
    "MUST violated": "must",
    "SHOULD violated": "should",
    "pass": "pass",
    "not applicable": "skip",
}
"""The outcomes in the order of the page, and the names of their classes there."""
_AREAS: Final = {
    "Image": ("IMG",),
    "Training": ("HP", "HPO", "IN", "OUT", "TF", "TRIP"),
    "Checkpoints and hosts": ("CK", "DS"),
    "Hosting": ("HO",),
    "Requests": ("RQ", "ST"),
    "Batch transform": ("BT",),
    "Serverless and async": ("ASY", "SRV"),
    "Multi-model": ("MME",),
    "Isolation": ("SEC",),
}
"""The areas of the page: each has the checks of these clauses."""
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd]")


def count(verdicts: Sequence[Verdict]) -> dict[str, int]:
    """Count passes, violations by severity, and checks that do not apply."""
    tally = Counter({"pass": 0, "MUST violated": 0, "SHOULD violated": 0, "not applicable": 0})
    tally.update(map(_name_kind, verdicts))
    return dict(tally)


def _name_kind(verdict: Verdict) -> str:
    if verdict.is_violation:
        return f"{verdict.check.severity} violated"
    return verdict.outcome


def format_json(subject: str, verdicts: Sequence[Verdict]) -> str:
    """Format the verdicts for programs."""
    rows = [
        {
            "id": verdict.check.id,
            "clause": verdict.check.clause,
            "severity": verdict.check.severity,
            "claim": verdict.check.claim,
            "outcome": verdict.outcome,
            "evidence": verdict.evidence,
            "remedy": verdict.check.remedy,
        }
        for verdict in verdicts
    ]
    return json.dumps({"subject": subject, "counts": count(verdicts), "verdicts": rows}, indent=2)


def format_junit(subject: str, verdicts: Sequence[Verdict]) -> str:
    """Format the verdicts for a build server, where a violated SHOULD is a failure too."""
    tally = count(verdicts)
    suite = ET.Element(
        "testsuite",
        name=_clean(subject),
        tests=str(len(verdicts)),
        failures=str(tally["MUST violated"] + tally["SHOULD violated"]),
        skipped=str(tally["not applicable"]),
    )
    for verdict in verdicts:
        case = ET.SubElement(
            suite,
            "testcase",
            classname=verdict.check.clause,
            name=f"{verdict.check.id} {verdict.check.claim}",
        )
        if verdict.is_violation:
            failure = ET.SubElement(
                case, "failure", type=verdict.check.severity, message=_clean(verdict.evidence)
            )
            failure.text = f"remedy: {verdict.check.remedy}"
        elif verdict.outcome == "not applicable":
            ET.SubElement(case, "skipped", message=_clean(verdict.evidence))
    return ET.tostring(suite, encoding="unicode", xml_declaration=True)


def _clean(text: str) -> str:
    return _NO_XML.sub("\ufffd", text)


def find_area(identity: str) -> str:
    """Return the area of a check."""
    [area] = [name for name, clauses in _AREAS.items() if identity.partition("-")[0] in clauses]
    return area


def format_html(subject: str, verdicts: Sequence[Verdict]) -> str:
    """Format the verdicts as one page that needs nothing else.

    Violations come first. Outcomes and areas are counted, and can be chosen, which needs no script.
    """
    template = Path(__file__).with_name("report.html").read_text(encoding="utf-8")
    import jinja2  # noqa: PLC0415 - takes 0.1 s, at the start of each command

    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    tallies: dict[str, Counter[str]] = {}
    for verdict in verdicts:
        tallies.setdefault(find_area(verdict.check.id), Counter())[_name_kind(verdict)] += 1
    areas = [name for name in _AREAS if name in tallies]
    rows = [_make_row(verdict, areas) for verdict in verdicts]
    total = count(verdicts)
    return environment.from_string(template).render(
        subject=subject,
        kinds=[{"label": kind, "key": _KINDS[kind], "number": total[kind]} for kind in _KINDS],
        areas=[
            {"name": area, "counts": {_KINDS[kind]: tallies[area][kind] for kind in _KINDS}}
            for area in areas
        ],
        verdicts=sorted(rows, key=lambda row: int(row["kind"])),
    )


def _make_row(verdict: Verdict, areas: Sequence[str]) -> dict[str, Any]:
    """Return a row of the page; its kind and area are places in the lists of both."""
    return {
        "check": verdict.check,
        "evidence": verdict.evidence,
        "has_remedy": verdict.is_violation,
        "kind": [*_KINDS].index(_name_kind(verdict)),
        "area": areas.index(find_area(verdict.check.id)),
    }
