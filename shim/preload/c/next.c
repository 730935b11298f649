#include "next.h"

#if __SIZEOF_POINTER__ == 8
typedef struct { uint32_t type, flags; uint64_t offset, vaddr, paddr, filesz, memsz, align; } program_header;
typedef struct { int64_t tag; uint64_t value; } dynamic;
typedef struct { uint32_t name; uint8_t info, other; uint16_t section; uint64_t value, size; } symbol;
#else
typedef struct { uint32_t type, offset, vaddr, paddr, filesz, memsz, flags, align; } program_header;
typedef struct { int32_t tag; uint32_t value; } dynamic;
typedef struct { uint32_t name, value, size; uint8_t info, other; uint16_t section; } symbol;
#endif

struct object {
	uintptr_t base;
	const char *name;
	const program_header *headers;
	uint16_t count;
};

extern WEAK int dl_iterate_phdr(int (*each)(struct object *, size_t, void *), void *);

#ifdef __mips__
enum { DT_HASHES = 4 };
#else
enum { DT_HASHES = 0x6ffffef5 };
#endif
enum { PT_DYNAMIC = 2, DT_STRTAB = 5, DT_SYMTAB = 6, DT_VERSYM = 0x6ffffff0, HIDDEN = 0x8000 };

struct lookup {
	const char *name;
	bool behind; // our own object has been seen
	void *found;
};

extern const char __ehdr_start[]; // the linker's name for our own first byte

// last_symbol is the highest index in the table that the hash table leads to.
static uint32_t last_symbol(const uint32_t *hash)
{
#ifdef __mips__
	return hash[1] - 1;
#else
	uint32_t buckets = hash[0], first = hash[1], last = 0;
	const uint32_t *bucket = hash + 4 + hash[2] * (sizeof(void *) / 4), *chain = bucket + buckets;
	for (uint32_t i = 0; i < buckets; i++)
		if (bucket[i] > last)
			last = bucket[i];
	while (last && !(chain[last - first] & 1))
		last++;
	return last;
#endif
}

// entry is the dynamic section's value for the tag, NULL if there is none.
static const void *entry(uintptr_t base, const dynamic *d, uint32_t tag)
{
	for (; d->tag; d++)
		if ((uint32_t)d->tag == tag) // glibc makes most of these addresses absolute where it can write to them, others leave them relative.
			return (const void *)(d->value < base ? base + d->value : d->value);
	return NULL;
}

static void *symbol_of(uintptr_t base, const dynamic *d, const char *name)
{
	const char *strings = entry(base, d, DT_STRTAB);
	const symbol *symbols = entry(base, d, DT_SYMTAB);
	const uint16_t *versions = entry(base, d, DT_VERSYM);
	const uint32_t *hash = entry(base, d, DT_HASHES);
	for (uint32_t i = hash ? last_symbol(hash) : 0; i; i--)
		if (symbols[i].section && !(versions && versions[i] & HIDDEN) && same(strings + symbols[i].name, name))
			return (void *)(base + symbols[i].value);
	return NULL;
}

static int each(struct object *o, size_t size, void *data)
{
	struct lookup *l = data;
	(void)size;
	if (o->base == (uintptr_t)__ehdr_start)
		l->behind = true;
	else if (l->behind)
		for (int i = 0; i < o->count && !l->found; i++)
			if (o->headers[i].type == PT_DYNAMIC)
				l->found = symbol_of(o->base, (const dynamic *)(o->base + o->headers[i].vaddr), l->name);
	return l->found != NULL;
}

void *next(const char *name)
{
	struct lookup l = {name, false, NULL};
	if (&dl_iterate_phdr)
		dl_iterate_phdr(each, &l);
	return l.found;
}
