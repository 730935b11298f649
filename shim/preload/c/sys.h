// Raw system calls: the hooks are linked with no libc, and run under any libc that the program
// has.
//
// Numbers and errnos are the kernel's for each ABI (numbers.h is generated). Each call gives its
// result, or an errno below zero.
#ifndef SYS_H
#define SYS_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "numbers.h"

#pragma GCC visibility push(hidden)

#define EXPORT __attribute__((visibility("default")))
#define WEAK __attribute__((weak, visibility("default")))

enum {
	ENOENT = 2,
	EINTR = 4,
	ENOEXEC = 8,
	EBADF = 9,
	ECHILD = 10,
	ENOMEM = 12,
	EACCES = 13,
	EFAULT = 14,
	EPERM = 1,
	ENODEV = 19,
	ENOTDIR = 20,
	EINVAL = 22,
	EMFILE = 24,
#ifdef __mips__
	ENAMETOOLONG = 78,
	ENOSYS = 89,
	ELOOP = 90,
	ETIMEDOUT = 145,
	ESTALE = 151,
#else
	ENAMETOOLONG = 36,
	ENOSYS = 38,
	ELOOP = 40,
	ETIMEDOUT = 110,
	ESTALE = 116,
#endif
};

enum {
	O_ACCMODE = 3,
	O_CLOEXEC = 02000000,
	TMPFILE = 020000000, // O_TMPFILE without the O_DIRECTORY in it
#ifdef __mips__
	O_CREAT = 0x100,
	O_NOCTTY = 0x800,
	O_NONBLOCK = 0x80,
#else
	O_CREAT = 0100,
	O_NOCTTY = 0400,
	O_NONBLOCK = 04000,
#endif
	O_PATH = 010000000,
};

enum { AT_FDCWD = -100, AT_SYMLINK_NOFOLLOW = 0x100, AT_EACCESS = 0x200, AT_EMPTY_PATH = 0x1000 };
enum { X_OK = 1, F_DUPFD = 0, F_GETFD = 1, F_SETFD = 2, FD_CLOEXEC = 1, F_ADD_SEALS = 1033 };
enum { MFD_CLOEXEC = 1, MFD_ALLOW_SEALING = 2, SEALS = 0xf };
enum { PATH_MAX = 4096, NAME_MAX = 255, S_IFMT = 0170000, S_IFREG = 0100000, S_IFLNK = 0120000 };

#if defined __x86_64__
static inline long sys4(long n, long a, long b, long c, long d)
{
	register long r10 __asm__("r10") = d;
	long r;
	__asm__ volatile("syscall" : "=a"(r) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
	return r;
}
#define STAT_MODE 24
#elif defined __i386__
static inline long sys4(long n, long a, long b, long c, long d)
{
	long r;
	__asm__ volatile("int $0x80" : "=a"(r) : "a"(n), "b"(a), "c"(b), "d"(c), "S"(d) : "memory");
	return r;
}
#define STAT_MODE 16
#elif defined __aarch64__
static inline long sys4(long n, long a, long b, long c, long d)
{
	register long x8 __asm__("x8") = n;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
	return x0;
}
#define STAT_MODE 16
#elif defined __arm__
static inline long sys4(long n, long a, long b, long c, long d)
{
	register long r0 __asm__("r0") = a;
	register long r1 __asm__("r1") = b;
	register long r2 __asm__("r2") = c;
	register long r3 __asm__("r3") = d;
	register long r5 __asm__("r5") = n;
	// r7 has the number, and is Thumb's frame pointer, which the compiler keeps.
	__asm__ volatile("push {r7}\n\tmovs r7, r5\n\tsvc 0\n\tpop {r7}" : "+r"(r0) : "r"(r5), "r"(r1), "r"(r2), "r"(r3) : "cc", "memory");
	return r0;
}
#define STAT_MODE 16
#elif defined __mips__
static inline long sys4(long n, long a, long b, long c, long d)
{
	register long v0 __asm__("$2") = n;
	register long a0 __asm__("$4") = a;
	register long a1 __asm__("$5") = b;
	register long a2 __asm__("$6") = c;
	register long a3 __asm__("$7") = d;
	__asm__ volatile("syscall" : "+r"(v0), "+r"(a3) : "r"(a0), "r"(a1), "r"(a2)
		: "$1", "$3", "$8", "$9", "$10", "$11", "$12", "$13", "$14", "$15", "$24", "$25", "hi", "lo", "memory");
	return a3 ? -v0 : v0;
}
#define STAT_MODE 24
#elif defined __powerpc64__
static inline long sys4(long n, long a, long b, long c, long d)
{
	register long r0 __asm__("r0") = n;
	register long r3 __asm__("r3") = a;
	register long r4 __asm__("r4") = b;
	register long r5 __asm__("r5") = c;
	register long r6 __asm__("r6") = d;
	__asm__ volatile("sc\n\tbns+ 1f\n\tneg 3, 3\n1:" : "+r"(r0), "+r"(r3), "+r"(r4), "+r"(r5), "+r"(r6)
		: : "r7", "r8", "r9", "r10", "r11", "r12", "cr0", "ctr", "xer", "memory");
	return r3;
}
#define STAT_MODE 24
#elif defined __s390x__
static inline long sys4(long n, long a, long b, long c, long d)
{
	register long r1 __asm__("r1") = n;
	register long r2 __asm__("r2") = a;
	register long r3 __asm__("r3") = b;
	register long r4 __asm__("r4") = c;
	register long r5 __asm__("r5") = d;
	__asm__ volatile("svc 0" : "+r"(r2) : "r"(r1), "r"(r3), "r"(r4), "r"(r5) : "memory");
	return r2;
}
#define STAT_MODE 24
#elif defined __riscv
static inline long sys4(long n, long a, long b, long c, long d)
{
	register long a7 __asm__("a7") = n;
	register long a0 __asm__("a0") = a;
	register long a1 __asm__("a1") = b;
	register long a2 __asm__("a2") = c;
	register long a3 __asm__("a3") = d;
	__asm__ volatile("ecall" : "+r"(a0) : "r"(a7), "r"(a1), "r"(a2), "r"(a3) : "memory");
	return a0;
}
#define STAT_MODE 16
#else
#error "no system calls for this ABI"
#endif

// SYS(name, argument...) takes up to four. Arguments that a call does not read have any value.
#define SYS(name, ...) SYS_OF(__VA_ARGS__, SYS4, SYS3, SYS2, SYS1)(NR_##name, __VA_ARGS__)
#define SYS_OF(a, b, c, d, form, ...) form
#define SYS1(n, a) SYS2(n, a, ANY)
#define SYS2(n, a, b) SYS3(n, a, b, ANY)
#define SYS3(n, a, b, c) SYS4(n, a, b, c, ANY)
#define SYS4(n, a, b, c, d) sys4(n, (long)(a), (long)(b), (long)(c), (long)(d))
#define ANY ({ long any; __asm__("" : "=r"(any)); any; })

static long sys_openat(int dir, const char *path, int flags, unsigned mode);
static long sys_close(long fd);
static long sys_write(long fd, const void *buf, size_t n);
static long sys_fcntl(long fd, long cmd, long arg);
// read_link ends the text with a NUL. It gives the text's length, or an errno below zero, also if
// size is too small.
static long read_link(const char *path, char *buf, size_t size);
// file_mode is st_mode.
static long file_mode(const char *path, int flags);
// read_file reads up to n bytes from the file's start, and gives their number.
static long read_file(const char *path, void *buf, size_t n);

#endif
