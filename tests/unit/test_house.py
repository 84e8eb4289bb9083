"""Every source module is exercised: by a unit test that imports it, or by a test named here."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator
from pathlib import Path

import hypothesis

from tests.support import ROOT

EXERCISES = {
    "tests/contract/aws/test_pipelines.py": (
        "local_test.aws.sagemaker.pipelines.functions.function_program",
        "local_test.aws.sagemaker.pipelines.pipeline_operations",
        "local_test.aws.sagemaker.pipelines.steps",
        "local_test.aws.sagemaker.pipelines.values",
    ),
    "tests/unit/local_test/aws/sagemaker/metadata/test_experiments.py": (
        "local_test.aws.sagemaker.metadata.lineage",
        "local_test.aws.sagemaker.metadata.model_cards",
    ),
    "tests/unit/local_test/aws/moto/test_mount.py": ("local_test.aws.moto.roles",),
    "tests/unit/local_test/aws/sagemaker/test_cloudwatch.py": (
        "local_test.aws.sagemaker.hosting.backlogs",
    ),
    "tests/unit/local_test/endpoints/asynchronous/test_async_invocation.py": (
        "local_test.endpoints.asynchronous.tally",
    ),
    "tests/browser/test_console_page.py": (
        "local_test.aws.console.endpoint_page",
        "local_test.aws.console.overview",
        "local_test.aws.console.rendering",
        "local_test.aws.console.tuning_page",
    ),
    "tests/contract/aws/test_cli.py": ("local_test.cli.aws_commands",),
    "tests/contract/aws/test_endpoints.py": (
        "local_test.aws.account.meter",
        "local_test.aws.sagemaker.runtime",
    ),
    "tests/contract/aws/test_variants.py": ("local_test.aws.sagemaker.hosting.image_runner",),
    "tests/contract/aws/test_full_disk.py": ("local_test.aws.moto.held_parts",),
    "tests/contract/aws/test_jobs.py": ("local_test.aws.account.metric_files",),
    "tests/contract/aws/test_remote_endpoints.py": (
        "local_test.cli.remote.endpoint_submission",
        "local_test.remote.remote_endpoints",
    ),
    "tests/contract/aws/test_remote_jobs.py": (
        "local_test.cli.remote.account_commands",
        "local_test.cli.remote.remote_options",
        "local_test.cli.remote.submission",
        "local_test.remote.log_reader",
    ),
    "tests/contract/aws/test_remote_tuning.py": (
        "local_test.cli.remote.tune_command",
        "local_test.remote.remote_tuning",
    ),
    "tests/contract/aws/test_remote_verbs.py": ("local_test.remote.permissions.roles",),
    "tests/contract/aws/test_remote_checks.py": (
        "local_test.remote.checks",
        "local_test.remote.transfer.image_facts",
    ),
    "tests/contract/aws/test_interruptions.py": ("local_test.aws.process.lifecycle",),
    "tests/contract/serve/test_serve_bidirectional.py": (
        "container.serving.bidirectional.sessions",
    ),
    "tests/contract/serve/test_serve_handlers.py": ("container.serving.event_worker.lane",),
    "tests/contract/serve/test_serve_worker.py": ("container.serving.event_worker.worker",),
    "tests/contract/test_batch.py": ("container.batch.local_model",),
    "tests/contract/test_bodies.py": ("container.serving.records.table",),
    "tests/contract/test_evaluate.py": (
        "container.evaluation.charts",
        "container.evaluation.job",
        "container.evaluation.sharing",
    ),
    "tests/contract/test_export.py": ("container.training.export",),
    "tests/contract/test_formats.py": (
        "container.data.formats.array_files",
        "container.data.formats.checksums",
    ),
    "tests/contract/test_handlers.py": (
        "container.serving.user_code.context",
        "container.serving.user_code.installation",
    ),
    "tests/contract/test_local_test_cli.py": (
        "local_test.__main__",
        "local_test.cli.conform_command",
        "local_test.cli.samples.digits",
        "local_test.cli.endpoint_commands",
        "local_test.cli.smoke_command",
        "local_test.runners.namespace",
    ),
    "tests/contract/test_local_test_conform.py": (
        "local_test.conformance.image_checks",
        "local_test.conformance.sessions.endpoint_kind_checks",
        "local_test.conformance.sessions.lifecycle_checks",
        "local_test.conformance.sessions.serving_mode_checks",
        "local_test.conformance.sessions.surroundings",
    ),
    "tests/contract/test_local_test_training.py": (
        "local_test.data.checkpoints",
        "local_test.identity",
        "local_test.jobs.fleet",
        "local_test.jobs.job",
        "local_test.jobs.processing",
        "local_test.jobs.training",
    ),
    "tests/contract/test_local_test_transform.py": (
        "local_test.jobs.transform",
        "local_test.jobs.transform_instance",
    ),
    "tests/contract/test_pipe.py": ("container.data.pipe",),
    "tests/contract/test_script.py": (
        "container.training.typed",
        "container.training.user_script.run",
        "container.user_packages.output_streams",
        "container.user_packages.processes",
    ),
    "tests/contract/test_script_packages.py": ("container.training.user_script.installation",),
    "tests/contract/test_script_toolkit.py": (
        "container.training.user_script.completion",
        "container.training.user_script.environment",
        "container.training.user_script.fetching",
    ),
    "tests/contract/test_tensorboard.py": ("container.training.tensorboard",),
    "tests/contract/test_third_party.py": (
        "container.serving.third_party.loaders.artifacts",
        "container.serving.third_party.loaders.boosters.catboost_models",
        "container.serving.third_party.loaders.boosters.categories",
        "container.serving.third_party.loaders.keras_models",
        "container.serving.third_party.loaders.boosters.lightgbm_models",
        "container.serving.third_party.loaders.mlflow_models",
        "container.serving.third_party.loaders.onnx_models",
        "container.serving.third_party.loaders.pytorch.exported_graph",
        "container.serving.third_party.loaders.pytorch.exported_programs",
        "container.serving.third_party.loaders.pytorch.module_manifest",
        "container.serving.third_party.loaders.pytorch.programs",
        "container.serving.third_party.loaders.pytorch.weights",
        "container.serving.third_party.loaders.saved_models",
        "container.serving.third_party.loaders.scikit_columns",
        "container.serving.third_party.loaders.scikit_models",
        "container.serving.third_party.loaders.boosters.xgboost_models",
    ),
    "tests/contract/test_train.py": (
        "container.__main__",
        "container.training.bundled",
        "container.training.main",
    ),
    "tests/contract/test_train_resume.py": (
        "container.training.checkpoint",
        "container.training.publication",
    ),
    "tests/unit/container/developer/test_doctor.py": (
        "container.developer.doctor.dockerfile",
        "container.developer.doctor.source_code",
    ),
    "tests/unit/container/serving/bodies/test_decoding.py": ("container.serving.bodies.pixels",),
    "tests/unit/container/serving/third_party/test_model_application.py": (
        "container.serving.third_party.names",
        "container.serving.third_party.picture_inputs",
    ),
    "tests/unit/container/serving/user_code/test_application.py": (
        "container.serving.user_code.tensorflow_serving",
    ),
    "tests/unit/container/training/launching/test_commands.py": (
        "container.training.launching.launched",
    ),
    "tests/unit/local_test/requests/test_validation.py": ("local_test.requests.rules",),
}
"""Tests, and the modules that they run and that no unit test imports."""


def list_modules() -> Iterator[str]:
    """List the source modules that contain more than a docstring."""
    for side in ("container", "local_test"):
        for path in (ROOT / side).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            is_a_users_program = "templates" in parts
            if not is_a_users_program and len(ast.parse(path.read_text()).body) > 1:
                yield ".".join(parts).removesuffix(".__init__")


def list_imports(path: Path) -> Iterator[str]:
    """List every dotted name that a file imports, of modules and of what is in them."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def has_test_of_its_name(module: str) -> bool:
    """Return whether the module's place in the mirrored tree of unit tests is taken."""
    folder, _, name = module.replace(".", "/").rpartition("/")
    return (ROOT / "tests/unit" / folder / f"test_{name}.py").exists()


