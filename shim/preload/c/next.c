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
enum { PT_LOAD = 1, PT_DYNAMIC = 2, DT_STRTAB = 5, DT_SYMTAB = 6, DT_VERSYM = 0x6ffffff0, HIDDEN = 0x8000 };

struct lookup {
	const char *name;
	bool behind; // our own object has been seen
	void *found;
};

struct tables {
	const char *strings;
	const symbol *symbols;
	const uint16_t *versions;
	const uint32_t *hash;
};

static bool matches(const struct tables *t, uint32_t i, const char *name)
{
	const symbol *s = &t->symbols[i];
	return s->section && !(t->versions && t->versions[i] & HIDDEN) && same(t->strings + s->name, name);
}

// modulo is %, which ARM has no instruction for: the compiler would call a function of a library.
static uint32_t modulo(uint32_t n, uint32_t by)
{
	uint32_t rest = 0;
	for (int bit = 31; bit >= 0; bit--) {
		rest = rest << 1 | (n >> bit & 1);
		if (rest >= by)
			rest -= by;
	}
	return rest;
}

#ifndef __mips__
static uint32_t find_index(const struct tables *t, const char *name)
{
	uint32_t hash = 5381, buckets = t->hash[0], first = t->hash[1], words = t->hash[2];
	for (const char *s = name; *s; s++)
		hash = hash * 33 + (unsigned char)*s;
	const uint32_t *bucket = t->hash + 4 + words * (sizeof(void *) / 4), *chain = bucket + buckets;
	uint32_t i = buckets ? bucket[modulo(hash, buckets)] : 0;
	if (i < first)
		return 0;
	for (;; i++) {
		if ((chain[i - first] | 1) == (hash | 1) && matches(t, i, name))
			return i;
		if (chain[i - first] & 1)
			return 0;
	}
}
#else // which GNU hash tables do not suit
static uint32_t find_index(const struct tables *t, const char *name)
{
	uint32_t hash = 0;
	for (const char *s = name; *s; s++) {
		hash = (hash << 4) + (unsigned char)*s;
		hash = (hash ^ (hash >> 24 & 0xf0)) & 0x0fffffff;
	}
	const uint32_t *bucket = t->hash + 2, *chain = bucket + t->hash[0];
	for (uint32_t i = t->hash[0] ? bucket[modulo(hash, t->hash[0])] : 0; i; i = chain[i])
		if (matches(t, i, name))
			return i;
	return 0;
}
#endif

static void *find(const struct object *o, const dynamic *d, const char *name)
{
	struct tables t = {0};
	for (; d->tag; d++) {
		// glibc makes most of these addresses absolute where it can write to them, others leave them relative.
		uintptr_t at = d->value < o->base ? o->base + d->value : d->value;
		switch ((uint32_t)d->tag) {
		case DT_STRTAB: t.strings = (const char *)at; break;
		case DT_SYMTAB: t.symbols = (const symbol *)at; break;
		case DT_VERSYM: t.versions = (const uint16_t *)at; break;
		case DT_HASHES: t.hash = (const uint32_t *)at; break;
		}
	}
	uint32_t i = t.strings && t.symbols && t.hash ? find_index(&t, name) : 0;
	return i ? (void *)(o->base + t.symbols[i].value) : NULL;
}

static int each(struct object *o, size_t size, void *data)
{
	struct lookup *l = data;
	const dynamic *d = NULL;
	(void)size;
	for (int i = 0; i < o->count; i++) {
		const program_header *h = &o->headers[i];
		uintptr_t start = o->base + h->vaddr;
		if (h->type == PT_DYNAMIC)
			d = (const dynamic *)start;
		if (h->type == PT_LOAD && (uintptr_t)next - start < h->memsz) {
			l->behind = true;
			return 0;
		}
	}
	if (l->behind && d)
		l->found = find(o, d, l->name);
	return l->found != NULL;
}

void *next(const char *name)
{
	struct lookup l = {name, false, NULL};
	if (&dl_iterate_phdr)
		dl_iterate_phdr(each, &l);
	return l.found;
}
