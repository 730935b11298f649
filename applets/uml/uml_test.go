package uml

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"binproxy/emu/uml"
)

func TestPublish(t *testing.T) {
	for text, want := range map[string]uml.Publish{
		"8080:80":               {Proto: "tcp", HostAddr: "127.0.0.1", Host: 8080, Guest: 80},
		"0.0.0.0:53:5353/udp":   {Proto: "udp", HostAddr: "0.0.0.0", Host: 53, Guest: 5353},
		"192.0.2.1:1:65535/tcp": {Proto: "tcp", HostAddr: "192.0.2.1", Host: 1, Guest: 65535},
	} {
		got, err := publish(text)
		assert.NoError(t, err, text)
		assert.Equal(t, want, got, text)
	}
	for _, text := range []string{"", "80", "0:1", "1:65536", "::1:1:2", "a:1:2", "1:2/sctp", "1:2:3:4", "1:-2"} {
		_, err := publish(text)
		assert.Error(t, err, text)
	}
}

func TestBind(t *testing.T) {
	for text, want := range map[string]uml.Bind{"/a:/b": {Src: "/a", Dst: "/b"}, "a b:/c:ro": {Src: "a b", Dst: "/c", ReadOnly: true}} {
		got, err := bind(text)
		assert.NoError(t, err, text)
		assert.Equal(t, want, got, text)
	}
	for _, text := range []string{"", "/a", ":/b", "/a:", "/a:/b:rx", "/a:/b:ro:"} {
		_, err := bind(text)
		assert.Error(t, err, text)
	}
}

func TestMebibytes(t *testing.T) {
	for text, want := range map[string]int{"64M": 64, "64": 64, "1G": 1024, "65536K": 64, "2g": 2048} {
		got, err := mebibytes(text)
		assert.NoError(t, err, text)
		assert.Equal(t, want, got, text)
	}
	for _, text := range []string{"", "M", "-1", "1T", "1.5G", "x"} {
		_, err := mebibytes(text)
		assert.Error(t, err, text)
	}
}
