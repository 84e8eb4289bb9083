"""Checks of training with what the platform may add: files, channels, encodings and hosts."""

from collections.abc import Iterator
from typing import Final

from container import contract
from local_test.conformance.catalog import Verdict, judge, skip, skip_all
from local_test.conformance.sessions import surroundings
from local_test.conformance.subject import Sessions, Subject
from local_test.requests import hyperparameter_encodings

_EXTRAS: Final = {
    "sagemaker_job_name": '"a-job"',
    "sagemaker_region": '"us-east-1"',
    "sagemaker_container_log_level": "20",
    "_tuning_objective_metric": "validation:accuracy",
    "model_dir": '"s3://bucket/prefix/model"',
}
_ADDED: Final = (
    surroundings.add_channel,
    surroundings.add_hidden_files,
    surroundings.rename_interface,
)
_ALONE: Final[dict[str, tuple[surroundings.Amend, ...]]] = {
    "TF-2a": (surroundings.remove_manifests,),
    "TF-3a": (surroundings.remove_decoys,),
    "HP-5a": (surroundings.leave_documented_files,),
    "IN-1a": (surroundings.leave_documented_files, surroundings.add_channel),
    "IN-11a": (surroundings.leave_documented_files, surroundings.add_hidden_files),
    "DS-2a": (surroundings.leave_documented_files, surroundings.rename_interface),
}
"""What leaves only one addition of each in the job's directory."""
SURROUNDINGS_IDS: Final = tuple(_ALONE)


def check_surroundings(subject: Subject) -> Iterator[Verdict]:
    """Everything at once that the platform may add; a failure is then searched one by one."""
    extended = {**subject.hyperparameters, **_EXTRAS}
    together = subject.train("surroundings", _after(*_ADDED), hyperparameters=extended)
    for identity, changes in _ALONE.items():
        if together.is_good:
            yield judge(identity, True, f"a job with all of them: {together.evidence}")
            continue
        hyperparameters = extended if identity == "HP-5a" else subject.hyperparameters
        name = f"alone-{identity.lower()}"
        trial = subject.train(name, _after(*changes), hyperparameters=hyperparameters)
        yield judge(identity, trial.is_good, trial.evidence)


def _after(*changes: surroundings.Amend) -> surroundings.Amend:
    def amend(layout: contract.Layout) -> None:
        for change in changes:
            change(layout)

    return amend


ENCODING_IDS: Final = ("HP-2a", "HP-2b", "HP-6a")


def check_encodings(subject: Subject) -> Iterator[Verdict]:
    """The same hyperparameters as SDKs and tuners write them."""
    for identity, encoding in (("HP-2a", "sdk2-json"), ("HP-2b", "sdk2-str"), ("HP-6a", "tuner")):
        values = hyperparameter_encodings.encode_hyperparameters(subject.hyperparameters, encoding)
        if values == dict(subject.hyperparameters):
            yield skip(identity, "no hyperparameter looks different in this encoding")
            continue
        trial = subject.train(f"encoding-{encoding}", hyperparameters=values)
        yield judge(identity, trial.is_good, f"{values}: {trial.evidence}")


HOSTS_IDS: Final = ("DS-1a", "OUT-5a", "IN-7a", "DS-3a")


def check_hosts(subject: Subject) -> Iterator[Verdict]:
    """A host with another name, two hosts, and a host without data."""
    renamed = subject.train("renamed-host", surroundings.rename_host)
    yield judge("DS-3a", renamed.is_good, f"with current_host node-b: {renamed.evidence}")
    # Hosts that are processes have ports of their own only when they are isolated. A program that
    # needs a network does not break DS-1 by that.
    is_isolated = subject.image is None
    if is_isolated and not subject.can_protect:
        yield from skip_all(HOSTS_IDS[:3], "several hosts need namespaces (Linux), or an image")
        return
    trial = subject.train("two-hosts", instance_count=2, is_isolated=is_isolated)
    if is_isolated and not trial.is_good:
        is_isolated = False
        trial = subject.train("two-open-hosts", instance_count=2)
    yield judge("DS-1a", trial.is_good, trial.evidence)
    clashes = [finding for finding in trial.result.findings if "OUT-5" in finding]
    yield judge("OUT-5a", not clashes, "; ".join(clashes[:3]) or "no name was written twice")
    empty = subject.train(
        "empty-shard", surroundings.empty_second_host, instance_count=2, is_isolated=is_isolated
    )
    if trial.is_good:
        yield judge("IN-7a", empty.is_good, empty.evidence)
    else:
        yield skip("IN-7a", "it does not train on two hosts")


PROTECTION_IDS: Final = ("IN-3a", "SEC-1a", "TRIP-24a")


def check_protection(subject: Subject) -> Iterator[Verdict]:
    """Read-only channels, no network, and a model directory that cannot be written."""
    if subject.can_protect:
        fast = subject.train("fast-file", input_mode="FastFile")
        yield judge("IN-3a", fast.is_good, fast.evidence)
        isolated = subject.train("isolated", is_isolated=True)
        yield judge("SEC-1a", isolated.is_good, isolated.evidence)
    else:
        yield skip("IN-3a", "this machine cannot make channels read-only for a program")
        yield skip("SEC-1a", "this machine cannot cut off a program's network")
    unwritable = subject.train("unwritable-model", surroundings.block_model)
    yield judge("TRIP-24a", not unwritable.is_good, unwritable.evidence)


SESSIONS: Sessions = (
    (SURROUNDINGS_IDS, check_surroundings),
    (ENCODING_IDS, check_encodings),
    (HOSTS_IDS, check_hosts),
    (PROTECTION_IDS, check_protection),
)
