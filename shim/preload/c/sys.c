#include "text.h"

long sys_openat(int dir, const char *path, int flags, unsigned mode) { return SYS(openat, dir, path, flags, mode); }
long sys_close(long fd) { return SYS(close, fd); }
long sys_write(long fd, const void *buf, size_t n) { return SYS(write, fd, buf, n); }
long sys_fcntl(long fd, long cmd, long arg) { return SYS(fcntl, fd, cmd, arg); }

long read_link(const char *path, char *buf, size_t size)
{
	long n = SYS(readlinkat, AT_FDCWD, path, buf, size);
	if (n >= (long)size)
		return -ENAMETOOLONG;
	if (n >= 0)
		buf[n] = 0;
	return n;
}

// struct stat differs between ABIs, and only the place of the mode in it matters here.
long file_mode(const char *path, int flags)
{
	long stat[40];
	long r = SYS(fstatat, AT_FDCWD, path, stat, flags);
	return r < 0 ? r : (long)*(uint32_t *)((char *)stat + STAT_MODE);
}

long read_file(const char *path, void *buf, size_t n)
{
	size_t got = 0;
	long r = 1, fd = sys_openat(AT_FDCWD, path, O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0);
	if (fd < 0)
		return fd;
	while (got < n && r != 0) {
		r = SYS(read, fd, (char *)buf + got, n - got);
		if (r < 0 && r != -EINTR)
			break;
		if (r > 0)
			got += r;
	}
	sys_close(fd);
	return r < 0 ? r : (long)got;
}
