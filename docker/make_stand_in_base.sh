#!/usr/bin/env bash
# Makes a stand-in for the official slim Python image, for machines that reach a Debian mirror but no image registry.
#
#   usage: docker/make_stand_in_base.sh [--suite trixie] [--platform linux/arm64] [--mirror URL] [--client docker] NAME
#
# The same Debian release and Python minor version as the default of BASE_IMAGE in Dockerfile.cpu; pass NAME as that
# argument. Needs root, debootstrap, and docker (with BuildKit) or podman. Without --mirror it takes this machine's own
# Debian mirror; another --platform than this machine's needs emulation (Debian 13: qemu-user-binfmt).
# This machine's certificate authorities come along. The root file system is kept in the cache directory and used
# again; an image that has NAME already is left as it is. Talk goes to stderr.
set -euo pipefail

fail() {
  printf 'make_stand_in_base: %s\n' "$1" >&2
  exit 1
}

find_mirror() {
  { cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null || true; } |
    awk '$1 == "URIs:" || $1 == "deb" { for (i = 2; i <= NF; i++) if ($i ~ /\/debian\/?$/ && !found++) print $i }' | grep .
}

make_root() {
  local suite=$1 architecture=$2 mirror=$3 root=$4
  # The official image has no apt lists and of its documentation the licenses alone, either. `python` is what its Python is called.
  debootstrap --arch="$architecture" --variant=minbase --include=ca-certificates,python3,python3-venv,python-is-python3 \
    "$suite" "$root" "$mirror" >&2 || fail "debootstrap failed; its last lines above say why."
  rm -rf "$root"/var/{cache/apt/archives/*.deb,lib/apt/lists/*,log/*} "$root"/usr/share/{man,info,locale}/*
  find "$root/usr/share/doc" -type f ! -name copyright -delete
  if compgen -G '/usr/local/share/ca-certificates/*.crt' >/dev/null; then
    cp /usr/local/share/ca-certificates/*.crt "$root/usr/local/share/ca-certificates/"
    chroot "$root" update-ca-certificates >&2
  fi
}

main() {
  local suite=trixie platform='' mirror='' client=docker name=''
  while [[ $# -gt 0 ]]; do
    case $1 in
      --suite | --platform | --mirror | --client) [[ $# -gt 1 ]] || fail "$1 needs a value"; printf -v "${1#--}" '%s' "$2"; shift 2 ;;
      -h | --help) sed -n '2,/^set /{s/^# \{0,1\}//;/^set /d;p}' "${BASH_SOURCE[0]}"; return ;;
      -*) fail "unknown option $1; see --help" ;;
      *) name=$1; shift ;;
    esac
  done
  [[ -n $name ]] || fail "an image NAME is needed; see --help"
  [[ $EUID -eq 0 ]] || fail "debootstrap needs root; run this with sudo."
  command -v debootstrap >/dev/null || fail "debootstrap is missing (apt-get install debootstrap)."
  command -v "$client" >/dev/null || fail "$client is missing."
  if "$client" image inspect "$name" >/dev/null 2>&1; then
    printf 'make_stand_in_base: %s stands already\n' "$name" >&2
    return
  fi
  platform=${platform:-linux/$(dpkg --print-architecture)} || fail "dpkg does not tell this machine's architecture; name a --platform."
  mirror=${mirror:-$(find_mirror)} || fail "no Debian mirror in this machine's apt sources; name one with --mirror."

  local cache=${XDG_CACHE_HOME:-$HOME/.cache}/byo-container-toolkit/stand-in-base-$suite-${platform#linux/}
  if [[ ! -f $cache/root.tar ]]; then
    local work
    work=$(mktemp -d)
    # shellcheck disable=SC2064  # the directory's name is wanted now
    trap "rm -rf '$work'" EXIT
    chmod 755 "$work"
    make_root "$suite" "${platform#linux/}" "$mirror" "$work"
    mkdir -p "$cache"
    tar --create --numeric-owner --sort=name --directory "$work" --file "$cache/root.tar.part" .
    mv "$cache/root.tar.part" "$cache/root.tar"
  fi
  # `docker import` would say of every image that it is of this machine's architecture.
  printf 'FROM scratch\nADD root.tar /\nCMD ["python3"]\n' |
    DOCKER_BUILDKIT=1 "$client" build --platform "$platform" --tag "$name" --file - "$cache" >&2
}

main "$@"
