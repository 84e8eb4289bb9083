"""Verdicts as JSON, JUnit XML and one self-contained HTML page.

Rules of this file: pure functions of verdicts; evidence comes from strangers and is escaped
everywhere.
"""

from __future__ import annotations

import html
import json
import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Sequence

from local_test.conformance.catalog import Verdict

_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd]")
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; }
  th, td { text-align: left; padding: .4rem .6rem; vertical-align: top; }
tr { border-bottom: 1px solid #ddd; } code { font-size: .9em; word-break: break-word; }
.pass { color: #17692f; } .fail { color: #a3151b; font-weight: 700; } .skip { color: #5c5c5c; }
@media (prefers-color-scheme: dark) { body { background: #151515; color: #e8e8e8; } tr { border-color: #3a3a3a; }
  .pass { color: #71d58d; } .fail { color: #ff8a8a; } .skip { color: #a8a8a8; } }
@media (max-width: 600px) { thead { display: none; } td { display: block; padding: .1rem 0; }
  tr { display: block; padding: .6rem 0; } }
"""


def count(verdicts: Sequence[Verdict]) -> dict[str, int]:
    """Count passes, violations by severity, and checks that do not apply."""
    tally = Counter(
        f"{verdict.check.severity} violated" if verdict.is_violation else verdict.outcome
        for verdict in verdicts
    )
    return {
        name: tally[name] for name in ("pass", "MUST violated", "SHOULD violated", "not applicable")
    }


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
    """Format the verdicts for a build server; a violated SHOULD is a failure there too, of another type."""
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
    """Format the verdicts as one page that needs nothing else."""
    tally = ", ".join(f"{number} {name}" for name, number in count(verdicts).items())
    rows = "\n".join(
        _format_row(verdict)
        for verdict in sorted(verdicts, key=lambda verdict: not verdict.is_violation)
    )
    title = f"Conformance of {html.escape(subject)}"
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>{_STYLE}</style></head><body>
<h1>{title}</h1><p>{tally}</p>
<table><thead><tr><th>check</th><th>severity</th><th>outcome</th><th>claim and evidence</th></tr></thead><tbody>
{rows}
</tbody></table></body></html>
"""


def _format_row(verdict: Verdict) -> str:
    kind = {"pass": "pass", "fail": "fail"}.get(verdict.outcome, "skip")
    remedy = f"<br>Remedy: {html.escape(verdict.check.remedy)}" if verdict.is_violation else ""
    return (
        f"<tr><td>{verdict.check.id}</td><td>{verdict.check.severity}</td><td class={kind}>{verdict.outcome}</td>"
        f"<td>It {html.escape(verdict.check.claim)}.<br><code>{html.escape(verdict.evidence)}</code>{remedy}</td></tr>"
    )
