"""An algorithm's declarations and description; botocore's models are the oracle."""

import dataclasses
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import botocore.session
import pytest
from botocore.validate import ParamValidator

from container import algorithm, contract
from container.developer import describe
from container.errors import UserError
from tests.support import ROOT, USER_CODE

FILE = USER_CODE / "nearest/algorithm.py"
SHAPES = botocore.session.get_session().get_service_model("sagemaker")


@pytest.fixture(autouse=True)
def _forget_imports() -> Iterator[None]:
    path = list(sys.path)
    yield
    sys.path[:] = path
    sys.modules.pop("algorithm", None)


@pytest.fixture(params=["nearest", "bundled"])
def described(request: pytest.FixtureRequest) -> algorithm.Algorithm:
    return algorithm.load(FILE) if request.param == "nearest" else describe.bundled()


def test_request_of_create_algorithm_is_one(described: algorithm.Algorithm) -> None:
    request = describe.describe_algorithm(described, "account/byo:1")
    shape = SHAPES.operation_model("CreateAlgorithm").input_shape
    report = ParamValidator().validate(request, shape)
    assert not report.has_errors(), report.generate_report()
    specification = request["TrainingSpecification"]
    assert re.fullmatch(r"[a-zA-Z0-9]([\-a-zA-Z0-9]{0,62})", request["AlgorithmName"])
    assert 1 <= len(specification["SupportedHyperParameters"]) <= 100
    assert 1 <= len(specification["MetricDefinitions"]) <= 40
    assert "InferenceSpecification" in request
    is_bundled = described.name == describe.bundled().name
    assert specification["SupportsDistributedTraining"] is is_bundled


def test_parameter_ranges_are_the_platforms(described: algorithm.Algorithm) -> None:
    ranges = describe.describe_tuning(described)
    shape = SHAPES.shape_for("ParameterRanges")
    report = ParamValidator().validate(ranges, shape)
    assert not report.has_errors(), report.generate_report()


def test_every_hyperparameter_is_described_by_its_declaration() -> None:
    entries = {
        entry["Name"]: entry for entry in describe.describe_hyperparameters(algorithm.load(FILE))
    }
    assert entries["epochs"] == {
        "Name": "epochs",
        "Description": "passes over the data",
        "Type": "Integer",
        "IsTunable": True,
        "IsRequired": False,
        "Range": {"IntegerParameterRangeSpecification": {"MinValue": "1", "MaxValue": "100000"}},
        "DefaultValue": "3",
    }
    assert entries["learning_rate"]["Type"] == "Continuous"
    assert entries["distance"]["Range"]["CategoricalParameterRangeSpecification"]["Values"] == [
        "euclidean",
        "manhattan",
    ]
    assert (entries["pause_s"]["IsTunable"], entries["pause_s"]["Description"]) == (
        False,
        "rest between epochs (seconds)",
    )
    assert (entries["note"]["Type"], "DefaultValue" in entries["note"]) == ("FreeText", False)


def test_ranges_over_two_decades_are_searched_by_their_logarithm() -> None:
    ranges = describe.describe_tuning(algorithm.load(FILE))
    assert ranges["IntegerParameterRanges"] == [
        {"Name": "epochs", "MinValue": "1", "MaxValue": "100000", "ScalingType": "Logarithmic"}
    ]
    assert [entry["Name"] for entry in ranges["ContinuousParameterRanges"]] == ["learning_rate"]


def test_metric_definitions_find_what_a_job_logs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    typed = algorithm.load(FILE)
    stop = SimpleNamespace(requested=False, worth_saving=False, saved="")
    config = contract.TrainingConfig()
    job = algorithm.Job(contract.Layout(tmp_path), config, typed.hyperparameters(), {}, stop)
    job.log_metrics(accuracy=0.9731, train_loss=1e-7)
    line = capsys.readouterr().out
    found = {
        item["Name"]: re.findall(item["Regex"], line) for item in describe.describe_metrics(typed)
    }
    assert found == {"accuracy": ["0.9731"], "train_loss": ["1e-07"]}


def test_file_that_is_no_algorithm_is_told_everything_at_once(tmp_path: Path) -> None:
    path = tmp_path / "algorithm.py"
    path.write_text(
        "from dataclasses import dataclass\n"
        "@dataclass\nclass Hyperparameters:\n    epochs: int = 3\n"
        "def load(model_dir): ...\nMETRICS = ('a-b',)\nCHANNELS = ('a b',)\n"
    )
    with pytest.raises(UserError) as caught:
        algorithm.load(path)
    for part in (
        "5 faults",
        "declare hyperparameter 'epochs' with",
        "neither train",
        "belong together",
        "'a b'",
        "'a-b'",
    ):
        assert part in str(caught.value)
    with pytest.raises(UserError, match=r"other.py does not exist"):
        algorithm.load(tmp_path / "other.py")


@pytest.mark.parametrize(
    "line", ['METRICS = ("accuracy")', 'CHANNELS = "training"', "METRICS = 5", "CHANNELS = (1,)"]
)
def test_a_text_is_not_taken_for_names_of_one_letter(tmp_path: Path, line: str) -> None:
    path = tmp_path / "algorithm.py"
    path.write_text(f"{line}\ndef train(job): ...\n")
    name = line.partition(" ")[0]
    with pytest.raises(UserError, match=f"{name} must be a tuple of names, such as"):
        algorithm.load(path)


