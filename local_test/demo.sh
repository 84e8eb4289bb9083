#!/usr/bin/env bash
# Trains on handwritten digits, evaluates the model, serves it, predicts ten test images, and stops
# the server, all on this machine.
#
#   usage: local_test/demo.sh
#
# Needs bash, Python 3.11 to 3.13 with venv, and a package index that pip can reach; no Docker and
# no AWS account. The first run installs the locked packages into .venv of this checkout. At the end
# it prints the paths of the report and of the model.
set -euo pipefail

main() {
  case ${1:-} in
    "") ;;
    -h | --help)
      sed -n '2,/^set/{/^#/s/^# \{0,1\}//p;}' "${BASH_SOURCE[0]}"
      return
      ;;
    *)
      printf 'demo: unknown argument %s; usage: local_test/demo.sh\n' "$1" >&2
      return 2
      ;;
  esac
  local root python
  root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
  python=$("$root/local_test/setup.sh" "$root/docker/requirements-local.txt")
  cd "$root"
  exec "$python" -m local_test demo
}

main "$@"
