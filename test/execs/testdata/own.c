// own puts seccomp filters of its own on children, each in one way, and prints what becomes of them.
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static struct sock_filter allow[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
static struct sock_fprog program = {1, allow};

static long strict(void) { return prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT); }
static long strictly(void) { return syscall(SYS_seccomp, SECCOMP_SET_MODE_STRICT, 0, NULL); }
static long filter(void) { return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program); }
static long together(void) { return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program); }
static long listener(void) { return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program); }

static void try(const char *name, long (*ask)(void)) {
	int status;
	if (fork() == 0) {
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
		syscall(SYS_exit, ask() < 0 ? errno : 0); // the only exit that is allowed in strict mode
	}
	wait(&status);
	printf("%s: %s\n", name, WEXITSTATUS(status) ? strerrorname_np(WEXITSTATUS(status)) : "done");
}

int main(void) {
	try("prctl strict", strict);
	try("seccomp strict", strictly);
	try("filter", filter);
	try("filter for all threads", together);
	try("filter with a listener", listener);
	return 0;
}
