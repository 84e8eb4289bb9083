"""Installs the packages that user code lists, in an environment of the job."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from container.training.user_script import diagnosis
from container.training.user_script.diagnosis import Failure
from container.training.user_script.find import Kind
from container.user_packages import job_environment, required_packages
from container.user_packages.job_environment import JobEnvironment
from container.user_packages.lists import requirement_files
from container.user_packages.masking import find_secrets, mask_command
from container.user_packages.supervision import Supervisor


@dataclass(frozen=True)
class Installation:
    """What to install for a job, and by what."""

    code: Path
    kind: Kind
    scratch: Path
    """An existing directory of the job, in which the environment is made."""
    package_index: str | None = None
    """URL of a private index, with its login."""

    def run(
        self, variables: Mapping[str, str], supervisor: Supervisor
    ) -> JobEnvironment | Failure | None:
        """Install; return the environment, or None if there is nothing to install.

        Raises: UserError if a file that lists packages cannot be used; OSError.
        """
        is_package = self.kind == "package"
        if self.kind == "command":  # as the toolkit does
            for name in requirement_files.list_files(self.code):
                print(f"{name} is not installed for a program that is not Python", flush=True)
            return None
        if not required_packages.is_needed(self.code, is_package=is_package):
            for sentence in requirement_files.list_foreign(self.code):
                print(sentence, flush=True)
            return None
        made = job_environment.make(self.scratch / "packages")
        command = required_packages.plan_installation(
            self.code, variables, made, is_package=is_package
        )
        shown = mask_command(command, find_secrets(variables))
        print(f"installing: {shown}", flush=True)
        environ = made.add_to(variables)
        if self.package_index:
            environ["PIP_INDEX_URL"] = self.package_index
        outcome = supervisor.run(command, self.code, environ)
        if not outcome.exit_code:
            return made
        output = outcome.error_tail.decode(errors="replace")
        return diagnosis.diagnose(
            outcome,
            shown,
            "InstallModuleError" if is_package else "InstallRequirementsError",
            required_packages.explain_failure(self.code, variables, output),
        )
