"""Reports of verdicts: JSON, JUnit XML and HTML."""

import json
import re
import xml.etree.ElementTree as ET

from local_test.conformance import report
from local_test.conformance.catalog import CHECKS, Verdict


def some_verdicts() -> list[Verdict]:
    return [
        Verdict(CHECKS["HO-4a"], "pass", "200"),
        Verdict(CHECKS["HO-4b"], "fail", "<script>alert(1)</script> \x00 & more"),
        Verdict(CHECKS["RQ-1a"], "fail", "500"),
        Verdict(CHECKS["HO-12a"], "not applicable", "one process"),
    ]


def test_the_counts_tell_severities_apart() -> None:
    assert report.count(some_verdicts()) == {
        "pass": 1,
        "MUST violated": 1,
        "SHOULD violated": 1,
        "not applicable": 1,
    }


def test_json_carries_every_verdict_with_its_remedy() -> None:
    document = json.loads(report.format_json("x", some_verdicts()))

    assert [row["id"] for row in document["verdicts"]] == ["HO-4a", "HO-4b", "RQ-1a", "HO-12a"]
    assert document["verdicts"][1]["clause"] == "HO-4"
    assert all(row["remedy"] for row in document["verdicts"])


def test_junit_is_xml_whatever_the_evidence_holds() -> None:
    suite = ET.fromstring(report.format_junit("x", some_verdicts()))  # noqa: S314 - ours

    assert suite.attrib["failures"] == "2"
    assert [len(case) for case in suite] == [0, 1, 1, 1]


def test_each_check_has_an_area_and_each_area_its_counts() -> None:
    assert all(report.find_area(identity) for identity in CHECKS)
    page = report.format_html("x", some_verdicts())
    [hosting] = re.findall(r'<th scope="row">Hosting</th>(.*)</tr>', page)
    assert re.findall(r">(\d)<", hosting) == ["0", "1", "1", "1"]
    assert "Multi-model" not in page


def test_violations_of_a_must_come_first() -> None:
    page = report.format_html("x", some_verdicts())
    outcomes = re.findall(r'<tr class="(\w+) area', page)
    assert outcomes == ["must", "should", "pass", "skip"]


def test_the_page_needs_nothing_else_and_escapes_evidence() -> None:
    page = report.format_html("x", some_verdicts())

    assert "<script>alert" not in page
    assert "&lt;script&gt;" in page
    assert re.findall("https?://", page) == []
