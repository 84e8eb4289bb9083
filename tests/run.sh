#!/usr/bin/env bash
# Runs all checks of this project: formatters, linters, types, import rules, then every test ring.
#
#   usage: tests/run.sh [--slow] [--require-engine] [PYTEST ARGUMENT ...]
#
#   --slow            also the tests that take minutes
#   --require-engine  fail if the image ring cannot run, instead of saying so
#
# Needs bash, Python 3.11 to 3.13 with venv, and a package index. The image ring needs a container engine besides; it
# builds Dockerfile.cpu from BASE_IMAGE, if that is set (docker/make_stand_in_base.sh makes one without a registry).
# With a PYTEST ARGUMENT, such as tests/unit or -k NAME, only those tests run, without the other checks; tests/image is
# refused where there is no engine.
set -euo pipefail

step() { printf '\n== %s\n' "$*" >&2; }

# The first client on PATH whose engine answers and that builds with BuildKit: clients before 23 do it themselves,
# later ones with their buildx plug-in.
find_engine_client() {
  local client
  while read -r client; do
    "$client" info >/dev/null 2>&1 || continue
    if "$client" buildx version >/dev/null 2>&1 || [[ $("$client" --version) =~ \ (1[89]|20)\. ]]; then
      printf '%s\n' "$client"
      return
    fi
  done < <(type -ap docker)
  return 1
}

say_no_engine() {
  printf '\n*** THE IMAGE RING DOES NOT RUN: no docker client on PATH reaches an engine and builds with BuildKit ***\n\n' >&2
}

run_gates() {
  local -a scripts
  mapfile -t scripts < <(find . .ci -path ./.venv -prune -o \( -name '*.sh' -o -path '.ci/run' \) -type f -print | sort -u)
  step ruff
  ruff check .
  ruff format --check .
  step mypy
  mypy
  step import-linter
  lint-imports
  step shellcheck
  shellcheck "${scripts[@]}"
  step hadolint
  hadolint Dockerfile.*
}

main() {
  local root python bin slow='not slow' require_engine=''
  local -a arguments=()
  while [[ $# -gt 0 ]]; do
    case $1 in
      --slow) slow='' ;;
      --require-engine) require_engine=yes ;;
      -h | --help) sed -n '2,/^set /{s/^# \{0,1\}//;/^set /d;p}' "${BASH_SOURCE[0]}"; return ;;
      *) arguments+=("$1") ;;
    esac
    shift
  done
  cd "$(dirname "${BASH_SOURCE[0]}")/.."
  root=$PWD
  step setting up
  python=$(local_test/setup.sh tests/requirements.txt)
  bin=$(dirname "$python")
  export PATH=$bin:$PATH
  local_test/setup.sh docker/requirements-scripts.txt >/dev/null ||
    printf '\n*** SOME TESTS OF USERS SCRIPTS ARE SKIPPED: their toolkits need a C compiler and headers of Python ***\n\n' >&2
  python -m container.serving.bodies.rows >&2 || true  # the decoder in C; without a compiler, its tests take the one in Python
  local client failed=0 image_path=''
  ! client=$(find_engine_client) || image_path=$bin:$(dirname "$client"):$PATH
  if [[ ${#arguments[@]} -gt 0 ]]; then
    if [[ ${arguments[*]} == *tests/image* && -z $image_path ]]; then
      say_no_engine
      return 1
    fi
    PATH=${image_path:-$PATH} exec pytest --rootdir "$root" -m "$slow" "${arguments[@]}"
  fi

  [[ -n $image_path ]] || say_no_engine
  run_gates
  step pytest
  # Most tests wait for processes or the engine, so two workers take half the time; a file's tests share its fixtures.
  pytest --numprocesses 2 --dist loadfile -m "$slow" tests --ignore tests/image || failed=$?
  if [[ -n $image_path ]]; then
    step "pytest: image ring"
    PATH=$image_path pytest --numprocesses 2 --dist loadfile -m "$slow" tests/image || failed=$?
  else
    say_no_engine
    [[ -z $require_engine ]] || failed=1
  fi
  return "$failed"
}

main "$@"
