"""Builds the CPU or GPU image, pushes it to Amazon ECR, and prints the digest URI, alone, on standard output.

    build_and_push.sh IMAGE [cpu|gpu] [options]

The repository is created where it is missing, with scan on push and tags that never move. A tag is
the version, the kind of image and the git revision; what the registry has already is not built or
sent again.

BASE_IMAGE names another base. SSL_CERT_FILE and PIP_CONFIG_FILE, where set, reach the build as
secrets: authorities and package index of the machine, which leave no trace in the image.

Rules of this file: standard library only; the AWS CLI and the engine's client do the work; each of
their known complaints stands in one table with the words that help.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
CLIENTS: Final = ("docker", "podman", "buildah")
ATTEMPTS: Final = 4
DOCKER_MANIFEST: Final = (
    "application/vnd.docker.distribution.manifest.v2+json"  # IMG-9: hosting takes no other
)
MANIFEST_TYPES: Final = (
    DOCKER_MANIFEST,
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
)


@dataclass(frozen=True)
class Complaint:
    """A known failure of a program that we run: how its output tells it, and what helps."""

    pattern: str
    help: str
    transient: bool = False


COMPLAINTS: Final = (
    Complaint(
        r"Unable to locate credentials|Partial credentials|NoCredential|The config profile .* could not be found",
        "there are no AWS credentials: run `aws configure` or `aws sso login`, or name a profile with --profile",
    ),
    Complaint(
        r"ExpiredToken|InvalidClientTokenId|UnrecognizedClient|SignatureDoesNotMatch|token .*(?:expired|invalid)",
        "AWS does not accept these credentials: they are expired, or of another partition or account; log in again",
    ),
    Complaint(
        r"not authorized to perform:? (?P<found>\S+)|AccessDenied|403 Forbidden|denied: (?P<text>.*)",
        "AWS forbids it: the role needs ecr:GetAuthorizationToken and, on the repository, ecr:DescribeRepositories, "
        "ecr:CreateRepository, ecr:BatchCheckLayerAvailability, ecr:BatchGetImage, ecr:InitiateLayerUpload, "
        "ecr:UploadLayerPart, ecr:CompleteLayerUpload and ecr:PutImage",
    ),
    Complaint(
        r"tag .*(?:immutable|already exists)|ImageTagAlreadyExists",
        "another image has this tag, and tags of this repository never move: commit your changes, or name a new --tag",
    ),
    Complaint(
        r"Invalid endpoint|Provided region_name|is not a valid region",
        "there is no such AWS region: `aws account list-regions` or the console lists those of your account",
    ),
    Complaint(
        r"Could not connect to the endpoint URL|Connect timeout on endpoint URL",
        "this region's ECR cannot be reached: is the --region spelled right, and does this machine reach AWS?",
        transient=True,
    ),
    Complaint(
        r"no space left on device|disk quota exceeded",
        "the disk is full: `docker system prune` frees space",
    ),
    Complaint(
        r"exec format error",
        "this machine cannot run the image's architecture: install emulation (docker run --privileged "
        "tonistiigi/binfmt), or build on a machine that is of that architecture",
    ),
    Complaint(
        r"permission denied.*(?:docker|podman)[\w.]*\.sock",
        "you may not use the engine: add yourself to its group (`docker`), or use sudo",
    ),
    Complaint(
        r"Cannot connect to the Docker daemon|Cannot connect to Podman",
        "no engine answers: start Docker, or docker/start_engine.sh where there is no service manager",
    ),
    Complaint(
        r"unauthorized|no basic auth|authentication required",
        "the registry does not accept the login: the role needs ecr:GetAuthorizationToken in the registry's own region",
    ),
    Complaint(
        r"requires BuildKit|BuildKit is enabled but|unknown flag: --(?:mount|secret|provenance)",
        "the Dockerfiles need BuildKit: install Docker's buildx plug-in (docker-buildx), podman or buildah",
    ),
    Complaint(
        r"manifest unknown|pull access denied|failed to resolve source metadata|no such host|i/o timeout|"
        r"TLS handshake timeout|connection (?:refused|reset)|Temporary failure|temporarily unavailable|"
        r"(?:received unexpected HTTP status|status code):? 5\d\d|EOF$|Throttling|TooManyRequests|toomanyrequests",
        "a registry cannot be reached, or does not answer well. Without one, docker/make_stand_in_base.sh makes a base "
        "image; name it in BASE_IMAGE",
        transient=True,
    ),
)


class DeliveryError(Exception):
    """A step failed for a reason that the user can mend."""


def main(arguments: Sequence[str]) -> int:
    """Build and push as the command line says; gives the exit code."""
    options = parse(arguments)
    try:
        uri = deliver(options)
    except DeliveryError as failure:
        print(f"build_and_push: {failure}", file=sys.stderr)
        return 1
    if uri:
        print(uri)
    return 0


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line; a wrong one ends the program with what is possible."""
    parser = argparse.ArgumentParser(
        prog="build_and_push.sh",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "image", metavar="IMAGE", help="name of the ECR repository, such as my-team/digits"
    )
    parser.add_argument(
        "kind",
        nargs="?",
        choices=("cpu", "gpu"),
        default="cpu",
        help="which Dockerfile (default cpu)",
    )
    parser.add_argument(
        "--target", choices=("serve",), help="build the smaller image that only serves (cpu)"
    )
    parser.add_argument("--region", help="AWS region (default: as the AWS CLI finds it)")
    parser.add_argument(
        "--account", help="account of the repository (default: the credentials' own)"
    )
    parser.add_argument("--profile", help="profile of the AWS CLI")
    parser.add_argument("--tag", help="tag (default: VERSION-KIND-REVISION)")
    parser.add_argument("--platform", choices=("linux/amd64", "linux/arm64"), default="linux/amd64",
                        help="linux/arm64 is for Graviton instances alone (default linux/amd64)")  # fmt: skip
    parser.add_argument(
        "--registry",
        help="push through this host instead of ECR's own name: a VPC endpoint, a proxy",
    )
    parser.add_argument(
        "--lifecycle-policy", type=Path, help="JSON file of a lifecycle policy for a new repository"
    )
    parser.add_argument(
        "--client", choices=CLIENTS, help="engine client (default: the first that answers)"
    )
    parser.add_argument("--no-push", action="store_true", help="only build; needs no AWS")
    parser.add_argument(
        "--dry-run", action="store_true", help="check everything, change nothing, say what would be"
    )
    options = parser.parse_intermixed_args(arguments)
    if not re.fullmatch(
        r"(?=.{2,256}$)(?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*",
        options.image,
    ):
        parser.error(
            f"IMAGE {options.image!r}: lower-case letters and digits, joined by one of . _ - / are possible"
        )
    if options.account and not re.fullmatch(r"\d{12}", options.account):
        parser.error(f"--account {options.account!r}: 12 digits are expected")
    if options.tag and not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", options.tag):
        parser.error(f"--tag {options.tag!r}: up to 128 letters, digits and _ . - are possible")
    if options.kind == "gpu" and (options.platform != "linux/amd64" or options.target):
        parser.error("the GPU image is for linux/amd64 and has no targets")
    if options.lifecycle_policy and not options.lifecycle_policy.is_file():
        parser.error(f"--lifecycle-policy {options.lifecycle_policy}: no such file")
    return options


