// driver FUNCTION PATH [ARGUMENT...]: calls one of the functions that the exec hook replaces, with the rest as argv; "-" as the first
// argument is an empty argv. If the function takes an environment and CLEAR is set, the program's environment is only FOO=bar.
// Prints "errno N" if the function fails, "status N" after a process that ended.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static int failed(int error)
{
	printf("errno %d\n", error);
	return 0;
}

static int ended(int status)
{
	if (WIFSIGNALED(status))
		printf("signal %d\n", WTERMSIG(status));
	else
		printf("status %d\n", WEXITSTATUS(status));
	return 0;
}

static int waited(pid_t pid)
{
	int status;
	waitpid(pid, &status, 0);
	return ended(status);
}

static int memory(const char *path, unsigned flags)
{
	char buf[65536];
	ssize_t n;
	int in = open(path, O_RDONLY), out = memfd_create("driver", flags);
	while ((n = read(in, buf, sizeof buf)) > 0)
		if (write(out, buf, n) != n)
			abort();
	close(in);
	return out;
}

static void handler(int signal) { (void)signal; }

int main(int argc, char **argv)
{
	static char *cleared[] = {"FOO=bar", NULL};
	char *f = argv[1], *path = argv[2], **args = argv + 3, **env = getenv("CLEAR") ? cleared : environ;
	pid_t pid;
	int error;
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc > 3 && !strcmp(args[0], "-"))
		args++;
	if (!strcmp(f, "execve")) execve(path, args, env);
	else if (!strcmp(f, "execv")) execv(path, args);
	else if (!strcmp(f, "execvp")) execvp(path, args);
	else if (!strcmp(f, "execvpe")) execvpe(path, args, env);
	else if (!strcmp(f, "execl")) execl(path, args[0], args[1], args[2], (char *)NULL);
	else if (!strcmp(f, "execlp")) execlp(path, args[0], args[1], args[2], (char *)NULL);
	else if (!strcmp(f, "execle")) execle(path, args[0], args[1], args[2], (char *)NULL, env);
	else if (!strcmp(f, "fexecve")) fexecve(open(path, O_RDONLY), args, env);
	else if (!strcmp(f, "fexecve-cloexec")) fexecve(open(path, O_RDONLY | O_CLOEXEC), args, env);
	else if (!strcmp(f, "memfd")) fexecve(memory(path, 0), args, env);
	else if (!strcmp(f, "memfd-cloexec")) fexecve(memory(path, MFD_CLOEXEC), args, env);
#ifdef __GLIBC__
	else if (!strcmp(f, "execveat")) {
		char *base = strrchr(path, '/');
		*base++ = 0;
		execveat(open(path, O_PATH | O_DIRECTORY | O_CLOEXEC), base, args, env, 0);
	} else if (!strcmp(f, "execveat-nofollow")) execveat(AT_FDCWD, path, args, env, AT_SYMLINK_NOFOLLOW);
	else if (!strcmp(f, "execveat-none")) execveat(-1, path, args, env, 0);
#endif
	else if (!strcmp(f, "vfork")) {
		if ((pid = vfork()) == 0) {
			execve(path, args, env);
			_exit(errno);
		}
		return waited(pid);
	} else if (!strcmp(f, "posix_spawn") || !strcmp(f, "posix_spawnp")) {
		posix_spawn_file_actions_t actions;
		posix_spawnattr_t attr;
		posix_spawn_file_actions_init(&actions);
		posix_spawn_file_actions_addopen(&actions, 7, "/dev/null", O_RDONLY, 0);
		posix_spawnattr_init(&attr);
		posix_spawnattr_setpgroup(&attr, 0);
		posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP);
		error = (f[11] ? posix_spawnp : posix_spawn)(&pid, path, &actions, &attr, args, env);
		return error ? failed(error) : waited(pid);
	} else if (!strcmp(f, "system")) {
		struct sigaction before = {0}, after;
		before.sa_handler = handler;
		before.sa_flags = SA_RESTART;
		sigaction(SIGINT, &before, NULL);
		int status = system(path);
		sigaction(SIGINT, NULL, &after);
		if (after.sa_handler != handler || !(after.sa_flags & SA_RESTART))
			printf("SIGINT is not handled as before\n");
		return status == -1 ? failed(errno) : ended(status);
	} else if (!strcmp(f, "popen-r")) {
		char line[256];
		FILE *other = popen("cat >/dev/null", "w"), *in = popen(path, "r");
		if (!in)
			return failed(errno);
		while (fgets(line, sizeof line, in))
			printf("read %s", line);
		ended(pclose(in));
		return ended(pclose(other));
	} else if (!strcmp(f, "popen-w")) {
		FILE *out = popen(path, "w");
		if (!out)
			return failed(errno);
		fprintf(out, "written\n");
		return ended(pclose(out));
	} else {
		printf("no such function\n");
		return 1;
	}
	return failed(errno);
}
