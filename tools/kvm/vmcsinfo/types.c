// SPDX-License-Identifier: GPL-2.0-only
/* The general registers of a vCPU are not in its VMCS but in KVM's own structures */
#include <dwarf.h>
#include <elfutils/libdw.h>
#include <elfutils/libdwfl.h>
#include <stdlib.h>
#include <string.h>

#include "guest.h"

/* KVM's numbers of registers */
#define REG_RSP		4
#define REG_RIP		16

/* Deeper than any type refers to another */
#define MAX_DEPTH	32

/* The type of @die without typedefs and qualifiers */
static bool type_of(Dwarf_Die *die, Dwarf_Die *type)
{
	Dwarf_Attribute attr;
	int i;

	if (!dwarf_attr_integrate(die, DW_AT_type, &attr) || !dwarf_formref_die(&attr, type))
		return false;
	for (i = 0; i < MAX_DEPTH; i++) {
		switch (dwarf_tag(type)) {
		case DW_TAG_typedef:
		case DW_TAG_const_type:
		case DW_TAG_volatile_type:
			if (!dwarf_attr_integrate(type, DW_AT_type, &attr) ||
			    !dwarf_formref_die(&attr, type))
				return false;
			break;
		default:
			return true;
		}
	}
	return false;
}

/* Add where @name is in @structure to @offset, and put its type in @type */
static bool member(Dwarf_Die *structure, const char *name, uint64_t *offset, Dwarf_Die *type)
{
	Dwarf_Attribute attr;
	Dwarf_Word where;
	Dwarf_Die die;

	if (dwarf_child(structure, &die))
		return false;
	do {
		const char *n = dwarf_diename(&die);

		if (dwarf_tag(&die) != DW_TAG_member || !n || strcmp(n, name))
			continue;
		if (!dwarf_attr_integrate(&die, DW_AT_data_member_location, &attr) ||
		    dwarf_formudata(&attr, &where))
			return false;
		*offset += where;
		return type_of(&die, type);
	} while (!dwarf_siblingof(&die, &die));
	return false;
}

static bool path(Dwarf_Die *structure, const char * const *names, uint64_t *offset)
{
	Dwarf_Die type = *structure;

	for (*offset = 0; *names; names++) {
		if (!member(&type, *names, offset, &type))
			return false;
	}
	return true;
}

static bool read_types(struct types *t, Dwarf_Die *vcpu_vmx)
{
	static const char * const vmcs01[] = { "vmcs01", NULL };
	static const char * const vmcs[] = { "vmcs01", "vmcs", NULL };
	static const char * const loaded[] = { "loaded_vmcs", NULL };
	static const char * const regs[] = { "vcpu", "arch", "regs", NULL };
	static const char * const rip[] = { "vcpu", "arch", "rip", NULL };
	static const char * const dirty[] = { "vcpu", "arch", "regs_dirty", NULL };
	static const char * const id[] = { "vcpu", "vcpu_id", NULL };
	static const char * const kvm[] = { "vcpu", "kvm", NULL };
	static const char * const root[] = { "vcpu", "arch", "root_mmu", "root", "hpa", NULL };
	static const char * const old_root[] = { "vcpu", "arch", "root_mmu", "root_hpa", NULL };
	int size = dwarf_bytesize(vcpu_vmx);

	if (size <= 0 || size > 1 << 20)
		return false;
	t->size = size;
	if (!path(vcpu_vmx, regs, &t->regs))
		return false;
	if (!path(vcpu_vmx, rip, &t->rip))
		t->rip = t->regs + REG_RIP * 8;
	t->has_root = path(vcpu_vmx, root, &t->root) || path(vcpu_vmx, old_root, &t->root);
	if (t->has_root && t->root + 8 > t->size)
		return false;
	return path(vcpu_vmx, vmcs01, &t->vmcs01) && path(vcpu_vmx, vmcs, &t->vmcs01_vmcs) &&
	       path(vcpu_vmx, loaded, &t->loaded_vmcs) && path(vcpu_vmx, kvm, &t->kvm) &&
	       path(vcpu_vmx, dirty, &t->regs_dirty) && path(vcpu_vmx, id, &t->vcpu_id) &&
	       t->vmcs01 <= t->size && t->kvm + 8 <= t->size &&
	       t->vmcs01_vmcs + 8 <= t->size && t->loaded_vmcs + 8 <= t->size &&
	       t->regs + 16 * 8 <= t->size && t->rip + 8 <= t->size &&
	       t->regs_dirty + 8 <= t->size && t->vcpu_id + 4 <= t->size;
}

void types_read(struct types *t, const char *file)
{
	static const Dwfl_Callbacks callbacks = {
		.find_elf = dwfl_build_id_find_elf,
		.find_debuginfo = dwfl_standard_find_debuginfo,
		.section_address = dwfl_offline_section_address,
	};
	Dwfl *dwfl = dwfl_begin(&callbacks);
	Dwarf_Die *unit = NULL, entry;
	Dwarf_Addr bias;
	bool found = false;

	/* It also does the relocations of modules, which are ET_REL */
	if (!dwfl || !dwfl_report_offline(dwfl, file, file, -1) ||
	    dwfl_report_end(dwfl, NULL, NULL))
		die("%s: %s", file, dwfl_errmsg(-1));
	while (!found && (unit = dwfl_nextcu(dwfl, unit, &bias))) {
		if (dwarf_child(unit, &entry))
			continue;
		do {
			const char *name = dwarf_diename(&entry);

			if (dwarf_tag(&entry) == DW_TAG_structure_type && name &&
			    !strcmp(name, "vcpu_vmx") && dwarf_haschildren(&entry) > 0)
				found = read_types(t, &entry);
		} while (!found && !dwarf_siblingof(&entry, &entry));
	}
	dwfl_end(dwfl);
	if (!found)
		die("%s: it has no debugging information with struct vcpu_vmx", file);
}

