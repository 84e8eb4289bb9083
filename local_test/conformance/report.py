"""Verdicts as JSON, JUnit XML and one self-contained HTML page.

Evidence is text of unknown containers: it is escaped everywhere.
"""

import json
import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from local_test.conformance.catalog import Verdict

_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd]")


def count(verdicts: Sequence[Verdict]) -> dict[str, int]:
    """Count passes, violations by severity, and checks that do not apply."""
    tally = Counter({"pass": 0, "MUST violated": 0, "SHOULD violated": 0, "not applicable": 0})
    for verdict in verdicts:
        name = f"{verdict.check.severity} violated" if verdict.is_violation else verdict.outcome
        tally[name] += 1
    return dict(tally)


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


def format_html(subject: str, verdicts: Sequence[Verdict]) -> str:
    """Format the verdicts as one page that needs nothing else; violations come first."""
    template = Path(__file__).with_name("report.html").read_text(encoding="utf-8")
    import jinja2  # noqa: PLC0415 - takes 0.1 s, at the start of each command

    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(template).render(
        subject=subject, counts=count(verdicts), verdicts=verdicts
    )
