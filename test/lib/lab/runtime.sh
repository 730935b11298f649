#!/bin/sh
# runc for a user namespace that has the machine's network: nobody can mount a sysfs there, so each
# container gets the existing one.
for word; do
	[ "${previous-}" != --bundle ] || sed -i \
		's|"type":"sysfs","source":"sysfs","options":\["|"type":"bind","source":"/sys","options":["rbind","|' "$word/config.json"
	previous=$word
done
PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin # this is a runc of PATH itself
exec runc "$@"