def deliver(options: argparse.Namespace) -> str:
    """Build, and push unless told not to; gives the digest URI, the image's name, or nothing for a dry run."""
    client = find_client(options.client)
    version = re.search(
        r'__version__ = "(.+)"', (ROOT / "container/__init__.py").read_text(encoding="utf-8")
    )[1]  # type: ignore[index]
    revision = find_revision()
    tag = options.tag or "-".join(filter(None, (version, options.kind, options.target, revision)))
    build_command = compose_build(client, options, version, revision)
    if options.no_push:
        name = f"{options.image}:{tag}"
        if options.dry_run:
            say(f"would run: {shlex.join([*build_command, '--tag', name, str(ROOT)])}")
            return ""
        run([*build_command, "--tag", name, str(ROOT)], stream=True)
        return name

    aws = compose_aws(options)
    account = aws_json(aws, "sts", "get-caller-identity")["Account"]
    say(f"AWS account {account}")
    repository = find_or_create_repository(aws, options, options.account or account)
    host, _, path = repository.partition("/")
    host = options.registry or host
    name = f"{host}/{path}:{tag}"
    password = run(["aws", "ecr", "get-login-password", *aws], quiet=True).strip()
    if options.dry_run:
        say(f"would run: {shlex.join([*build_command, '--tag', name, str(ROOT)])}")
        say(f"would push {name}")
        return ""
    manifest = fetch_manifest(host, path, tag, password)
    is_named_by_content = not (options.tag or revision == "unknown" or revision.endswith("-dirty"))
    if manifest is not None and is_named_by_content:
        say(f"{name} is in the registry already")
    else:
        run([*build_command, "--tag", name, str(ROOT)], stream=True)
        # docker speaks HTTP to a registry on loopback by itself; the others are told to.
        plain = ["--tls-verify=false"] if client != "docker" and is_loopback(host) else []
        run([client, "login", *plain, "--username", "AWS", "--password-stdin", host], text=password)
        say(f"pushing {name}")
        run([client, "push", *plain, name], stream=True)
        manifest = fetch_manifest(host, path, tag, password)
    if manifest is None:
        message = f"the registry took the push and then knows no {name}"
        raise DeliveryError(message)
    media_type, digest = manifest
    if media_type != DOCKER_MANIFEST:
        message = f"{name} has the media type {media_type}; SageMaker's hosting takes {DOCKER_MANIFEST} alone"
        raise DeliveryError(message)
    return f"{host}/{path}@{digest}"


