// Package seccomp turns rules on system calls into the BPF program that the kernel runs at each of them. It is pure: it installs
// nothing (emu/sys does), so that every program can be judged in a BPF machine without privilege.
package seccomp
