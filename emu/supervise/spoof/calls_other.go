//go:build !amd64 && !arm64

package spoof

// All are empty: no supervisor runs on this host (see Run).
var unameCalls, openCalls, newCalls, statCalls []call