def find_client(wanted: str | None) -> str:
    """Give the first engine client that is installed and whose engine answers."""
    found = [client for client in ([wanted] if wanted else CLIENTS) if shutil.which(client)]
    if not found:
        message = f"no container engine: {wanted or 'docker, podman or buildah'} is not on PATH"
        raise DeliveryError(message)
    last = None
    for client in found:
        try:
            run([client, "info"], quiet=True)
        except DeliveryError as failure:
            last = failure
        else:
            return client
    raise last or DeliveryError("no container engine answers")


def find_revision() -> str:
    """Give the git revision of the checkout, marked where files differ from it; `unknown` outside of git."""
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        command = [
            "git",
            "-C",
            str(ROOT),
            "describe",
            "--always",
            "--dirty",
            "--abbrev=12",
            "--exclude=*",
        ]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    return "unknown"


def compose_build(
    client: str, options: argparse.Namespace, version: str, revision: str
) -> list[str]:
    """Compose the build command, up to tag and directory, so that it gives docker media types, no attestations."""
    if client != "docker":
        command = [client, "build", "--format", "docker", "--layers"]
    elif succeeds(["docker", "buildx", "version"]):
        command = [
            "docker",
            "buildx",
            "build",
            "--progress=plain",
            "--load",
            "--provenance=false",
            "--sbom=false",
        ]
    else:
        os.environ["DOCKER_BUILDKIT"] = "1"  # clients before 23 hold BuildKit's client themselves
        command = ["docker", "build", "--progress=plain"]
    command += ["--file", str(ROOT / f"Dockerfile.{options.kind}"), "--platform", options.platform]
    command += ["--build-arg", f"VERSION={version}", "--build-arg", f"REVISION={revision}"]
    if options.target:
        command += ["--target", options.target]
    if os.environ.get("BASE_IMAGE"):
        command += ["--build-arg", f"BASE_IMAGE={os.environ['BASE_IMAGE']}"]
    for secret, variable in (("ca", "SSL_CERT_FILE"), ("pip", "PIP_CONFIG_FILE")):
        if os.environ.get(variable) and Path(os.environ[variable]).is_file():
            command += ["--secret", f"id={secret},src={os.environ[variable]}"]
    machine = {
        "x86_64": "linux/amd64",
        "AMD64": "linux/amd64",
        "arm64": "linux/arm64",
        "aarch64": "linux/arm64",
    }
    if machine.get(platform.machine(), options.platform) != options.platform:
        say(
            f"this machine is {platform.machine()}: {options.platform} is emulated, which takes several times as long"
        )
    return command


def compose_aws(options: argparse.Namespace) -> list[str]:
    """Compose the options of every AWS command."""
    if not shutil.which("aws"):
        message = "the AWS CLI is not on PATH: install it (the package `awscli`), or build alone with --no-push"
        raise DeliveryError(message)
    profile = ["--profile", options.profile] if options.profile else []
    region = options.region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if not region:
        with contextlib.suppress(DeliveryError):
            region = run(["aws", *profile, "configure", "get", "region"], quiet=True).strip()
    if not region:
        message = "no AWS region: name one with --region, or set AWS_REGION"
        raise DeliveryError(message)
    return [*profile, "--region", region, "--output", "json", "--cli-connect-timeout", "10"]


def aws_json(aws: Sequence[str], *arguments: str) -> Any:
    """Run one AWS command and give its JSON answer."""
    return json.loads(run(["aws", *arguments, *aws], quiet=True) or "{}")