def test_every_module_is_imported_by_a_unit_test_or_named_with_its_test() -> None:
    imported = {name for path in (ROOT / "tests/unit").rglob("*.py") for name in list_imports(path)}
    alone = {
        module
        for module in list_modules()
        if module not in imported and not has_test_of_its_name(module)
    }

    named = {module for modules in EXERCISES.values() for module in modules}
    assert sorted(alone - named) == [], "add a unit test, or name the module in EXERCISES"
    assert sorted(named - alone) == [], "remove from EXERCISES: it has a unit test, or is gone"


def test_who_expects_text_that_is_not_json_expects_it_nested_too_deeply() -> None:
    """json.loads raises RecursionError for `[[[[…`, which is no ValueError."""
    unaware = []
    for path in itertools.chain(
        *((ROOT / side).rglob("*.py") for side in ("container", "local_test"))
    ):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Try | ast.With):
                continue
            places = node.handlers if isinstance(node, ast.Try) else node.items
            is_reading = any("json.load" in ast.unparse(part) for part in node.body)
            caught = " ".join(ast.unparse(place).partition(":")[0] for place in places)
            if is_reading and "ValueError" in caught and "RecursionError" not in caught:
                unaware.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert unaware == []


def test_an_example_of_hypothesis_may_take_long_on_a_busy_machine() -> None:
    assert hypothesis.settings.default is not None
    assert hypothesis.settings.default.deadline is None


def test_the_named_tests_exist() -> None:
    assert [name for name in EXERCISES if not (ROOT / name).is_file()] == []
