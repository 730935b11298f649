#!/bin/sh
# kaniko.sh ROOT COMMAND... runs a command in a root with /proc and the usual devices, in the
# mount namespace that it has already.
set -e
cd "$1"
shift
mkdir -p proc dev etc tmp
mount -t proc proc proc
mount -t tmpfs -o mode=755 dev dev
for device in null zero full random urandom; do
	touch dev/$device
	mount --bind /dev/$device dev/$device
done
exec chroot . "$@"
