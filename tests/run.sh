#!/usr/bin/env bash
# Runs every check of this project: scripts/setup, then scripts/image beside scripts/lint and
# scripts/test, since much of each is waiting.
#
#   usage: tests/run.sh [--slow] [--require-engine] [PYTEST ARGUMENT ...]
#
#   --slow            include the tests that take minutes
#   --require-engine  fail if the image tests cannot run; without it, only print a warning
#
# Needs bash, Python 3.11 to 3.13 with venv, and a package index; the image tests need a container
# engine, too. With a PYTEST ARGUMENT, such as tests/unit or -k NAME, only those tests run.
set -euo pipefail

step() { printf '\n== %s\n' "$*" >&2; }

main() {
  local require_engine='' failed=0 engine_status=0
  local -a arguments=()
  export MARKERS='not slow'
  while [[ $# -gt 0 ]]; do
    case $1 in
      --slow) MARKERS='' ;;
      --require-engine) require_engine=yes ;;
      -h | --help) sed -n '2,/^set /{s/^# \{0,1\}//;/^set /d;p;}' "${BASH_SOURCE[0]}"; return ;;
      *) arguments+=("$1") ;;
    esac
    shift
  done
  cd "$(dirname "${BASH_SOURCE[0]}")/.."
  step setup
  scripts/setup >/dev/null
  if [[ ${#arguments[@]} -gt 0 ]]; then
    local verb=test
    [[ ${arguments[*]} != *tests/image* ]] || verb=image
    exec "scripts/$verb" "${arguments[@]}"
  fi
  step 'image, beside lint and test (build/image.log)'
  mkdir -p build
  set -m # in a process group of its own
  scripts/image >build/image.log 2>&1 &
  local image=$!
  set +m
  # shellcheck disable=SC2064  # the process ID is wanted now
  trap "kill -INT -- -$image 2>/dev/null && wait $image" EXIT
  scripts/lint
  step test
  scripts/test || failed=$?
  step image
  wait "$image" || engine_status=$?
  trap - EXIT
  cat build/image.log
  [[ $engine_status -eq 0 || ($engine_status -eq 69 && -z $require_engine) ]] || failed=1
  return "$failed"
}

main "$@"
