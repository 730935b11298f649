#!/bin/sh
# setup.sh is what the action does. It takes the release BINPROXY_VERSION from BINPROXY_URL, checks
# the sums, puts binproxy into the PATH of the following steps, and BuildKit's plugs into
# BINPROXY_PLUGS and into the container BINPROXY_BUILDER, if that is set.
set -eu

case $(uname -m) in
x86_64) arch=amd64 ;;
aarch64) arch=arm64 ;;
*) echo "binproxy: no release for $(uname -m) runners" >&2 && exit 1 ;;
esac
base=binproxy-${BINPROXY_VERSION#v}-linux-$arch
dir=$RUNNER_TEMP/binproxy
mkdir -p "$dir"
cd "$dir"
for file in SHA256SUMS "$base.tar.gz" "$base-buildkit.tar.gz"; do
	curl -fsSL --retry 3 -o "$file" "$BINPROXY_URL/$BINPROXY_VERSION/$file"
done
for file in "$base.tar.gz" "$base-buildkit.tar.gz"; do
	sum=$(grep "  $file\$" SHA256SUMS) || { echo "binproxy: SHA256SUMS has no $file" >&2 && exit 1; }
	echo "$sum" | sha256sum --check --strict
	tar --no-same-owner -xzf "$file"
done
echo "$dir/$base" >>"$GITHUB_PATH"

as=
[ -w "$BINPROXY_PLUGS" ] || as=sudo # the directory's owner, and no more than that
for plug in "$base-buildkit"/buildkit-qemu-*; do
	to=$BINPROXY_PLUGS/$(basename "$plug")
	if [ -e "$to" ] && ! tail -c 64 "$to" | grep -aq '^binproxy+parts'; then
		echo "binproxy: $to is another program's, and stays" >&2
		continue
	fi
	$as install -m 755 "$plug" "$to"
	[ -z "$BINPROXY_BUILDER" ] || docker cp -q "$plug" "$BINPROXY_BUILDER:/usr/bin/"
done
