#!/usr/bin/env bash
# Starts a container engine on a Debian or Ubuntu machine without a service manager, such as a CI
# runner.
#
#   usage: docker/start_engine.sh
#
# Installs Docker's engine if it is missing, starts it if none answers, and prints the process ID of
# the engine that it started, or nothing; the caller stops it. Needs root. Logs go to stderr.
set -euo pipefail

fail() {
  printf 'start_engine: %s\n' "$1" >&2
  exit 1
}

main() {
  case ${1:-} in
    "") ;;
    -h | --help) sed -n '2,/^set /{s/^# \{0,1\}//;/^set /d;p;}' "${BASH_SOURCE[0]}"; return ;;
    *) fail "unknown argument $1; see --help" ;;
  esac
  if docker info >/dev/null 2>&1; then
    return
  fi
  [[ $EUID -eq 0 ]] ||
    fail "starting an engine needs root; start Docker as your system does, or run this with sudo."
  if ! command -v dockerd >/dev/null; then
    command -v apt-get >/dev/null || fail "there is neither dockerd nor apt-get to install it."
    apt-get update >&2
    local package
    local -a packages=(docker.io iptables)
    for package in docker-cli docker-buildx; do # packages of their own in newer releases
      ! apt-cache show "$package" >/dev/null 2>&1 || packages+=("$package")
    done
    apt-get install --yes --no-install-recommends "${packages[@]}" >&2 ||
      fail "apt-get could not install ${packages[*]}; see its last lines above."
  fi
  local log
  log=$(mktemp -t dockerd.XXXXXX.log)
  setsid dockerd >"$log" 2>&1 </dev/null &
  local pid=$!
  for _ in {1..60}; do
    if docker info >/dev/null 2>&1; then
      printf '%s\n' "$pid"
      return
    fi
    kill -0 "$pid" 2>/dev/null || break
    sleep 1
  done
  kill "$pid" 2>/dev/null || true
  fail "dockerd does not answer; the end of $log: $(tail -n 5 "$log")"
}

main "$@"
