#!/bin/sh
# runc in a user namespace that has the machine's network: its kernel lets nobody mount a sysfs
# there, so each container gets the one that is there.
for bundle; do
	[ "${previous-}" != --bundle ] || sed -i \
		's|"type":"sysfs","source":"sysfs","options":\["|"type":"bind","source":"/sys","options":["rbind","|' "$bundle/config.json"
	previous=$bundle
done
exec runc "$@"
