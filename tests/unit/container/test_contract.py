"""The contract's home, against its values spelled a second time."""

import json
import re
from pathlib import Path

import pytest

from container import contract
from container.errors import PlatformError


def write(path: Path, document: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(document if isinstance(document, str) else json.dumps(document))


def test_layout_is_opt_ml_where_nothing_else_is_said() -> None:
    layout = contract.Layout.from_environ({})

    assert str(layout.hyperparameters) == "/opt/ml/input/config/hyperparameters.json"
    assert str(layout.input_data_config) == "/opt/ml/input/config/inputdataconfig.json"
    assert str(layout.resource_config) == "/opt/ml/input/config/resourceconfig.json"
    assert str(layout.channel("train")) == "/opt/ml/input/data/train"
    assert str(layout.pipe("train", 0)) == "/opt/ml/input/data/train_0"
    assert str(layout.model) == "/opt/ml/model"
    assert str(layout.models) == "/opt/ml/models"
    assert str(layout.output_data) == "/opt/ml/output/data"
    assert str(layout.failure) == "/opt/ml/output/failure"
    assert str(layout.message) == "/opt/ml/output/message"
    assert str(layout.checkpoints) == "/opt/ml/checkpoints"
    assert str(layout.processing) == "/opt/ml/processing"
    assert str(layout.processing_job_config) == "/opt/ml/config/processingjobconfig.json"


def test_layout_moves_with_sagemaker_base_dir() -> None:
    assert contract.Layout.from_environ({"SAGEMAKER_BASE_DIR": "/srv/job"}).model == Path(
        "/srv/job/model"
    )


def test_training_config_of_an_empty_tree_is_one_host_without_channels(tmp_path: Path) -> None:
    """TF-1: a missing file is an empty one."""
    config = contract.load_training_config(contract.Layout(tmp_path))

    assert config.hyperparameters == {}
    assert config.channels == {}
    assert (config.resources.rank, config.resources.hosts) == (0, ("algo-1",))


def test_training_config_reads_the_three_documented_files(tmp_path: Path) -> None:
    layout = contract.Layout(tmp_path)
    write(layout.hyperparameters, {"epochs": "3", "comment": "", "dims": [1, 2]})
    write(
        layout.input_data_config,
        {"train": {"TrainingInputMode": "Pipe", "ContentType": "text/csv"}, "my-data": {}},
    )
    write(
        layout.resource_config,
        {
            "current_host": "algo-2",
            "hosts": ["algo-10", "algo-2", "algo-1"],
            "network_interface_name": "eth1",
        },
    )

    config = contract.load_training_config(layout)

    assert config.hyperparameters == {"epochs": "3", "dims": "[1, 2]"}  # HP-4, LM-4
    assert config.channels["train"] == contract.Channel(
        "train", content_type="text/csv", input_mode="Pipe"
    )
    assert config.channels["my-data"].input_mode == "File"
    assert config.resources.hosts == ("algo-1", "algo-10", "algo-2")  # DS-1: sorted as strings
    assert config.resources.rank == 2
    assert config.resources.network_interface_name == "eth1"


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("{", "is not JSON"),
        ("[1]", "holds a JSON list; a JSON object is expected"),
        ('{"train": "s3://bucket"}', "channel 'train' is 's3://bucket'; an object is expected"),
    ],
)
def test_training_config_names_the_file_that_is_wrong(
    tmp_path: Path, document: str, said: str
) -> None:
    layout = contract.Layout(tmp_path)
    write(layout.input_data_config, document)

    with pytest.raises(PlatformError, match=r"inputdataconfig\.json") as error:
        contract.load_training_config(layout)

    assert said in str(error.value)


def test_resources_that_miss_the_current_host_are_refused(tmp_path: Path) -> None:
    layout = contract.Layout(tmp_path)
    write(layout.resource_config, {"current_host": "algo-3", "hosts": ["algo-1"]})

    with pytest.raises(PlatformError, match="'algo-3' must be one of hosts"):
        contract.load_training_config(layout)


def test_metric_lines_are_found_again_by_the_published_regexes() -> None:
    """HPO-1, HPO-2."""
    values = {name: 0.1234567 * (index + 1) for index, name in enumerate(contract.METRIC_NAMES)}
    line = contract.format_metrics(values)

    for definition in contract.METRIC_DEFINITIONS:
        found = re.findall(definition["Regex"], line)
        assert [float(text) for text in found] == [
            pytest.approx(values[definition["Name"]], rel=1e-5)
        ]


def test_metric_regexes_keep_within_the_service_limits() -> None:
    """HPO-1: at most 40 definitions, names to 255 and regexes to 500 characters, one group."""
    assert len(contract.METRIC_DEFINITIONS) <= 40
    for definition in contract.METRIC_DEFINITIONS:
        assert len(definition["Name"]) <= 255
        assert len(definition["Regex"]) <= 500
        assert re.compile(definition["Regex"]).groups == 1


def test_metric_lines_never_hold_nan() -> None:
    assert (
        contract.format_metrics({"train_loss": float("nan"), "epoch": 2.0, "test_f1": float("inf")})
        == "epoch=2;"
    )


def test_failure_file_is_made_where_the_platform_reads_it(tmp_path: Path) -> None:
    contract.write_failure(contract.Layout(tmp_path), "no such channel: \udc80train")

    assert (tmp_path / "output/failure").read_text() == "no such channel: ?train"


@pytest.mark.parametrize(
    "name", ["sagemaker_program", "_tuning_objective_metric", "model_dir", "mp_parameters"]
)
def test_platform_hyperparameters_are_known_as_such(name: str) -> None:
    assert contract.is_platform_hyperparameter(name)
    assert not contract.is_platform_hyperparameter(name + "s") or name.startswith("sagemaker_")
