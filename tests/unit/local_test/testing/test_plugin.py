"""The plug-in for pytest: what it adds to a run that does not use it."""

import importlib
import subprocess
import sys
import tomllib

import pytest

from tests.support import ROOT

ENTRY_POINTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
FIXTURES = ("sagemaker_image", "sagemaker", "training_job", "endpoint")


def test_the_entry_point_names_the_module_with_the_fixtures() -> None:
    [(name, module)] = ENTRY_POINTS["pytest11"].items()
    assert name == "byo_sagemaker"
    plugin = importlib.import_module(module)
    assert all(hasattr(plugin, fixture) for fixture in FIXTURES)


def test_every_run_of_pytest_loads_nothing_but_the_plug_in() -> None:
    program = (
        "import sys, _pytest.config, pytest; before = set(sys.modules); "
        f"import {ENTRY_POINTS['pytest11']['byo_sagemaker']}; "
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["local_test", "local_test.testing", "local_test.testing.plugin"]


def test_our_own_tests_run_without_it(pytestconfig: pytest.Config) -> None:
    assert pytestconfig.pluginmanager.is_blocked("byo_sagemaker")
    assert not pytestconfig.pluginmanager.has_plugin("byo_sagemaker")
