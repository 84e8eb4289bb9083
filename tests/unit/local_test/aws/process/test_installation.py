"""The directory of a local AWS: lock, settings, and what is found there."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from container.errors import PlatformError
from local_test.aws.account.settings import Settings
from local_test.aws.process import installation
from local_test.aws.process.installation import AlreadyRunningError, Running

RUNNING = Running(7, "http://127.0.0.1:1", 1.0)


def test_a_directory_is_held_by_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installation, "_LOCK_LIMIT_S", 0.05)
    assert not installation.is_running(tmp_path)
    with installation.lock(tmp_path):
        assert installation.is_running(tmp_path)
        with pytest.raises(AlreadyRunningError), installation.lock(tmp_path):
            pass
    assert not installation.is_running(tmp_path)
    assert not installation.is_running(tmp_path / "nowhere")


def test_a_process_is_found_while_it_runs_and_is_ready(tmp_path: Path) -> None:
    assert installation.find_running(tmp_path) is None
    with installation.lock(tmp_path):
        assert installation.find_running(tmp_path) is None
        installation.write(tmp_path / "server.json", asdict(RUNNING))
        assert installation.find_running(tmp_path) == RUNNING
    assert installation.find_running(tmp_path) is None


def test_settings_are_kept(tmp_path: Path) -> None:
    assert installation.load_settings(tmp_path) == Settings()
    settings = Settings(program="", region="eu-central-1", max_instances=3)
    installation.write(tmp_path / "settings.json", asdict(settings))
    assert installation.load_settings(tmp_path) == settings
    (tmp_path / "settings.json").write_text('{"unknown": 1}')
    with pytest.raises(PlatformError, match=r"cannot read .*delete it"):
        installation.load_settings(tmp_path)


def test_the_sdks_get_a_bucket_and_send_no_telemetry(tmp_path: Path) -> None:
    installation.write_sdk_configuration(tmp_path, Settings(account="1" * 12))
    [path] = installation.sdk_environment(tmp_path).values()
    modules = json.loads(Path(path).read_text())["SageMaker"]["PythonSDK"]["Modules"]
    assert modules["Session"]["DefaultS3Bucket"] == "sagemaker-us-east-1-111111111111"
    assert modules["TelemetryOptOut"] is True


def test_a_directory_that_cannot_be_made_is_refused_with_another_choice(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    assert not installation.is_running(tmp_path / "file")
    assert installation.load_settings(tmp_path / "file") == Settings()
    with pytest.raises(PlatformError, match=r"file: File exists; choose another with --directory"):
        installation.make(tmp_path / "file")
