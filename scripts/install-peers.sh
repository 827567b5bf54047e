#!/bin/sh
# Installs the programs that the peers' tests and the benchmarks measure Millrace against, from Debian's packages.
# Does nothing where all are there. As another user than root it only says what is missing.
#
#   scripts/install-peers.sh            install what is missing
#   scripts/install-peers.sh --check    only say what is missing; exit 1 if anything is
#
# Nothing gets started by it: invoke-rc.d and deb-systemd-invoke ask policy-rc.d before they start a service, and 101
# means "not allowed" (/usr/share/doc/init-system-helpers/README.policy-rc.d.gz). Services that were there before are
# left as they are.
set -eu

packages='nginx wrk haproxy curl iperf3 strace iproute2 iputils-ping ethtool linux-libc-dev clang libbpf-dev bpftool'
services='nginx haproxy iperf3'
policy=/usr/sbin/policy-rc.d

is_installed() {
  [ "$(dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

if ! command -v dpkg-query >/dev/null; then
  echo "install-peers: this is no Debian; install these by hand: $packages" >&2
  exit 1
fi

missing=
for package in $packages; do
  is_installed "$package" || missing="$missing $package"
done
if [ -z "$missing" ]; then
  echo 'install-peers: all there'
  exit 0
fi
if [ "${1:-}" = --check ]; then
  echo "install-peers: missing:$missing" >&2
  exit 1
fi
if [ "$(id -u)" != 0 ]; then
  echo "install-peers: root is needed; run: sudo apt-get install --no-install-recommends$missing" >&2
  exit 1
fi

new_services=
for service in $services; do
  is_installed "$service" || new_services="$new_services $service"
done

# A policy that the administrator wrote is put aside and comes back, whatever happens.
saved=
restore_policy() {
  rm -f "$policy"
  if [ -n "$saved" ]; then mv "$saved" "$policy"; fi
}
trap restore_policy EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
if [ -e "$policy" ] || [ -L "$policy" ]; then
  saved="$policy.millrace"
  mv "$policy" "$saved"
fi
printf '#!/bin/sh\nexit 101\n' >"$policy"
chmod 755 "$policy"

export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2086 # the names are words of their own
apt-get install -y -qq --no-install-recommends $missing

# Debian also enables what it installs; nothing that came for tests should start with the machine.
for service in $new_services; do
  if [ -e "/etc/init.d/$service" ] || [ -e "/lib/systemd/system/$service.service" ]; then
    update-rc.d "$service" disable >/dev/null 2>&1 || echo "install-peers: $service may start at boot; disable it if it should not" >&2
  fi
done
echo "install-peers: installed$missing"
