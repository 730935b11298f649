//go:build !amd64 && !arm64

package supervise

// Both are empty: no supervisor runs on this host (see Run).
var unameCalls, openCalls []spoofedCall