/* A VMCS by its address in the host's direct map */
struct place {
	uint64_t virtual;
	struct vmcs *vmcs;
};

struct search {
	const struct dump *dump;
	const struct types *types;
	struct place *places;
	size_t nr;
};

static int compare_place(const void *a, const void *b)
{
	const struct place *x = a, *y = b;

	return x->virtual < y->virtual ? -1 : x->virtual > y->virtual;
}

/* Most of a host's memory is unused, and much of that never was */
static bool is_zero(const uint8_t *page)
{
	uint64_t words[8], any = 0;
	size_t i;

	for (i = 0; i < 4096 && !any; i += sizeof(words)) {
		memcpy(words, page + i, sizeof(words));
		any = words[0] | words[1] | words[2] | words[3] |
		      words[4] | words[5] | words[6] | words[7];
	}
	return !any;
}

/* Whether a vcpu_vmx is there; if so, the VMCS that is loaded is @loaded */
static bool is_vcpu(const struct dump *d, const struct types *t, uint64_t start,
		    uint64_t *virtual, uint64_t *loaded)
{
	/* The VMCS that is loaded is vmcs01, or one for a nested guest */
	return dump_virtual(d, start, virtual) &&
	       dump_read(d, start + t->loaded_vmcs, loaded, 8) &&
	       *loaded >= *virtual && *loaded - *virtual < t->size;
}

/* If KVM does not keep a root, its memory may be used for anything by now */
static bool keeps_root(const struct dump *d, const struct types *t, uint64_t start,
		       const struct vmcs *v)
{
	uint64_t root;

	return v->eptp && (!t->has_root || (dump_read(d, start + t->root, &root, 8) &&
					    root == (v->eptp & ADDRESS)));
}

static void find_pointers(void *arg, uint64_t physical, const uint8_t *data, size_t size)
{
	struct search *s = arg;
	const struct types *t = s->types;
	uint64_t pointer, start, virtual, loaded;
	struct place *p;
	size_t i;

	for (i = 0; i + 8 <= size; i += 8) {
		if (!(i & 0xfff) && is_zero(data + i)) {
			i += 4096 - 8;
			continue;
		}
		memcpy(&pointer, data + i, 8);
		/* Hardly anything is a pointer to any VMCS */
		if (pointer & 0xfff || pointer >> 56 != 0xff || physical + i < t->vmcs01_vmcs)
			continue;
		p = bsearch(&(struct place) { pointer, NULL }, s->places, s->nr,
			    sizeof(*s->places), compare_place);
		start = physical + i - t->vmcs01_vmcs;
		if (!p || !is_vcpu(s->dump, t, start, &virtual, &loaded))
			continue;
		if (keeps_root(s->dump, t, start, p->vmcs))
			p->vmcs->has_root = true;
		if (p->vmcs->vcpu) {
			p->vmcs->several = true;
			p->vmcs->doubt = "several vCPUs seem to have it";
		} else {
			p->vmcs->vcpu = start;
			p->vmcs->doubt = NULL;
		}
	}
}

void vcpus_find(struct dump *d, const struct types *t, struct vmcs *v, size_t nr)
{
	struct search s = { .dump = d, .types = t, .places = allocate(nr, sizeof(*s.places)) };
	size_t i;

	for (i = 0; i < nr; i++) {
		v[i].vcpu = 0;
		v[i].several = false;
		v[i].has_root = false;
		v[i].doubt = "no vCPU has it";
		if (dump_virtual(d, v[i].physical, &s.places[s.nr].virtual))
			s.places[s.nr++].vmcs = &v[i];
	}
	qsort(s.places, s.nr, sizeof(*s.places), compare_place);
	dump_scan(d, find_pointers, &s);
	free(s.places);
}

void vcpu_read(const struct dump *d, const struct types *t, const struct vmcs *v,
	       struct vcpu *vcpu)
{
	uint64_t virtual, loaded, dirty;
	uint32_t id;

	*vcpu = (struct vcpu) {};
	if (!v->vcpu || v->several || !is_vcpu(d, t, v->vcpu, &virtual, &loaded) ||
	    !dump_read(d, v->vcpu + t->vcpu_id, &id, 4) ||
	    !dump_read(d, v->vcpu + t->kvm, &vcpu->kvm, 8) ||
	    !dump_read(d, v->vcpu + t->regs_dirty, &dirty, 8))
		return;
	vcpu->id = id;
	vcpu->has_root = keeps_root(d, t, v->vcpu, v);
	vcpu->nested = loaded != virtual + t->vmcs01;
	vcpu->known = true;
	if (vcpu->nested)
		return;
	if (!dump_read(d, v->vcpu + t->regs, vcpu->gpr, sizeof(vcpu->gpr)) ||
	    !dump_read(d, v->vcpu + t->rip, &vcpu->rip, 8)) {
		vcpu->known = false;
		return;
	}
	vcpu->rsp_changed = dirty >> REG_RSP & 1;
	vcpu->rip_changed = dirty >> REG_RIP & 1;
}