def test_bundled_network_is_described_with_every_setting() -> None:
    bundled = describe.bundled()
    names = [entry["Name"] for entry in describe.describe_hyperparameters(bundled)]
    assert names == [item.name for item in dataclasses.fields(bundled.hyperparameters)]
    assert [item["Name"] for item in describe.describe_metrics(bundled)] == list(
        contract.METRIC_NAMES
    )


@pytest.mark.parametrize(
    ("hosts", "configured", "there", "expected"),
    [
        (1, ["train", "b"], [], {"training": "train", "b": "b"}),
        (1, ["training", "train"], [], {"training": "training", "train": "train"}),
        (1, None, ["train", "other"], {"training": "train"}),
        (2, ["b"], [], {"training": "training", "b": "b"}),
        (
            1,
            ["b"],
            [],
            "the job has no training channel: it needs one named 'training' or 'train'; .* are b$",
        ),
    ],
)
def test_channels_come_under_their_declared_names(
    tmp_path: Path,
    hosts: int,
    configured: list[str] | None,
    there: list[str],
    expected: dict[str, str] | str,
) -> None:
    layout = contract.Layout(tmp_path)
    for name in there:
        layout.channel(name).mkdir(parents=True)
    if configured is not None:
        layout.input_data_config.parent.mkdir(parents=True)
        layout.input_data_config.touch()
    resources = contract.Resources(hosts=tuple(f"algo-{i}" for i in range(1, hosts + 1)))
    channels = {name: contract.Channel(name) for name in configured or []}
    config = contract.TrainingConfig(channels=channels, resources=resources)
    declared = ("training|train", "validation?")
    if isinstance(expected, str):
        with pytest.raises(UserError, match=expected):
            algorithm.name_channels(declared, layout, config)
    else:
        found = algorithm.name_channels(declared, layout, config)
        assert found == {name: layout.channel(directory) for name, directory in expected.items()}


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("val", "validation"),
        ("eval", "validation"),
        ("dev", "validation"),
        ("validate", "validation"),
        ("Validation", "validation"),
        ("tests", "test"),
        ("testset", "test"),
        ("holdout", "test"),
        ("trainign", "training"),
        ("Train", "training"),
    ],
)
def test_a_misspelt_channel_is_refused_with_the_one_that_was_meant(
    given: str, meant: str, tmp_path: Path
) -> None:
    layout = contract.Layout(tmp_path)
    layout.input_data_config.parent.mkdir(parents=True)
    layout.input_data_config.touch()
    names = {given} if meant.startswith("train") else {"train", given}
    config = contract.TrainingConfig(channels={name: contract.Channel(name) for name in names})
    declared = ("training|train", "validation?", "test|testing?")
    with pytest.raises(UserError, match=rf"unknown channel '{given}': did you mean '{meant}'\?"):
        algorithm.name_channels(declared, layout, config)


@pytest.mark.parametrize("others", [["code"], ["text"], ["validation", "val"], ["aux"]])
def test_other_channels_are_for_the_algorithm_to_use(others: list[str], tmp_path: Path) -> None:
    layout = contract.Layout(tmp_path)
    layout.input_data_config.parent.mkdir(parents=True)
    layout.input_data_config.touch()
    names = ["train", *others]
    config = contract.TrainingConfig(channels={name: contract.Channel(name) for name in names})
    found = algorithm.name_channels(("training|train", "validation?", "test?"), layout, config)
    assert set(found) == {"training", *others}


@pytest.mark.parametrize("what", ["help", "algorithm", "tuning", "metrics"])
def test_description_is_a_command(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert describe.main([str(FILE), "--as", what, "--image", "byo"]) == 0
    assert capsys.readouterr().out
    assert describe.main(["no-such-file.py"]) == 1


def test_what_a_users_file_raises_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.py"
    beside = tmp_path / "beside_mine.py"
    beside.write_text("\n\na = b\n")
    library = tmp_path / ".venv/lib/site-packages/its_library.py"
    library.parent.mkdir(parents=True)
    library.write_text("a = b\n")
    other = tmp_path.with_name(f"{tmp_path.name}-other")
    other.mkdir()
    (other / "not_mine.py").write_text("a = b\n")
    use = "import sys\nsys.path.append({!r})\nimport {}\n"
    for text, place, kind in (
        ("if 1:\n        x = 1\n\ty = 2\n", f"{path}:3", "TabError"),
        ("exec('1 1')", f"{path}:1", "SyntaxError"),
        (use.format(str(library.parent), "its_library"), f"{path}:3", "NameError"),
        (use.format(str(other), "not_mine"), f"{path}:3", "NameError"),
        ("\na = b\n", f"{path}:2", "NameError"),
        ("import beside_mine\n", f"{beside}:3", "NameError"),
        ("import re\nre.compile('(')\n", f"{path}:2", "error"),
    ):
        path.write_text(text)
        assert describe.main([str(path)]) == 1
        said = capsys.readouterr().err
        assert said.startswith(f"error: {place}: {kind}: ")
        assert said.count("\n") == 1


def test_the_container_beside_a_users_file_is_not_the_users(tmp_path: Path) -> None:
    """As where an algorithm stands at the root of a checkout."""
    (tmp_path / "container").symlink_to(ROOT / "container")
    path = tmp_path / "algorithm.py"
    path.write_text("if 1:\n        x = 1\n\ty = 2\n")
    command = [sys.executable, "-m", "container", "describe", "algorithm.py"]
    done = subprocess.run(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, check=False)
    assert done.stderr.startswith(f"error: {path}:3: TabError: ")
