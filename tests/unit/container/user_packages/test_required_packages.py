"""What is installed for user code, and when a job counts as isolated."""

from pathlib import Path

from container.user_packages import required_packages


def test_platform_job_without_credentials_counts_as_isolated(tmp_path: Path) -> None:
    routes = tmp_path / "route"
    routes.write_text("Iface Destination\neth0 00000000\n")
    arn = {"TRAINING_JOB_ARN": "arn:aws:sagemaker"}
    assert required_packages.is_isolated(arn, routes)
    assert not required_packages.is_isolated(
        arn | {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/v2/x"}, routes
    )
    assert not required_packages.is_isolated({}, routes)
    routes.write_text("Iface Destination\n")
    assert required_packages.is_isolated({}, routes)
