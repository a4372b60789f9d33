// SPDX-License-Identifier: GPL-2.0-only
/*
 * Where a Linux kernel has what in its structures, as its types say: BTF that was read
 * out of a guest, or the vmlinux of the guest's kernel, with BTF or DWARF.
 *
 * What a guest has is not to be trusted.  libbpf looks at the form of BTF, and not at
 * what members refer to: structures may contain each other, to any depth.
 */
#include <dwarf.h>
#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <string.h>
#include <unistd.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <elfutils/libdw.h>
#include "tool.h"

#define MAX_DEPTH	16	/* of structures without a name in others */
#define MAX_MEMBERS	100000	/* that are looked at for one offset */
#define MAX_OFFSET	65536	/* in a structure: more is none of Linux's */
#define UNKNOWN		UINT32_MAX

static const struct {
	const char *type, *member;
	const char *other;	/* its name in older kernels, or NULL */
} fields[NR_FIELDS] = {
	[TASK_STATE] = { "task_struct", "__state", "state" },
	[TASK_EXIT_STATE] = { "task_struct", "exit_state", NULL },
	[TASK_FLAGS] = { "task_struct", "flags", NULL },
	[TASK_TASKS] = { "task_struct", "tasks", NULL },
	[TASK_MM] = { "task_struct", "mm", NULL },
	[TASK_PID] = { "task_struct", "pid", NULL },
	[TASK_TGID] = { "task_struct", "tgid", NULL },
	[TASK_REAL_PARENT] = { "task_struct", "real_parent", NULL },
	[TASK_THREAD_NODE] = { "task_struct", "thread_node", NULL },
	[TASK_CRED] = { "task_struct", "cred", NULL },
	[TASK_COMM] = { "task_struct", "comm", NULL },
	[TASK_SIGNAL] = { "task_struct", "signal", NULL },
	[SIGNAL_NR_THREADS] = { "signal_struct", "nr_threads", NULL },
	[SIGNAL_THREAD_HEAD] = { "signal_struct", "thread_head", NULL },
	[CRED_UID] = { "cred", "uid", NULL },
	[MM_PGD] = { "mm_struct", "pgd", NULL },
};

static void forget(struct layout *l)
{
	unsigned int i;

	for (i = 0; i < NR_FIELDS; i++)
		l->at[i] = UNKNOWN;
}

static bool is_complete(const struct layout *l)
{
	unsigned int i;

	for (i = 0; i < NR_FIELDS && l->at[i] != UNKNOWN; i++)
		;
	return i == NR_FIELDS;
}

/* A member @name of @type is @offset bytes from its beginning */
static void note(struct layout *l, const char *type, const char *name, uint64_t offset)
{
	unsigned int i;

	if (offset >= MAX_OFFSET)
		return;
	for (i = 0; i < NR_FIELDS; i++)
		if (l->at[i] == UNKNOWN && !strcmp(type, fields[i].type) &&
		    (!strcmp(name, fields[i].member) ||
		     (fields[i].other && !strcmp(name, fields[i].other))))
			l->at[i] = offset;
}

static bool is_wanted(const char *type)
{
	unsigned int i;

	for (i = 0; i < NR_FIELDS && strcmp(type, fields[i].type); i++)
		;
	return i < NR_FIELDS;
}

/* ---- BTF ---- */
static void note_btf(struct layout *l, const struct btf *btf, const struct btf_type *t,
		     const char *type, uint64_t base, unsigned int depth, unsigned int *left)
{
	const struct btf_type *inner;
	const struct btf_member *m;
	uint64_t offset;
	const char *name;
	unsigned int i;

	for (i = 0; i < btf_vlen(t) && *left; i++) {
		--*left;
		m = btf_members(t) + i;
		offset = base + btf_member_bit_offset(t, i) / 8;
		name = btf__name_by_offset(btf, m->name_off);
		if (name && *name) {
			note(l, type, name, offset);
			continue;
		}
		inner = btf__type_by_id(btf, m->type);
		if (inner && btf_is_composite(inner) && depth < MAX_DEPTH)
			note_btf(l, btf, inner, type, offset, depth + 1, left);
	}
}

static void read_btf(struct layout *l, const struct btf *btf)
{
	unsigned int i, left = MAX_MEMBERS, n = btf__type_cnt(btf);
	const struct btf_type *t;
	const char *name;

	forget(l);
	/* Number 0 is void */
	for (i = 1; i < n && left && !is_complete(l); i++) {
		t = btf__type_by_id(btf, i);
		if (!t || !btf_is_struct(t))
			continue;
		name = btf__name_by_offset(btf, t->name_off);
		if (name && is_wanted(name))
			note_btf(l, btf, t, name, 0, 0, &left);
	}
}

static int say_nothing(enum libbpf_print_level level, const char *format, va_list args)
{
	(void)level;
	(void)format;
	(void)args;
	return 0;
}

/* -ENOENT if it is no BTF, or not of a kernel */
int layout_of_btf(const void *data, size_t size, struct layout *l)
{
	struct btf *btf;

	libbpf_set_print(say_nothing);
	btf = btf__new(data, size);
	if (!btf)
		return errno == ENOMEM ? -ENOMEM : -ENOENT;
	read_btf(l, btf);
	btf__free(btf);
	return is_complete(l) ? 0 : -ENOENT;
}

