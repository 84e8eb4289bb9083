#!/usr/bin/env bash
# Builds the CPU or GPU image, pushes it to Amazon ECR, and prints its digest URI; see --help.
# Needs Python 3.11+, docker, podman or buildah, and the AWS CLI; nothing is installed.
set -euo pipefail

main() {
  local root candidate
  root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
  for candidate in python3 python3.13 python3.12 python3.11 python; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      exec "$candidate" "$root/docker/build_and_push.py" "$@"
    fi
  done
  printf 'build_and_push: Python 3.11 or newer is needed; found %s\n' \
    "$(python3 --version 2>/dev/null || echo none)" >&2
  return 1
}

main "$@"
