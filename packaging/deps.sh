#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Installs what Debian 12 packages are missing to build, demonstrate, test or
# measure Salvaposta. Says what it installs; quick when nothing is missing.
#
#	packaging/deps.sh build|demo|test|bench|fuzz
set -eu

build="gcc libc6-dev make pkg-config libc-ares-dev libevent-dev libconfuse-dev libsqlite3-dev
 libjansson-dev libssl-dev libseccomp-dev libidn2-dev libzstd-dev libspf2-dev libopendkim-dev
 libcurl4-openssl-dev"
demo="ca-certificates dovecot-core dovecot-lmtpd openssl procps python3 python3-aiosmtpd
 python3-dkim python3-dnspython python3-spf python3-cryptography python3-nacl swaks"
test="libcmocka-dev curl msmtp s-nail libnet-ssleay-perl clang libclang-rt-14-dev python3-pytest python3-pytest-xdist postfix iproute2 util-linux strace man-db opendkim postsrsd libmail-srs-perl libfaketime rspamd zstd postgresql slapd ldap-utils systemd"
bench="postfix strace rspamd"
fuzz="clang libclang-rt-14-dev"
tls="unbound ldnsutils"	# peers of the TLS tests
# of Exim and OpenSMTPD, which the tests unpack beside the MTA that is installed
unpacked="libdb5.3 libgnutls-dane0 libidn12 libnsl2 libpam0g libpcre2-8-0"

case "${1-}" in
build) want="$build" ;;
demo) want="$build $demo" ;;
test) want="$build $demo $test $tls $unpacked" ;;
bench) want="$build $demo $bench" ;;
fuzz) want="$build $fuzz" ;;
*)
	echo "usage: packaging/deps.sh build|demo|test|bench|fuzz" >&2
	exit 2
	;;
esac

missing=
for p in $want; do
	state=$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null) || state=
	[ "$state" = installed ] || missing="$missing $p"
done
[ -n "$missing" ] || exit 0

echo "Salvaposta needs these Debian packages that are not installed:"
printf '  %s\n' $missing
sudo=
if [ "$(id -u)" -ne 0 ]; then
	if ! command -v sudo >/dev/null 2>&1; then
		echo "Cannot install them: not root and there is no sudo. As root, run:" >&2
		echo "  apt-get update && apt-get install -y --no-install-recommends$missing" >&2
		exit 1
	fi
	sudo=sudo
fi

# The packages' own daemons (dovecot, postfix) must not start on this host: the
# tests run theirs on ports of their own.
policy=/usr/sbin/policy-rc.d
made=
if [ ! -e "$policy" ]; then
	printf '#!/bin/sh\nexit 101\n' | $sudo tee "$policy" >/dev/null
	$sudo chmod 755 "$policy"
	made=1
fi
undo() {
	[ -z "$made" ] || $sudo rm -f "$policy"
	made=
}
trap undo EXIT
trap 'undo; exit 1' HUP INT TERM

echo "Installing them with apt-get (this takes a minute or two) ..."
if ! $sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq update; then
	echo "apt-get update failed: check the network and /etc/apt/sources.list" >&2
	exit 1
fi
# shellcheck disable=SC2086
if ! $sudo env DEBIAN_FRONTEND=noninteractive \
    apt-get -qq install -y --no-install-recommends $missing >/dev/null; then
	echo "apt-get could not install:$missing" >&2
	echo "This needs Debian 12 (bookworm) with the main section enabled." >&2
	exit 1
fi
echo "Installed:$missing"
