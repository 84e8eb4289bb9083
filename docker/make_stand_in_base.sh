#!/usr/bin/env bash
# Builds a stand-in for the official slim Python image, for machines without an image registry.
#
#   usage: make_stand_in_base.sh [--suite SUITE] [--platform P] [--mirror URL] [--client C] NAME
#
# Defaults: suite trixie, which has the Python of Dockerfile.cpu's BASE_IMAGE; this machine's mirror
# and platform; client docker. Needs root, debootstrap, docker (with BuildKit) or podman; another
# platform, linux/arm64, needs emulation (Debian 13: qemu-user-binfmt). The image trusts this host's
# certificate authorities. The root file system is kept in the cache directory and reused; an image
# that exists is not changed. Logs go to stderr.
set -euo pipefail

fail() {
  printf 'make_stand_in_base: %s\n' "$1" >&2
  exit 1
}

find_mirror() {
  { cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null || true; } |
    awk '/^(URIs:|deb)[ \t]/{ for (i = 2; i <= NF; i++) if ($i~"/debian/?$" && !n++) print $i }' |
    grep .
}

make_root() {
  local suite=$1 architecture=$2 mirror=$3 root=$4
  # Like the official image: Python is called `python`, no apt lists, no documentation but licenses.
  debootstrap --arch="$architecture" --variant=minbase \
    --include=ca-certificates,python3,python3-venv,python-is-python3 \
    "$suite" "$root" "$mirror" >&2 || fail "debootstrap failed; see its last lines above."
  rm -rf "$root"/{usr/share/{man,info,locale}/*,var/{cache/apt/*/*.deb,{lib/apt/lists,log}/*}}
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
      --suite | --platform | --mirror | --client)
        printf -v "${1#--}" '%s' "${2?"$1 needs a value"}" && shift 2 ;;
      -h | --help) sed -n '2,/^set /{s/^# \{0,1\}//;/^set /d;p;}' "${BASH_SOURCE[0]}"; return ;;
      -*) fail "unknown option $1; see --help" ;;
      *) name=$1; shift ;;
    esac
  done
  [[ -n $name ]] || fail "an image NAME is needed; see --help"
  [[ $EUID -eq 0 ]] || fail "debootstrap needs root; run this with sudo."
  command -v debootstrap >/dev/null || fail "debootstrap is missing (apt-get install debootstrap)."
  command -v "$client" >/dev/null || fail "$client is missing."
  if "$client" image inspect "$name" >/dev/null 2>&1; then
    printf 'make_stand_in_base: the image %s already exists\n' "$name" >&2
    return
  fi
  platform=${platform:-linux/$(dpkg --print-architecture)} ||
    fail "dpkg does not report this machine's architecture; name a --platform."
  mirror=${mirror:-$(find_mirror)} ||
    fail "no Debian mirror in this machine's apt sources; name one with --mirror."

  local cache=${XDG_CACHE_HOME:-$HOME/.cache}/byo-container-toolkit/stand-in-base
  cache+=-$suite-${platform#linux/}
  if [[ ! -f $cache/root.tar ]]; then
    local work
    work=$(mktemp -d)
    # shellcheck disable=SC2064  # expanded now, on purpose
    trap "rm -rf '$work'" EXIT
    chmod 755 "$work"
    make_root "$suite" "${platform#linux/}" "$mirror" "$work"
    mkdir -p "$cache"
    tar --create --numeric-owner --sort=name --directory "$work" --file "$cache/root.tar.part" .
    mv "$cache/root.tar.part" "$cache/root.tar"
  fi
  # `docker import` would give the image this machine's architecture.
  printf 'FROM scratch\nADD root.tar /\nCMD ["python3"]\n' |
    DOCKER_BUILDKIT=1 "$client" build --platform "$platform" --tag "$name" --file - "$cache" >&2
}

main "$@"
