#!/usr/bin/env bash
# Builds the CPU or GPU image, pushes it to Amazon ECR, and prints its digest URI; see --help.
# Needs Python 3.11+ (on PATH, or installed by uv), docker, podman or buildah, and the AWS CLI;
# nothing is installed.
set -euo pipefail

main() {
  local root candidate uv
  root=${BASH_SOURCE[0]%/*}
  [[ -d $root ]] || root=. # `bash build_and_push.sh`
  root=$(cd "$root" && pwd)
  uv=$(uv python find --system --no-project --no-python-downloads '>=3.11' 2>/dev/null) || true
  for candidate in python3 python3.13 python3.12 python3.11 python "$uv"; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      exec "$candidate" "$root/docker/build_and_push.py" "$@"
    fi
  done
  printf 'build_and_push: Python 3.11 or newer is needed; found %s\n' \
    "$(python3 --version 2>/dev/null || echo none)" >&2
  return 1
}

main "$@"
