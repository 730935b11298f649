/* Prints uname, /proc/version and the version in the vDSO's note, as sources does. */
#include <elf.h>
#include <link.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/utsname.h>

int main(void)
{
	struct utsname u;
	if (uname(&u))
		return 1;
	printf("sysname\tC\t%s\nnodename\tC\t%s\nrelease\tC\t%s\nversion\tC\t%s\nmachine\tC\t%s\n", u.sysname, u.nodename, u.release, u.version, u.machine);

	char line[512];
	FILE *f = fopen("/proc/version", "r");
	if (f && fgets(line, sizeof line, f))
		printf("banner\tfopen\t%s", line);
	if (f)
		fclose(f);

	const char *image = (const char *)getauxval(AT_SYSINFO_EHDR);
	if (!image)
		return 0;
	const ElfW(Ehdr) *e = (const void *)image;
	const ElfW(Phdr) *p = (const void *)(image + e->e_phoff);
	for (int i = 0; i < e->e_phnum; i++) {
		if (p[i].p_type != PT_NOTE)
			continue;
		for (size_t at = 0; at + 12 <= p[i].p_filesz;) {
			const ElfW(Nhdr) *n = (const void *)(image + p[i].p_offset + at);
			const char *owner = (const char *)(n + 1);
			const char *desc = owner + ((n->n_namesz + 3) & ~3u);
			if (n->n_namesz == 6 && !memcmp(owner, "Linux", 6) && n->n_type == 0) {
				uint32_t code;
				memcpy(&code, desc, 4);
				printf("code\tC\t%u.%u.%u\n", code >> 16, code >> 8 & 255, code & 255);
			}
			at += 12 + ((n->n_namesz + 3) & ~3u) + ((n->n_descsz + 3) & ~3u);
		}
	}
	return 0;
}
