// names: prints the kernel's fields by each function that may show them.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

static void by_fd(const char *how, int fd)
{
	char text[512];
	ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text);
	printf("%s %.*s", how, (int)n, n > 0 ? text : "\n");
	close(fd);
}

int main(void)
{
	struct utsname u;
	char host[256], text[512];
	memset(&u, 'x', sizeof u);
	uname(&u);
	printf("uname %s %s %s %s %s\n", u.sysname, u.nodename, u.release, u.version, u.machine);
	// QEMU 7.2 leaves the end of the host's release after the guest's: nothing may be there.
	for (size_t i = strlen(u.release); i < sizeof u.release; i++)
		if (u.release[i])
			printf("release is not padded\n");
	gethostname(host, sizeof host);
	printf("gethostname %s\n", host);
	by_fd("open", open("/proc/sys/kernel/osrelease", O_RDONLY));
	by_fd("open64", open64("/proc/sys/kernel/version", O_RDONLY | O_CLOEXEC));
	by_fd("openat", openat(AT_FDCWD, "/proc/sys/kernel/ostype", O_RDONLY));
	by_fd("openat64", openat64(-1, "/proc/sys/kernel/hostname", O_RDONLY));
	FILE *f = fopen("/proc/version", "re");
	if (f && fgets(text, sizeof text, f))
		printf("fopen %s", text);
	f = fopen64("/proc/version", "r");
	if (f && fgets(text, sizeof text, f) && !fseek(f, 0, SEEK_SET) && fgets(text, sizeof text, f))
		printf("fopen64 %s", text);
	printf("write %d %d\n", open("/proc/version", O_WRONLY | O_CREAT, 0644) >= 0 && getuid(), fopen("/proc/none", "r") != NULL);
	return 0;
}