/* ---- DWARF ---- */
static bool offset_of(Dwarf_Die *member, uint64_t *offset)
{
	Dwarf_Attribute attr;
	Dwarf_Word value;

	/* Without one it is 0, as in a union */
	*offset = 0;
	if (dwarf_attr(member, DW_AT_data_member_location, &attr)) {
		if (dwarf_formudata(&attr, &value))
			return false;
		*offset = value;
	} else if (dwarf_attr(member, DW_AT_data_bit_offset, &attr)) {
		if (dwarf_formudata(&attr, &value))
			return false;
		*offset = value / 8;
	}
	return true;
}

/* What a member without a name is: no modifier comes before the structure */
static bool type_of(Dwarf_Die *member, Dwarf_Die *type)
{
	Dwarf_Attribute attr;

	return dwarf_attr(member, DW_AT_type, &attr) && dwarf_formref_die(&attr, type);
}

static void note_dwarf(struct layout *l, Dwarf_Die *die, const char *type, uint64_t base,
		       unsigned int depth)
{
	Dwarf_Die member, inner;
	uint64_t offset;
	const char *name;
	int err;

	for (err = dwarf_child(die, &member); !err; err = dwarf_siblingof(&member, &member)) {
		if (dwarf_tag(&member) != DW_TAG_member || !offset_of(&member, &offset))
			continue;
		name = dwarf_diename(&member);
		if (name && *name)
			note(l, type, name, base + offset);
		else if (depth < MAX_DEPTH && type_of(&member, &inner))
			note_dwarf(l, &inner, type, base + offset, depth + 1);
	}
}

static void read_dwarf(struct layout *l, Dwarf *dwarf)
{
	Dwarf_Off at = 0, next;
	Dwarf_Die unit, die;
	const char *name;
	size_t head;
	int err;

	forget(l);
	for (; !is_complete(l) && !asked_to_leave(); at = next) {
		if (dwarf_nextcu(dwarf, at, &next, &head, NULL, NULL, NULL))
			break;
		if (!dwarf_offdie(dwarf, at + head, &unit))
			continue;
		for (err = dwarf_child(&unit, &die); !err; err = dwarf_siblingof(&die, &die)) {
			if (dwarf_tag(&die) != DW_TAG_structure_type ||
			    dwarf_hasattr(&die, DW_AT_declaration))
				continue;
			name = dwarf_diename(&die);
			if (name && is_wanted(name))
				note_dwarf(l, &die, name, 0, 0);
		}
	}
}

/* ---- A vmlinux ---- */
static bool read_symbols(Elf *elf, bool (*add)(uint64_t address, const char *name))
{
	Elf_Scn *section = NULL;
	Elf_Data *data;
	GElf_Shdr head;
	const char *name;
	GElf_Sym sym;
	size_t i, n;

	do {
		section = elf_nextscn(elf, section);
		if (!section)
			return true;
	} while (!gelf_getshdr(section, &head) || head.sh_type != SHT_SYMTAB);
	data = elf_getdata(section, NULL);
	n = data && head.sh_entsize ? head.sh_size / head.sh_entsize : 0;
	for (i = 0; i < n && !asked_to_leave(); i++) {
		if (!gelf_getsym(data, i, &sym) || !sym.st_name ||
		    GELF_ST_TYPE(sym.st_info) > STT_FUNC)
			continue;
		name = elf_strptr(elf, head.sh_link, sym.st_name);
		if (name && !add(sym.st_value, name))
			return false;
	}
	return true;
}

/* Its types, if it has those that are wanted */
static void read_types(Elf *elf, const char *path, struct layout *l)
{
	struct btf *btf;
	Dwarf *dwarf;

	libbpf_set_print(say_nothing);
	btf = btf__parse_elf(path, NULL);
	if (btf)
		read_btf(l, btf);
	btf__free(btf);
	if (btf && is_complete(l))
		return;
	dwarf = dwarf_begin_elf(elf, DWARF_C_READ, NULL);
	if (!dwarf)
		return;
	read_dwarf(l, dwarf);
	dwarf_end(dwarf);
}

/*
 * The symbols of an ELF file, and the offsets if it has types: @l->known says so.
 * -ENOEXEC if it is none of a 64-bit kernel.
 */
int layout_of_vmlinux(const char *path, bool (*add)(uint64_t address, const char *name),
		      struct layout *l)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), err = -ENOEXEC;
	GElf_Ehdr head;
	Elf *elf;

	if (fd < 0)
		return -errno;
	elf_version(EV_CURRENT);
	elf = elf_begin(fd, ELF_C_READ_MMAP, NULL);
	if (elf && gelf_getehdr(elf, &head) && gelf_getclass(elf) == ELFCLASS64 &&
	    head.e_machine == EM_X86_64) {
		err = read_symbols(elf, add) ? 0 : -ENOMEM;
		forget(l);
		if (!err)
			read_types(elf, path, l);
		l->known = is_complete(l);
	}
	elf_end(elf);
	close(fd);
	return err;
}
