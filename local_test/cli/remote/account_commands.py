"""The commands of `byo aws`: what was made in an account, listed, stopped and deleted."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import typer

from container.errors import UserError, name_command
from local_test.cli import terminal
from local_test.cli.options import Command, Group, flag, option, with_groups
from local_test.cli.remote.remote_options import AccountOptions, say_where
from local_test.remote import checks, inventory, remainders
from local_test.remote.access import PREFIX, ROLE_NAME, Account
from local_test.remote.inventory import Inventory, Resource
from local_test.remote.permissions import policies, roles
from local_test.remote.permissions.statements import Grants
from local_test.remote.transfer import uploads

app = typer.Typer(
    cls=Group,
    help="Manage what --on aws created in your account.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Name = Annotated[str, typer.Argument(help="Name of a job or endpoint.")]


@dataclass(frozen=True)
class InventoryOptions(AccountOptions):
    """What is looked at."""

    days: int = option(
        30, "Include jobs of the last NUMBER days; endpoints and models are always included."
    )


@dataclass(frozen=True)
class DeletionOptions(InventoryOptions):
    """What is deleted."""

    logs: bool = flag("Also delete the logs.", "--logs")


@with_groups
def ls(
    options: InventoryOptions,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per line.")
    ] = False,
) -> int:
    """List what --on aws created: jobs, endpoints, configurations, models, data and images."""
    account = options.connect()
    say_where(account)
    resources = Inventory(account, options.days).list_resources()
    _show(resources, as_json=as_json)
    if not as_json:
        _show_objects(account)
        _show_images(account)
    return 0


def _show(resources: Sequence[Resource], *, as_json: bool) -> None:
    for item in resources:
        created = item.created.isoformat(timespec="seconds")
        if as_json:
            row = {"kind": item.kind.label, "name": item.name, "status": item.status}
            print(json.dumps(row | {"created": created, "command": item.verb}))
        else:
            print(f"{item.kind.label:16} {item.status or '-':12} {created}  {item.name}")


def _show_objects(account: Account) -> dict[str, int]:
    sizes = uploads.list_keys(account, PREFIX)
    if sizes:
        print(
            f"{len(sizes)} object(s), {sum(sizes.values()) / 1e6:.1f} MB, in "
            f"s3://{account.bucket}/{PREFIX}"
        )
    return sizes


def _show_images(account: Account) -> dict[str, list[str]]:
    found = remainders.list_images(account)
    for name, tags in found.items():
        print(f"{len(tags)} image(s) in the repository {name}")
    return found


@with_groups
def stop(options: InventoryOptions, name: Name) -> int:
    """Stop a job, or delete an endpoint but keep its configuration and model."""
    found = Inventory(options.connect(), options.days)
    if not _stop(found, _check(name, found.find(name))):
        terminal.say(f"{name} does not run")
    return 0


def _stop(found: Inventory, resources: Sequence[Resource]) -> bool:
    """Stop what runs, and return whether anything did."""
    running = [item for item in resources if item.is_running]
    for item in running:
        terminal.say(f"stopping the {item.kind.label} {item.name}")
        found.stop(item)
    return bool(running)


@with_groups
def delete(options: DeletionOptions, name: Name) -> int:
    """Delete a job or endpoint, what was created for it, and its results; uploaded data stays."""
    account = options.connect()
    found = Inventory(account, options.days)
    resources = _check(name, found.find_all(name))
    _show(resources, as_json=False)
    options.confirm(f"Delete this, and s3://{account.bucket}/{PREFIX}jobs/{name}/?")
    if any(item.kind is inventory.TUNING_JOB and item.is_running for item in resources):
        _stop(found, resources)
        resources = found.find_all(name)  # it may have started others meanwhile
    _delete(found, resources, logs=options.logs)
    count = inventory.delete_objects(account, f"{PREFIX}jobs/{name}/")
    terminal.say(f"{count} object(s) deleted")
    return 0


@with_groups
def clean(options: DeletionOptions) -> int:
    """List everything that --on aws created, ask, and delete it."""
    account = options.connect()
    say_where(account)
    found = Inventory(account, options.days)
    resources = found.list_resources()
    _show(resources, as_json=False)
    sizes = _show_objects(account)
    images = _show_images(account)
    if not resources and not sizes and not images:
        terminal.say("nothing is left")
        return 0
    options.confirm("Delete all of this?")
    _delete(found, resources, logs=options.logs)
    count = inventory.delete_objects(account)
    terminal.say(f"{count} object(s) deleted")
    for name, tags in images.items():
        is_gone = remainders.delete_images(account, name, tags)
        rest = "the repository, too" if is_gone else "the repository stays: it has other images"
        terminal.say(f"{len(tags)} image(s) of {name} deleted; {rest}")
    if remainders.delete_bucket(account):
        terminal.say(f"deleted the bucket {account.bucket}")
    return 0


def _check(name: str, resources: list[Resource]) -> list[Resource]:
    if not resources:
        listing = name_command("aws ls")
        raise UserError(f"nothing that --on aws made has the name {name!r}; `{listing}` lists them")
    return resources


def _delete(found: Inventory, resources: Sequence[Resource], *, logs: bool) -> None:
    for item in resources:
        is_deleted = found.delete(item)
        if is_deleted:
            terminal.say(f"deleted the {item.kind.label} {item.name}")
        else:
            terminal.say(f"the record of {item.kind.label} {item.name} stays with AWS, untagged")
        if logs:
            found.delete_log(item)
    if not logs and any(item.kind.log_group for item in resources):
        terminal.say("the logs stay; --logs deletes them, too")


@dataclass(frozen=True)
class RoleOptions(AccountOptions):
    """Which role, and what it may read."""

    name: str = option(ROLE_NAME, "Name of the execution role.")
    bucket: list[str] | None = option(None, "Another bucket that jobs may read; can be repeated.")
    key: list[str] | None = option(
        None, "ARN of a KMS key of data, outputs or volumes; can be repeated."
    )
    vpc: bool = flag("Let jobs run in a VPC.", "--vpc")
    create: bool = flag("Create the role, or update the one that this command created.", "--create")


@with_groups
def role(
    options: RoleOptions,
    command: Annotated[
        str,
        typer.Argument(
            help=f"Print only the policy for this command: {', '.join(policies.COMMANDS)}."
        ),
    ] = "",
) -> int:
    """Print the policies that jobs and each command need, with the fewest permissions."""
    if command and command not in policies.COMMANDS:
        raise UserError(f"no command {command!r}; choose one of {', '.join(policies.COMMANDS)}")
    account = options.connect()
    arn = account.name_role(options.name)
    grants = Grants(options.bucket or (), options.key or (), options.vpc)
    if command:
        print(json.dumps(policies.make_command_policy(account, command, arn, grants), indent=2))
        return 0
    document = {
        "trust": policies.make_trust_policy(account),
        "role": policies.make_role_policy(account, grants),
        "commands": {
            name: policies.make_command_policy(account, name, arn, grants)
            for name in policies.COMMANDS
        },
    }
    if not options.create:
        print(json.dumps(document, indent=2))
        return 0
    print(json.dumps({name: document[name] for name in ("trust", "role")}, indent=2))
    options.confirm(f"Make the role {options.name} with these policies?")
    is_new = roles.create(account, options.name, grants)
    terminal.say(f"{'made' if is_new else 'updated'} {arn}")
    return 0


@dataclass(frozen=True)
class CheckOptions(AccountOptions):
    """What is to run."""

    role: str | None = option(None, f"Name or ARN of the role; by default {ROLE_NAME}.")
    image: str | None = option(None, "Local image, or the URI of one in ECR.")
    instance_type: str = option("ml.m5.large", "Instance type of the job or endpoint.")
    inference_ami: str | None = option(
        None, "InferenceAmiVersion of an endpoint: decides the GPU driver."
    )
    instance_count: int = option(
        1, "How many instances run at once; of `tune`, --parallel times --instance-count."
    )


@with_groups
def check(options: CheckOptions) -> int:
    """Check credentials, role, bucket, quotas, image and GPU driver; start nothing."""
    account = options.connect()
    plan = checks.Plan(
        account.name_role(options.role),
        options.instance_type,
        options.image,
        options.inference_ami,
        options.instance_count,
    )
    faults = 0
    for finding in checks.run(account, plan):
        print(f"{finding.verdict:8} {finding.subject}: {finding.text}")
        faults += finding.verdict == "fault"
    return int(faults > 0)


for _command in (ls, stop, delete, clean, role, check):
    app.command(cls=Command)(_command)
