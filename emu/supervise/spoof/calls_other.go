//go:build !amd64 && !arm64

package spoof

// Both are empty: no supervisor runs on this host (see Run).
var unameCalls, openCalls []call
