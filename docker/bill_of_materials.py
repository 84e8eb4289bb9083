"""Writes what an image is made of: a CycloneDX bill of materials and a list of licenses.

    python bill_of_materials.py DPKG_STATUS DIRECTORY

Covers the Python packages of the interpreter that runs it, and the distribution's packages that
`DPKG_STATUS` lists. Leaves `sbom.cdx.json` and `licenses.csv` in the directory; equal packages give
equal files.

Rules of this file: standard library only; a license is what the package itself declares, and
`unknown` if it is silent.
"""

from __future__ import annotations

import csv
import importlib.metadata
import json
import platform
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote


class Package(NamedTuple):
    """One installed package; `kind` is `pypi`, `deb` or `generic`, as package URLs call it."""

    kind: str
    name: str
    version: str
    license: str

    @property
    def url(self) -> str:
        """The package URL (purl)."""
        namespace = f"deb/{distribution_id()}" if self.kind == "deb" else self.kind
        return f"pkg:{namespace}/{quote(self.name)}@{quote(self.version)}"


def main(status: Path, directory: Path) -> None:
    """Write both files."""
    packages = sorted({interpreter(), *python_packages(), *distribution_packages(status)})
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"type": "container", "name": "byo-container-toolkit"}},
        "components": [describe(package) for package in packages],
    }
    (directory / "sbom.cdx.json").write_text(
        json.dumps(document, indent=1) + "\n", encoding="utf-8"
    )
    with (directory / "licenses.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([Package._fields, *packages])


def describe(package: Package) -> dict[str, Any]:
    """Describe a package as a CycloneDX component."""
    component = {
        "type": "library",
        "bom-ref": package.url,
        "name": package.name,
        "version": package.version,
    }
    return component | {"purl": package.url, "licenses": [{"license": {"name": package.license}}]}


def interpreter() -> Package:
    """Give the Python that runs this; the official image builds its own, which dpkg does not know."""
    return Package("generic", "python", platform.python_version(), "PSF-2.0")


def python_packages() -> Iterator[Package]:
    """Give the distributions that this interpreter finds."""
    for distribution in importlib.metadata.distributions():
        fields = distribution.metadata.json
        name = re.sub(r"[-_.]+", "-", str(fields["name"])).lower()
        classified = [
            line.rpartition(" :: ")[2]
            for line in fields.get("classifier", [])
            if "License ::" in line
        ]
        declared = str(fields.get("license", "")).strip()
        if "\n" in declared or len(declared) > 100:  # the license's whole text
            declared = ""
        expression = fields.get("license_expression") or " AND ".join(classified) or declared
        yield Package(
            "pypi", name, distribution.version, str(expression or license_title(distribution))
        )


def license_title(distribution: importlib.metadata.Distribution) -> str:
    """Give the first line that names a license in the license file that a package carries."""
    for file in distribution.files or ():
        if "licen" in file.name.lower() and file.suffix in ("", ".txt", ".md"):
            return next(
                (line.strip() for line in file.read_text().splitlines() if "licen" in line.lower()),
                "unknown",
            )
    return "unknown"


def distribution_packages(status: Path) -> Iterator[Package]:
    """Give the installed packages of a dpkg status file."""
    for paragraph in status.read_text(encoding="utf-8").split("\n\n"):
        fields = dict(re.findall(r"^([\w-]+): (.*)$", paragraph, re.MULTILINE))
        if fields.get("Status") == "install ok installed":
            yield Package(
                "deb", fields["Package"], fields["Version"], copyright_license(fields["Package"])
            )


def copyright_license(name: str, documents: Path = Path("/usr/share/doc")) -> str:
    """Give the short names of the licenses in a package's machine-readable copyright file."""
    try:
        text = (documents / name / "copyright").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "unknown"
    names = sorted(set(re.findall(r"^License: *(\S.*?) *$", text, re.MULTILINE)))
    return " AND ".join(names) or f"see {documents}/{name}/copyright"


def distribution_id(release: Path = Path("/etc/os-release")) -> str:
    """Give the distribution's own short name, such as `debian`."""
    found = (
        re.search(r'^ID="?([\w.-]+)', release.read_text(encoding="utf-8"), re.MULTILINE)
        if release.exists()
        else None
    )
    return found[1] if found else "linux"


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
