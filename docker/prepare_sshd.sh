#!/bin/sh
# Lets the hosts of one job log in to each other, as the MPI driver of the SDK, version 3, expects:
# one key and one host key, made here, for all containers of the image. Whoever can pull the image
# has the keys, so nothing but that driver starts sshd. pam_env passes on /etc/environment, into
# which the driver writes the job's variables.
#
#   usage: prepare_sshd.sh --replace-the-keys-of-this-image
#
# It overwrites root's keys and the host's, so it runs only where it is asked for by that option,
# while an image is built.
set -eu

case ${1:-} in
  --replace-the-keys-of-this-image) ;;
  -h | --help) sed -n '2,/^set /{s/^# \{0,1\}//;/^set /d;p;}' "$0"; exit ;;
  *) echo 'prepare_sshd: this is for the build of an image; see --help' >&2; exit 2 ;;
esac

mkdir -p /run/sshd
rm -f /etc/ssh/ssh_host_*
ssh-keygen -q -t ed25519 -N '' -C 'hosts of a job' -f /etc/ssh/ssh_host_ed25519_key
install -d -m 700 /root/.ssh
ssh-keygen -q -t ed25519 -N '' -C 'hosts of a job' -f /root/.ssh/id_ed25519
cp /root/.ssh/id_ed25519.pub /root/.ssh/authorized_keys
sed 's/^/* /' /etc/ssh/ssh_host_ed25519_key.pub >/root/.ssh/known_hosts
cat >/etc/ssh/sshd_config.d/hosts-of-a-job.conf <<'CONFIG'
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
UsePAM yes
CONFIG
# A container cannot set the audit system's login, and no one logs in but the hosts of the job.
sed -i 's/^session *required *pam_loginuid.so/session optional pam_loginuid.so/' /etc/pam.d/sshd
