#!/bin/sh
# place.sh DIR LINE USER COMMAND [ARGUMENT...] runs a command in namespaces of its own, which
# exist already: of mounts and processes, and of users if LINE is not empty. LINE is an entry for
# the binfmt_misc of that user namespace. USER is the number of an ordinary user, who has the
# subordinate ids of DIR/subid; 0 is root. Files that builders write to /run end with the
# namespaces; those that they write to /var/lib and /etc go to DIR.
set -e
dir=$1 line=$2 user=$3
shift 3
mount --make-rprivate /
mount -t proc proc /proc
mount -t tmpfs -o mode=755 run /run
mount --bind "$dir/lib" /var/lib
mount -t overlay -o "lowerdir=/etc,upperdir=$dir/etc,workdir=$dir/scratch" overlay /etc
if [ -n "$line" ]; then
	mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
	printf '%s\n' "$line" >/proc/sys/fs/binfmt_misc/register
fi
if [ "$user" = 0 ]; then
	"$@"
	exit
fi
mount --bind "$dir/subid" /etc/subuid
mount --bind "$dir/subid" /etc/subgid
setpriv --reuid "$user" --regid "$user" --clear-groups -- "$@"
