#!/bin/bash
# engine.sh DIR [WORD...] runs a private dockerd that writes only to DIR, until standard input
# ends; then it stops dockerd and removes DIR. The words go before the command dockerd, and
# DIR/daemon.json has its configuration. It runs in its own PID namespace and mount namespace: the
# end of the first process ends all of the engine's, and no mount outlives it.
set -u
dir=$1
shift
group=binproxy-${dir##*-}
trap '' INT HUP TERM
# A containerd that ends slowly writes its stacks there on dockerd's order.
mkdir -p "$dir/tmp"
export TMPDIR="$dir/tmp"

# dockerd also writes outside its folders (a key, plugin sockets). It sees the machine's /etc, /run
# and /opt, but what it writes there goes to DIR.
for top in etc run opt; do
	mkdir -p "$dir/over/$top" "$dir/scratch/$top"
	mount -t overlay -o "lowerdir=/$top,upperdir=$dir/over/$top,workdir=$dir/scratch/$top" overlay "/$top" || :
done

# The exec root has sockets, whose paths must be short. Nobody else sees this directory.
"$@" dockerd --config-file "$dir/daemon.json" --data-root "$dir/data" --exec-root "/run/$group" --pidfile "$dir/pid" \
	--host "unix://$dir/sock" --bridge none --iptables=false --ip6tables=false --ip-masq=false \
	--exec-opt native.cgroupdriver=cgroupfs --cgroup-parent "$group" >"$dir/log" 2>&1 </dev/null &
dockerd=$!
exec 3<&0
cat <&3 >/dev/null & # ends when the process that started us has ended
owner=$!

wait -n "$dockerd" "$owner"
if kill -0 "$owner" 2>/dev/null; then
	tail -n 15 "$dir/log" >&2
fi
kill "$dockerd" 2>/dev/null
wait "$dockerd"

# The control groups that it made: children first.
for top in /sys/fs/cgroup /sys/fs/cgroup/*; do
	[ ! -d "$top/$group" ] || find "$top/$group" -depth -type d -exec rmdir '{}' + 2>/dev/null
done
awk -v dir="$dir/" 'index($2, dir) == 1 { print $2 }' /proc/self/mounts | sort -r | while read -r mount; do
	umount -l "$mount"
done
for top in etc run opt; do
	umount -l "/$top" 2>/dev/null
done
rm -rf "$dir"