def find_or_create_repository(aws: Sequence[str], options: argparse.Namespace, account: str) -> str:
    """Give the repository's URI; create the repository if it is missing.

    The service's answer knows its partition's own domain; a dry run of a missing repository tells
    it by the region.
    """
    name = ["--repository-name", options.image]
    registry = ["--registry-id", options.account] if options.account else []
    try:
        found = aws_json(
            aws, "ecr", "describe-repositories", "--repository-names", options.image, *registry
        )
        return str(found["repositories"][0]["repositoryUri"])
    except DeliveryError as failure:
        if "RepositoryNotFoundException" not in str(failure):
            raise
    if options.dry_run:
        say(f"would create the repository {options.image}")
        region = aws[aws.index("--region") + 1]
        domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
        return f"{account}.dkr.ecr.{region}.{domain}/{options.image}"
    say(f"creating the repository {options.image}")
    settings = [
        "--image-scanning-configuration",
        "scanOnPush=true",
        "--image-tag-mutability",
        "IMMUTABLE",
    ]
    made = aws_json(aws, "ecr", "create-repository", *name, *registry, *settings)
    if options.lifecycle_policy:
        policy = f"file://{options.lifecycle_policy}"
        aws_json(
            aws, "ecr", "put-lifecycle-policy", *name, *registry, "--lifecycle-policy-text", policy
        )
    return str(made["repository"]["repositoryUri"])


def fetch_manifest(host: str, path: str, tag: str, password: str) -> tuple[str, str] | None:
    """Ask the registry for media type and digest of a tag; None if there is no such tag."""
    scheme = "http" if is_loopback(host) else "https"
    credentials = base64.b64encode(f"AWS:{password}".encode()).decode()
    headers = {"Authorization": f"Basic {credentials}", "Accept": ", ".join(MANIFEST_TYPES)}
    message = urllib.request.Request(  # noqa: S310
        f"{scheme}://{host}/v2/{path}/manifests/{tag}", headers=headers, method="HEAD"
    )

    def ask() -> tuple[str, str] | None:
        try:
            with urllib.request.urlopen(message, timeout=30) as answer:  # noqa: S310 - http on loopback alone
                return answer.headers["Content-Type"], answer.headers["Docker-Content-Digest"]
        except urllib.error.HTTPError as error:
            with error:
                if error.code == 404:
                    return None
                raise DeliveryError(
                    explain(f"{host} answers {error.code} {error.reason}")
                ) from error
        except OSError as error:
            text = f"{host} cannot be reached: {error}"
            raise DeliveryError(text) from error

    return ask()


def is_loopback(host: str) -> bool:
    """Tell whether a registry is on this machine, where HTTP will do."""
    return host.partition(":")[0] in ("localhost", "127.0.0.1")


def run(
    command: Sequence[str], *, text: str | None = None, quiet: bool = False, stream: bool = False
) -> str:
    """Run a program to its end and give its output; a transient failure is tried again, later each time.

    `text` goes to its standard input; with `stream` its output is shown as it comes.

    Raises: DeliveryError with the words that help, where the complaint is known.
    """
    if not quiet:
        say(shlex.join(command))
    for attempt in range(1, ATTEMPTS + 1):
        code, output = run_once(command, text, stream=stream)
        if code == 0:
            return output
        complaint = find_complaint(output)
        if complaint is None or not complaint.transient or attempt == ATTEMPTS:
            break
        say(f"{last_line(output)}; trying again in {2**attempt} s")
        time.sleep(2**attempt)
    raise DeliveryError(explain(output, f"`{' '.join(command[:3])}` ended with {code}"))


def run_once(command: Sequence[str], text: str | None, *, stream: bool) -> tuple[int, str]:
    """Run a program once; gives its exit code and output, in which a failure's two streams are joined."""
    if not stream:
        try:
            done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
        except OSError as error:  # such as a script whose interpreter is gone
            message = (
                f"{shutil.which(command[0])} cannot be started: {error.strerror}; install it anew"
            )
            raise DeliveryError(message) from error
        return done.returncode, done.stdout if done.returncode == 0 else done.stdout + done.stderr
    lines: list[str] = []
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        for line in process.stdout or ():
            sys.stderr.write(line)
            lines = [*lines[-99:], line]
    return process.returncode, "".join(lines)


def find_complaint(output: str) -> Complaint | None:
    """Find the known complaint that stands in a program's output."""
    for complaint in COMPLAINTS:
        if re.search(complaint.pattern, output, re.IGNORECASE | re.MULTILINE):
            return complaint
    return None


def explain(output: str, summary: str = "") -> str:
    """Put the words that help before what the program itself said last."""
    complaint = find_complaint(output)
    parts = (complaint.help if complaint else "", summary, last_line(output))
    return "\n  ".join(part for part in parts if part)


def last_line(output: str) -> str:
    """Give the last line that says something."""
    return next((line.strip() for line in reversed(output.splitlines()) if line.strip()), "")


def succeeds(command: Sequence[str]) -> bool:
    """Tell whether a program runs and ends with 0."""
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def say(text: str) -> None:
    """Tell the user; standard output is for the result alone."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
