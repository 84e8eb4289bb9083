"""Writes what an image is made of: a CycloneDX bill of materials and a list of licenses.

    python bill_of_materials.py DPKG_STATUS DIRECTORY

Covers the Python packages of the interpreter that runs it, and the distribution's packages that
`DPKG_STATUS` lists. Writes `sbom.cdx.json` and `licenses.csv`; equal packages make equal files. A
license is what the package declares, else `unknown`.
"""
# Rules of this file: standard library only.

from __future__ import annotations

import argparse
import csv
import importlib.metadata
import json
import platform
import re
import sys
from collections.abc import Iterator, Sequence
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


def main(arguments: Sequence[str]) -> None:
    """Write both files, as the command line says; a wrong one ends the program with what is right.

    Raises: OSError if a file cannot be read or written.
    """
    parser = argparse.ArgumentParser(
        prog="bill_of_materials.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("status", metavar="DPKG_STATUS", type=Path, help="dpkg's status file")
    parser.add_argument("directory", metavar="DIRECTORY", type=Path, help="where both files go")
    options = parser.parse_args(arguments)
    directory: Path = options.directory
    if not options.status.is_file():
        parser.error(f"DPKG_STATUS {options.status}: no such file")
    if not directory.is_dir():
        parser.error(f"DIRECTORY {directory}: no such directory")
    packages = sorted({interpreter(), *python_packages(), *distribution_packages(options.status)})
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"type": "container", "name": "byo-container-toolkit"}},
        "components": [describe(package) for package in packages],
    }
    (directory / "sbom.cdx.json").write_text(json.dumps(document, indent=1) + "\n", "utf-8")
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
    """Return the Python that runs this; the official image's own is unknown to dpkg."""
    return Package("generic", "python", platform.python_version(), "PSF-2.0")


def python_packages() -> Iterator[Package]:
    """Yield the distributions that this interpreter finds."""
    for distribution in importlib.metadata.distributions():
        fields = distribution.metadata.json
        name = re.sub(r"[-_.]+", "-", str(fields["name"])).lower()
        classified = [
            line.rpartition(" :: ")[2]
            for line in fields.get("classifier", [])
            if "License ::" in line
        ]
        declared = str(fields.get("license", "")).strip()
        if "\n" in declared or len(declared) > 100:  # the license's text
            declared = ""
        expression = fields.get("license_expression") or " AND ".join(classified) or declared
        declared = str(expression or license_title(distribution))
        yield Package("pypi", name, distribution.version, declared)


def license_title(distribution: importlib.metadata.Distribution) -> str:
    """Return the first line that names a license in a package's license file."""
    for file in distribution.files or ():
        if "licen" in file.name.lower() and file.suffix in ("", ".txt", ".md"):
            try:
                text = Path(str(file.locate())).read_text(encoding="utf-8", errors="replace")
            except OSError:  # a list of files may name one that is not there
                continue
            lines = map(str.strip, text.splitlines())
            return next((line for line in lines if "licen" in line.lower()), "unknown")
    return "unknown"


def distribution_packages(status: Path) -> Iterator[Package]:
    """Yield the installed packages of a dpkg status file."""
    for paragraph in status.read_text(encoding="utf-8").split("\n\n"):
        fields = dict(re.findall(r"^([\w-]+): (.*)$", paragraph, re.MULTILINE))
        if fields.get("Status") == "install ok installed":
            name = fields["Package"]
            yield Package("deb", name, fields["Version"], copyright_license(name))


def copyright_license(name: str, documents: Path = Path("/usr/share/doc")) -> str:
    """Return the short names of the licenses in a package's copyright file."""
    try:
        text = (documents / name / "copyright").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "unknown"
    names = sorted(set(re.findall(r"^License: *(\S.*?) *$", text, re.MULTILINE)))
    return " AND ".join(names) or f"see {documents}/{name}/copyright"


def distribution_id(release: Path = Path("/etc/os-release")) -> str:
    """Return the distribution's short name, such as `debian`."""
    text = release.read_text(encoding="utf-8") if release.exists() else ""
    found = re.search(r'^ID="?([\w.-]+)', text, re.MULTILINE)
    return found[1] if found else "linux"


if __name__ == "__main__":
    main(sys.argv[1:])
