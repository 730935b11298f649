package apt

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestReason(t *testing.T) {
	for _, tt := range []struct {
		said, want            string
		obstacle, unreachable bool
	}{
		{said: "Reading package lists...\nE: Unable to locate package fish\n", want: "Unable to locate package fish"},
		{said: "Err:1 http://m.invalid/debian a 1\n  404  Not Found [IP: 192.0.2.1 80]\nE: Failed to fetch http://m.invalid/debian/a.deb  404  Not Found [IP: 192.0.2.1 80]\n" +
			"E: Unable to fetch some archives, maybe run apt-get update or try with --fix-missing?\n", want: "http://m.invalid/debian/a.deb: 404  Not Found"},
		{said: "The following packages have unmet dependencies:\n c : Depends: d but it is not installable\nE: Unable to correct problems, you have held broken packages.\n",
			want: "c : Depends: d but it is not installable"},
		{said: "dpkg: error processing package x (--configure):\n installed x package post-installation script subprocess returned error exit status 1\n" +
			"Errors were encountered while processing:\n x\nE: Sub-process /usr/bin/dpkg returned an error code (1)\n",
			want: "dpkg: error processing package x (--configure): installed x package post-installation script subprocess returned error exit status 1"},
		{said: "E: dpkg was interrupted, you must manually run 'dpkg --configure -a' to correct the problem. \n",
			want: "dpkg was interrupted, you must manually run 'dpkg --configure -a' to correct the problem.", obstacle: true},
		{said: "dpkg: error processing archive /x.deb (--unpack):\n cannot copy extracted data for './usr/x' to '/usr/x.dpkg-new': failed to write (No space left on device)\n",
			want:     "cannot copy extracted data for './usr/x' to '/usr/x.dpkg-new': failed to write (No space left on device)",
			obstacle: true},
		{said: "Waiting for cache lock: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 7 (apt-get)...\nE: Unable to locate package fish\n",
			want: "Unable to locate package fish"},
		{said: "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 7 (apt-get)\nE: Unable to acquire the dpkg frontend lock (/var/lib/dpkg/lock-frontend), is another process using it?\n",
			want: "Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 7 (apt-get)", obstacle: true},
		{said: "W: Failed to fetch http://m.invalid/InRelease  Temporary failure resolving 'm.invalid'\nE: Some index files failed to download. They have been ignored, or old ones used instead.\n",
			want: "http://m.invalid/InRelease: Temporary failure resolving 'm.invalid'", unreachable: true},
		{said: "I: Retrieving InRelease \nE: Failed getting release file http://m.invalid/debian/dists/bookworm/Release\n",
			want: "Failed getting release file http://m.invalid/debian/dists/bookworm/Release"},
		{said: "a line\nthe last\n", want: "the last"},
		{want: "exit status 100"},
	} {
		err := &Error{Command: "apt-get install", Said: tt.said, Err: errors.New("exit status 100")}
		assert.Equal(t, "apt-get install: "+tt.want, err.Error())
		assert.Equal(t, tt.obstacle, err.Obstacle(), tt.said)
		assert.Equal(t, tt.unreachable, Unreachable(err), tt.said)
	}
}
