"""The Dockerfiles hold together with each other and with the program."""

from __future__ import annotations

import re

import container
from tests.support import ROOT

CPU, GPU = ((ROOT / name).read_text() for name in ("Dockerfile.cpu", "Dockerfile.gpu"))


def stage(dockerfile: str, name: str) -> str:
    """Return one stage's text, comments included."""
    found = re.search(
        rf"^FROM \S+ AS {name}$.*?(?=^FROM |\Z)", dockerfile, re.MULTILINE | re.DOTALL
    )
    assert found is not None, name
    return found[0]


def test_the_bases_are_named_by_tag_and_digest() -> None:
    for dockerfile in (CPU, GPU):
        assert re.search(
            r"^ARG BASE_IMAGE=[\w/]+:[\w.-]+@sha256:[0-9a-f]{64}$", dockerfile, re.MULTILINE
        )


def test_the_gpu_image_is_the_cpu_image_on_another_base() -> None:
    for name in ("builder", "program", "runtime"):
        assert stage(GPU, name) == stage(CPU, name)


def test_each_framework_that_build_and_push_offers_has_a_stage_and_a_lock() -> None:
    source = (ROOT / "docker/build_and_push.py").read_text()
    offered = re.search(r"^_FRAMEWORKS: Final = \((.*)\)$", source, re.MULTILINE)
    assert offered is not None
    frameworks = re.findall(r'"(\w+)"', offered[1])
    for dockerfile, without in ((CPU, set()), (GPU, {"none"})):
        assert f"\nARG FRAMEWORK={frameworks[0]}\n" in dockerfile
        stages = re.findall(r"^FROM builder AS packages-(\w+)$", dockerfile, re.MULTILINE)
        assert set(stages) == set(frameworks) - without
        assert re.search(
            r"^FROM packages-\$\{FRAMEWORK\} AS environment$", dockerfile, re.MULTILINE
        )
        locks = re.findall(r"^COPY (\S+) /build/requirements.txt$", dockerfile, re.MULTILINE)
        assert len(locks) == len(stages)
        assert all((ROOT / lock).is_file() for lock in locks)


def test_the_version_label_is_the_programs_version() -> None:
    assert f"ARG VERSION={container.__version__}\n" in CPU


def test_every_flag_of_the_row_decoders_build_stands_in_the_image() -> None:
    source = (ROOT / "container/serving/bodies/rows.py").read_text()
    found = re.search(r"options = \[(.*)\]", source)
    assert found is not None
    flags = {flag for flag in re.findall(r'"(-[^"]+)"', found[1]) if not flag.startswith("-W")}
    (line,) = [line for line in CPU.splitlines() if "librows.so rows.c" in line]
    assert flags <= set(line.split())


def test_every_image_has_the_library_of_openmp() -> None:
    for dockerfile in (CPU, GPU):
        assert re.search(r"apt-get install [^;]*\blibgomp1\b", stage(dockerfile, "base"))


def test_the_locked_pip_replaces_the_bases_before_it_installs_anything() -> None:
    """A wheel that a pip before 26.0 installs may write outside its directory."""
    for dockerfile in (CPU, GPU):
        assert "docker/requirements-pip.txt" in stage(dockerfile, "builder")
    program = (ROOT / "docker/make_environment.py").read_text()
    installations = re.findall(r"^ +run\(\*install.*$", program, re.MULTILINE)
    assert "PIP_LOCK" in installations[0]
    assert len(installations) == 3
    install = re.search(r"install = \[.*\]", program)
    assert install is not None
    assert "--require-hashes" in install[0]
