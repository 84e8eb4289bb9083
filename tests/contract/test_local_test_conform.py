"""Every check of `conform` passes a conformant container and catches one that breaks its clause."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import pytest

from container.errors import PlatformError
from local_test.cli.conform_command import ReportOptions
from local_test.conformance import image_checks
from local_test.conformance import run as conformance
from local_test.conformance.catalog import CHECKS, Outcome, Verdict
from local_test.conformance.obstacles import MACHINE_FAILED
from local_test.conformance.sessions import job_input_checks, lifecycle_checks
from local_test.conformance.sessions.server_session import start
from local_test.conformance.subject import Subject, Waits
from local_test.runners.launcher import has_namespaces
from local_test.runners.process import ProcessRunner
from tests.contract import mutants
from tests.support import PROGRAMS

PROGRAM = PROGRAMS / "conformant.py"
WAITS = Waits(
    start_s=20,
    training_stop_s=1.5,
    serving_stop_s=1.5,
    ping_s=0.3,
    invocation_s=10,
    unhealthy_s=1.5,
    job_s=60,
)
QUICK_START = Waits(**{**vars(WAITS), "start_s": 1.5})
NEVER_HEALTHY = {"HO-1a", "HO-4a", "HO-5a"}
NEEDS_NAMESPACES = {"HO-2a", "IN-3a", "SEC-1a", "SRV-1b", "SRV-1c"}
PROVEN_ELSEWHERE = {*image_checks.IDS, "SEC-1b", "IMG-12b", "IMG-12c"}
"""Images are judged by description below, and in the image ring."""


def make_subject(directory: Path, *arguments: str, **changes: Any) -> Subject:
    (directory / "data").mkdir()
    (directory / "data/a.csv").write_text("1,2\n3\n")
    (directory / "model").mkdir()
    (directory / "model/model.json").write_text('{"totals": {"training": 6}}')
    options: dict[str, Any] = {
        "runner": ProcessRunner([sys.executable, str(PROGRAM), *arguments]),
        "directory": directory / "work",
        "can_protect": has_namespaces(),
        "channels": {"training": str(directory / "data")},
        "hyperparameters": {"steps": "3", "step_s": "0.05", "optimizer": "adam", "flag": "true"},
        "metric_definitions": [{"Name": "loss", "Regex": "loss=([0-9.]+);"}],
        "model": str(directory / "model"),
        "body": b"1,2\n",
        "is_multi_model": True,
        "waits": WAITS,
    }
    return Subject(**{**options, **changes})


def judge(subject: Subject, identities: Collection[str]) -> dict[str, Verdict]:
    return {verdict.check.id: verdict for verdict in conformance.run(subject, identities)}


def test_a_container_that_keeps_the_contract_passes_every_check(tmp_path: Path) -> None:
    verdicts = judge(make_subject(tmp_path), CHECKS)

    assert list(verdicts) == list(CHECKS)
    violated = {
        identity: verdict.evidence for identity, verdict in verdicts.items() if verdict.is_violation
    }
    assert violated == {}
    skipped = {
        identity for identity, verdict in verdicts.items() if verdict.outcome == "not applicable"
    }
    assert skipped == {*PROVEN_ELSEWHERE, "HO-12a"} | (
        set() if has_namespaces() else NEEDS_NAMESPACES
    )


class Case(NamedTuple):
    """A container, and the verdict that a check must reach on it."""

    identity: str
    violated: str
    """The argument of `--violate`: a clause, or one way to break it."""
    outcome: Outcome = "fail"
    through: str = "program"
    """Or by `url`; or `missing`, a program that does not exist; or `start`, from its start on."""

    @property
    def name(self) -> str:
        """Name it for a test report."""
        return f"{self.identity} of {self.violated or 'a good one'}: {self.outcome}"


CASES = [
    *(Case(identity, identity) for identity in CHECKS if identity not in PROVEN_ELSEWHERE),
    # A second way to break a clause, where the check looks in two places.
    Case("IMG-14a", "IMG-14a/silent"),
    Case("HO-1b", "HO-1b/drop"),
    Case("CK-1a", "CK-1a/resume"),
    Case("BT-2a", "BT-2a/refuse"),
    Case("RQ-8b", "RQ-8b/large"),
    Case("HO-9a", "RQ-8b", "not applicable"),
    Case("HO-17a", "HO-17a/prose"),
    Case("HO-17a", "HO-17a/slow"),
    Case("HO-4a", "HO-4a", through="url"),
    Case("HO-4a", "no ping", through="start"),
    Case("MME-2d", "MME-2d/evicts"),
    Case("MME-2d", "MME-2d/lingers"),
    Case("IMG-1b", "", through="missing"),
    Case("OUT-8a", "no handler"),
    Case("HO-10a", "no handler"),
    Case("BT-9a", "answers too few in JSON"),
    # What a container is not to be blamed for.
    Case("DS-1a", "SEC-1a/credentials", "pass"),
    Case("BT-3a", "no parameters", "pass"),
    Case("HO-17a", "no metrics", "pass"),
    Case("BT-4a", "no parameters", "not applicable"),
    Case("HO-12a", "supervised", "pass"),
    Case("HO-10b", "RQ-1a", "pass"),
    Case("BT-9a", "answers JSON", "pass"),
    Case("BT-9a", "answers a JSON object", "pass"),
    # What nobody can tell.
    Case("OUT-8a", "OUT-8a/ends", "not applicable"),
    Case("BT-9a", "answers binary", "not applicable"),
    Case("MME-2d", "holds any number", "not applicable"),
    Case("SEC-1a", "OUT-1a", "not applicable"),
    Case("DS-1a", "OUT-1a", "not applicable"),
    Case("MME-6a", "HO-5a", "not applicable"),
    Case("RQ-6a", "RQ-8b", "not applicable"),
    Case("RQ-8b", "RQ-8b/ten"),
    Case("RQ-8b", "RQ-8b/sick"),
    Case("HO-14a", "RQ-8b/ten", "not applicable"),
    Case("HO-5a", "IMG-1b", "not applicable"),
    Case("HO-5a", "HO-1a", "not applicable"),
    Case("TF-1a", "TF-4a", "pass"),
    Case("TF-4a", "HP-1a", "pass"),
    Case("HP-1a", "TF-4a", "pass"),
    Case("TF-3a", "TF-2a", "pass"),
]


def judge_case(directory: Path, case: Case) -> Verdict:
    waits = QUICK_START if case.identity in NEVER_HEALTHY else WAITS
    if case.identity == "MME-6a":  # a plain server is started, too, and becomes healthy
        waits = Waits(**{**vars(WAITS), "start_s": 5})
    if case.identity == "HO-8a":
        waits = Waits(**{**vars(WAITS), "invocation_s": 1})
    if case.violated == "OUT-8a/ends":
        waits = Waits(**{**vars(WAITS), "training_stop_s": 30})
    arguments = ["--violate", case.violated] if case.violated else []
    subject = make_subject(directory, *arguments, waits=waits)
    if case.through == "missing":
        subject = replace(subject, runner=ProcessRunner(["no-such-program"]))
    if case.through == "start":
        return judge(replace(subject, waits=QUICK_START), {case.identity, "HO-5a"})[case.identity]
    if case.through != "url":
        return judge(subject, {case.identity})[case.identity]
    with start(subject, "elsewhere") as started:
        elsewhere = replace(subject, runner=None, address=started.server.container.address)
        return judge(elsewhere, {case.identity})[case.identity]


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_container_gets_the_verdict_that_it_deserves(tmp_path: Path, case: Case) -> None:
    if case.identity in NEEDS_NAMESPACES and not has_namespaces():
        pytest.skip("this machine lets nobody make a private /opt/ml")

    verdict = judge_case(tmp_path, case)

    assert verdict.outcome == case.outcome, verdict.evidence
    assert verdict.evidence
    assert verdict.check.remedy


@pytest.mark.parametrize(
    ("violated", "outcome"),
    [
        ("", "pass"),
        ("IMG-12c", "fail"),
        ("IMG-12c/key", "fail"),
        ("IMG-12c/none", "not applicable"),
    ],
)
def test_a_label_of_streams_promises_a_websocket(
    tmp_path: Path, violated: str, outcome: Outcome
) -> None:
    label = "com.amazonaws.sagemaker.capabilities.bidirectional-streaming"
    image = {"Config": {"Labels": {label: "true"}}}

    verdict = judge(make_subject(tmp_path, "--violate", violated, image=image), {"IMG-12c"})

    assert verdict["IMG-12c"].outcome == outcome, verdict["IMG-12c"].evidence


MUTANTS = list(
    mutants.find_mutants(without={"SEC-1b", "IMG-12b", "IMG-12c"})
)  # these need an image


@pytest.mark.slow
@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
def test_a_verdict_that_is_always_the_same_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mutant: mutants.Mutant
) -> None:
    module = mutant.build()
    if mutant.module is image_checks:
        assert notices_image(module.judge_image, mutant)
        return
    if mutant.module is conformance:
        monkeypatch.setattr(conformance, "_run_session", vars(module)["_run_session"])
    else:
        monkeypatch.setitem(conformance.MODULES, mutant.name, module)
    good = [
        Case(identity, "", "pass")
        for identity in CHECKS
        if identity not in {*PROVEN_ELSEWHERE, "HO-12a"}
    ]
    cases = [case for case in [*CASES, *good] if case.identity in mutant.identities]
    # First those that such a change is likely to hit.
    likely = {"passes": "fail", "fails": "pass", "is skipped": "fail"}[mutant.change]
    cases.sort(key=lambda case: (case.through == "program", case.outcome != likely))

    for number, case in enumerate(cases):
        (tmp_path / str(number)).mkdir()
        if judge_case(tmp_path / str(number), case).outcome != case.outcome:
            return
    pytest.fail(f"none of {len(cases)} fixtures notices it")


GOOD_IMAGE = {
    "Config": {"Entrypoint": ["python", "-m", "container"], "User": "", "Labels": {}},
    "Os": "linux",
    "Architecture": "amd64",
    "Size": 10**9,
    "Descriptor": {"mediaType": "application/vnd.docker.distribution.manifest.v2+json"},
}


def test_a_good_image_passes() -> None:
    assert [verdict.outcome for verdict in image_checks.judge_image(GOOD_IMAGE)] == ["pass"] * 7


BAD_IMAGES = [
    ("IMG-4a", {"Config": {"Entrypoint": ["/bin/sh", "-c", "python serve.py"]}}),
    ("IMG-5a", {"Config": {"Entrypoint": ["/usr/bin/tini", "--", "python"]}}),
    ("IMG-6a", {"Config": {"Entrypoint": ["python"], "User": "1000:1000"}}),
    ("IMG-8a", {"Architecture": "386"}),
    ("IMG-9a", {"Descriptor": {"mediaType": "application/vnd.oci.image.index.v1+json"}}),
    (
        "IMG-12a",
        {"Config": {"Labels": {"com.amazonaws.sagemaker.capabilities.multi-models": "yes"}}},
    ),
    ("SRV-1a", {"Size": 11 * 1024**3}),
]


def test_an_image_for_graviton_instances_passes() -> None:
    verdicts = {
        verdict.check.id: verdict
        for verdict in image_checks.judge_image({**GOOD_IMAGE, "Architecture": "arm64"})
    }
    assert verdicts["IMG-8a"].outcome == "pass"
    assert "Graviton" in verdicts["IMG-8a"].evidence


@pytest.mark.parametrize(
    ("change", "outcome"),
    [
        ({"ManifestType": "application/vnd.oci.image.manifest.v1+json"}, "fail"),  # Podman
        ({"ManifestType": "application/vnd.docker.distribution.manifest.v2+json"}, "pass"),
        ({"Descriptor": None}, "not applicable"),
        ({}, "not applicable"),  # Docker without the containerd store
    ],
)
def test_a_manifest_is_judged_where_the_engine_names_its_type(
    change: dict[str, Any], outcome: Outcome
) -> None:
    image = {name: value for name, value in GOOD_IMAGE.items() if name != "Descriptor"}
    [verdict] = [v for v in image_checks.judge_image({**image, **change}) if v.check.id == "IMG-9a"]
    assert verdict.outcome == outcome


@pytest.mark.parametrize(("identity", "change"), BAD_IMAGES)
def test_an_image_that_breaks_one_clause_is_caught(identity: str, change: dict[str, Any]) -> None:
    verdicts = {
        verdict.check.id: verdict for verdict in image_checks.judge_image({**GOOD_IMAGE, **change})
    }

    assert [name for name, verdict in verdicts.items() if verdict.is_violation] == [identity]


def test_an_image_for_several_models_needs_the_label() -> None:
    [missing] = [
        v for v in image_checks.judge_image(GOOD_IMAGE, is_multi_model=True) if v.is_violation
    ]
    assert "no label com.amazonaws.sagemaker.capabilities.multi-models=true" in missing.evidence
    for value, violations in (("true", []), ("false", ["IMG-12a"])):
        labels = {"com.amazonaws.sagemaker.capabilities.multi-models": value}
        labeled = {**GOOD_IMAGE, "Config": {**GOOD_IMAGE["Config"], "Labels": labels}}  # type: ignore[dict-item]
        assert [
            v.check.id
            for v in image_checks.judge_image(labeled, is_multi_model=True)
            if v.is_violation
        ] == violations
        assert not [v for v in image_checks.judge_image(labeled) if v.is_violation]


def notices_image(
    judge_image: Callable[[dict[str, Any]], Iterable[Verdict]], mutant: mutants.Mutant
) -> bool:
    [change] = [change for identity, change in BAD_IMAGES if identity in mutant.identities]
    outcomes = {}
    for name, description in (("good", GOOD_IMAGE), ("bad", {**GOOD_IMAGE, **change})):
        [outcomes[name]] = [
            v.outcome for v in judge_image(description) if v.check.id in mutant.identities
        ]
    return outcomes != {"good": "pass", "bad": "fail"}


@pytest.mark.parametrize("content_type", ["text/csv; charset=utf-8", "text/csv;header=absent"])
def test_a_content_type_with_parameters_is_not_given_more(
    tmp_path: Path, content_type: str
) -> None:
    subject = make_subject(tmp_path, content_type=content_type)
    verdicts = judge(subject, {"RQ-3a", "RQ-3b", "BT-9a"})
    assert {identity: verdict.outcome for identity, verdict in verdicts.items()} == {
        "RQ-3a": "pass", "RQ-3b": "pass", "BT-9a": "pass",
    }  # fmt: skip
    assert verdicts["RQ-3a"].evidence.count("charset") == content_type.count("charset")
    assert "TEXT/CSV;" in verdicts["RQ-3b"].evidence


class BrokenEngine(ProcessRunner):
    """An engine that starts nothing, whatever the image is."""

    def start(self, *_: Any) -> NoReturn:
        """Fail."""
        raise PlatformError("the engine fails: cgroups in hybrid mode not supported")


def test_a_container_is_not_to_blame_for_its_engine(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    subject = make_subject(tmp_path, runner=BrokenEngine([sys.executable, str(PROGRAM)]))
    verdicts = judge(subject, conformance.TRAINING_IDS | conformance.SERVING_IDS)
    assert [v.check.id for v in verdicts.values() if v.is_violation] == []
    assert verdicts["IMG-1a"].evidence.startswith(f"{MACHINE_FAILED}the engine fails: cgroups")
    count = len(verdicts)
    with pytest.raises(PlatformError, match=f"{count} of {count} checks .*: .*hybrid mode"):
        ReportOptions().write("broken", list(verdicts.values()))
    assert "0 pass, 0 MUST violated" in capsys.readouterr().out
    violated = Verdict(CHECKS["IMG-8a"], "fail", "")
    assert ReportOptions().write("broken", [violated, *verdicts.values()]) == 1


def test_processes_of_several_hosts_are_not_judged_without_namespaces(tmp_path: Path) -> None:
    subject = make_subject(tmp_path, can_protect=False)
    verdicts = judge(subject, job_input_checks.HOSTS_IDS)
    outcomes = {identity: verdict.outcome for identity, verdict in verdicts.items()}
    assert outcomes.pop("DS-3a") == "pass"
    assert set(outcomes.values()) == {"not applicable"}
    assert not (tmp_path / "work/two-hosts").exists()


@pytest.mark.parametrize("breach", ["IMG-1b", "HO-1a", "HO-5a"])
def test_a_server_that_never_becomes_healthy_is_started_once_and_gets_one_verdict(
    tmp_path: Path, breach: str
) -> None:
    subject = make_subject(tmp_path, "--violate", breach, waits=QUICK_START, can_protect=False)
    verdicts = judge(subject, conformance.SERVING_IDS)
    assert [v.check.id for v in verdicts.values() if v.is_violation] == [breach]
    left = [v for v in verdicts.values() if v.check.id not in lifecycle_checks.START_IDS]
    assert {v.evidence for v in left} == {f"not run: the server never became healthy ({breach})"}
    assert len(list((tmp_path / "work").glob("*.log"))) == 1


@pytest.mark.skipif(not has_namespaces(), reason="this machine lets nobody make a private /opt/ml")
def test_a_server_that_writes_to_its_model_is_judged_by_everything_else(tmp_path: Path) -> None:
    subject = make_subject(tmp_path, "--violate", "HO-2a", waits=QUICK_START)
    verdicts = judge(subject, {"HO-2a", "HO-5a", "RQ-1a", "HO-10b", "BT-9a"})
    assert {identity for identity, v in verdicts.items() if v.is_violation} == {"HO-2a"}
    assert {v.outcome for v in verdicts.values()} == {"pass", "fail"}


def test_a_url_is_judged_by_http_alone(tmp_path: Path) -> None:
    runner = ProcessRunner([sys.executable, str(PROGRAM)])
    subject = make_subject(tmp_path, runner=runner)

    with start(subject, "elsewhere") as started:
        host, port = started.server.container.address
        identities = conformance.choose(train=False, serve=False, only=(), is_url=True)
        elsewhere = Subject(
            runner=None,
            directory=tmp_path,
            address=conformance.parse_url(f"http://{host}:{port}"),
            body=b"1,2\n",
            waits=WAITS,
        )
        verdicts = judge(elsewhere, identities)

    assert len(verdicts) > 25
    assert not [verdict for verdict in verdicts.values() if verdict.is_violation]
