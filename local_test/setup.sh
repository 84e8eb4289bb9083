#!/usr/bin/env bash
# Creates the virtual environment of this checkout and prints the path of its Python.
#
#   usage: local_test/setup.sh REQUIREMENTS.txt
#
# Needs Python 3.11 to 3.13, on PATH or installed by uv, with the venv module, and a package index
# that pip can reach. Every package is checked against its hash in REQUIREMENTS.txt. An environment
# that already contains the packages is not changed. docker/requirements-scripts.txt, for user
# scripts and handlers, also needs a C compiler and Python's headers. Where there is a compiler, the
# server's C decoder of rows is compiled, too. PYTHON names the interpreter to use, VENV another
# directory than .venv. The path goes to standard output, everything else to standard error.
set -euo pipefail

fail() {
  printf 'setup: %s\n' "$1" >&2
  exit 1
}

# The caller ends, too, since this process ends by the signal.
interrupt() {
  printf '\nsetup: interrupted; run the same command again to continue\n' >&2
  trap - INT
  kill -INT $$
}

find_python() {
  local candidate
  for candidate in ${PYTHON:+"$PYTHON"} python3.13 python3.12 python3.11 python3 python; do
    if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  # Those that uv has installed are not on PATH.
  uv python find --system --no-project --no-python-downloads '>=3.11,<3.14' 2>/dev/null ||
    fail "Python 3.11, 3.12 or 3.13 is needed; found $(python3 --version 2>/dev/null || echo none). Install one, or name it in PYTHON."
}

# Where nobody watches, a line for each large package when it begins to arrive, with its size, and for
# every ten packages. On a terminal the installers show the bytes themselves.
show_progress() {
  local line count=0
  while IFS= read -r line; do
    case $line in
      *Downloading*\(*[KMG]*B\)*) is_large "${line##*\(}" || continue ;;
      Collecting*)
        count=$((count + 1))
        [[ $((count % 10)) -eq 0 ]] || continue
        line="fetched $count packages"
        ;;
      *) continue ;;
    esac
    line=${line#"${line%%[![:space:]]*}"}
    printf 'setup: %s\n' "${line/#Downloading/downloading}" >&2
  done
}

# Of a size such as `250.1 MB)` or `1.2GiB)`: at least ten megabytes.
is_large() {
  local size=${1%)}
  case $size in
    *G*) return 0 ;;
    *M*) [[ ${size%%[!0-9]*} -ge 10 ]] ;;
    *) return 1 ;;
  esac
}

# uv installs several times as fast as pip, but does not read pip's settings.
export_pip_settings() {
  local setting value
  while IFS='=' read -r setting value; do
    value=${value#\'} value=${value%\'}
    case ${setting##*.} in
      index-url) : "${UV_DEFAULT_INDEX:=$value}" ;;
      extra-index-url) : "${UV_INDEX:=${value//\\n/ }}" ;;
      find-links) : "${UV_FIND_LINKS:=${value//\\n/ }}" ;;
      cert) : "${SSL_CERT_FILE:=$value}" ;;
    esac
  done < <("$1" -m pip config list 2>/dev/null)
  export ${UV_DEFAULT_INDEX:+UV_DEFAULT_INDEX} ${UV_INDEX:+UV_INDEX} ${UV_FIND_LINKS:+UV_FIND_LINKS} \
    ${SSL_CERT_FILE:+SSL_CERT_FILE}
}

# Runs an installer: on a terminal as it is, elsewhere with its output in the log and the progress in
# lines.
watch() {
  if [[ -t 2 ]]; then
    "$@" >&2
  else
    "$@" 2>&1 | tee -a "$venv/install.log" | show_progress
  fi
}

# Every package is checked by its hash, so it does not matter which index has it.
install_by_uv() {
  local uv=$venv/bin/uv
  if [[ ! -x $uv ]]; then
    uv=$(type -P uv) || {
      uv=$venv/bin/uv
      watch "$python" -m pip install --no-compile --require-hashes \
        --requirement "$root/docker/requirements-uv.txt" || return
    }
  fi
  (
    export_pip_settings "$python"
    watch "$uv" pip install --python "$python" --require-hashes --index-strategy unsafe-best-match \
      --no-config "${options[@]}" --requirement "$requirements"
  )
}

install_by_pip() {
  watch "$python" -m pip install --no-compile --use-pep517 --require-hashes "${options[@]}" \
    --requirement "$requirements"
}

# What is built from source needs a compiler; the index is not to blame for a missing one.
guess_cause() {
  if [[ $requirements == *requirements-scripts.txt ]] && ! type -P cc gcc clang >/dev/null; then
    printf 'it needs a C compiler, which is missing'
  else
    printf 'is a package index reachable?'
  fi
}

# The server decodes rows of text by C, or by Python at about half the rate.
compile_decoder() {
  local bodies=container/serving/bodies
  [[ ! $bodies/librows.so -nt $bodies/rows.c && -e $bodies/rows.c ]] || return 0
  "$1" -m container.serving.bodies.rows >"$venv/compile.log" 2>&1 ||
    printf 'setup: %s; a server as a process answers CSV and JSON at about half the rate\n' \
      "$(tail -n 1 "$venv/compile.log")" >&2
}

main() {
  case ${1:-} in
    -h | --help) sed -n '2,/^set /{s/^# \{0,1\}//;/^set /d;p;}' "${BASH_SOURCE[0]}"; return ;;
  esac
  [[ $# -eq 1 && -f $1 ]] || fail "usage: local_test/setup.sh REQUIREMENTS.txt"
  local requirements=$1 root venv python stamp said
  trap 'interrupt' INT
  root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
  venv=${VENV:-$root/.venv}
  python=$venv/bin/python
  # The lock names every package. When pip before 23.1 resolves dependencies itself, it refuses `name[extra]` as
  # unlocked as soon as the index has a newer `name`.
  local -a options=(--no-deps)
  # The toolkits are built from source, with what is installed already.
  [[ $requirements != *requirements-scripts.txt ]] || options+=(--no-build-isolation)
  stamp=$venv/installed-$(basename "$(dirname "$(realpath "$requirements")")")-$(basename "$requirements")

  if ! "$python" -c '' 2>/dev/null; then
    local base
    base=$(find_python)
    "$base" -c 'import ensurepip, venv' 2>/dev/null ||
      fail "$base has no venv module; install it (on Debian and Ubuntu: apt-get install python3-venv)."
    printf 'setup: creating %s with %s\n' "$venv" "$base" >&2
    said=$("$base" -m venv --clear "$venv" 2>&1) ||
      { printf '%s\n' "$said" >&2; fail "cannot create a virtual environment in $venv; is the disk full or read-only?"; }
  fi
  if ! cmp -s "$requirements" "$stamp"; then
    export PIP_DISABLE_PIP_VERSION_CHECK=1
    "$python" -m pip --version >/dev/null 2>&1 || "$python" -m ensurepip >&2
    printf 'setup: installing %s packages of %s (once)\n' "$(grep -c '^[a-z]' "$requirements")" "$requirements" >&2
    : >"$venv/install.log"
    install_by_uv || install_by_pip ||
      { [[ -t 2 ]] || tail -n 5 "$venv/install.log" >&2; fail "pip could not install $requirements ($(guess_cause))."; }
    cp "$requirements" "$stamp"
  fi
  [[ -n ${VENV:-} ]] || (cd "$root" && compile_decoder "$python")
  printf '%s\n' "$python"
}

main "$@"
