/* SPDX-License-Identifier: GPL-2.0-only */
/* VMCSs in a dump of a host, and guests of which they are */
#ifndef VMCSINFO_GUEST_H
#define VMCSINFO_GUEST_H

#include "dump.h"
#include "layout.h"

/* Of an entry of a page table */
#define ADDRESS		0xffffffffff000ull

struct vmcs {
	uint64_t physical;
	/* 0 without EPT */
	uint64_t eptp;
	/* By vcpus_find(): where in memory the vcpu_vmx is that has it, 0 if none */
	uint64_t vcpu;
	/* There are more; for one of all KVM keeps the root of that EPT */
	bool several, has_root;
	/* And why it may not be what KVM runs a guest with, NULL if nothing is known */
	const char *doubt;
};

/* Where in struct vcpu_vmx of the host is what the tool makes something of */
struct types {
	/* vmcs01, vmcs01.vmcs, loaded_vmcs, vcpu.kvm, vcpu.vcpu_id, vcpu.arch.regs */
	uint64_t vmcs01;
	uint64_t vmcs01_vmcs;
	uint64_t loaded_vmcs;
	uint64_t kvm;
	uint64_t vcpu_id;
	uint64_t regs;
	/* Of vcpu.arch.rip; before there was such, the one after the last of regs */
	uint64_t rip;
	uint64_t regs_dirty;
	/* vcpu.arch.root_mmu.root.hpa, if there is such */
	bool has_root;
	uint64_t root;
	uint64_t size;
};

struct vcpu {
	/* Without types, or if no vCPU has the VMCS, nothing of it is */
	bool known;
	unsigned int id;
	/* Of its VM, by the host's virtual addresses */
	uint64_t kvm;
	/* Whether the EPTP is of a root that KVM keeps */
	bool has_root;
	/* It runs a guest of its guest, and the registers are those of that */
	bool nested;
	/* In the order of KVM's enumeration, which is that of the encoding: RAX, RCX, ... */
	uint64_t gpr[16];
	/* What is to go into the VMCS with the next VM entry, if KVM has changed it */
	bool rsp_changed, rip_changed;
	uint64_t rip;
};

/* The vCPUs of which a core is made, and the EPTPs of their guest */
struct guest {
	size_t nr;
	struct vmcs *vmcs;
	struct vcpu *vcpus;
	size_t nr_eptps;
	uint64_t *eptps;
};

/* All VMCSs in a dump, in the order of their addresses */
struct vmcs *vmcs_find(struct dump *d, const struct layout *l, size_t *nr);

/* The region of a VMCS; false if it is not in the dump */
bool vmcs_read(const struct dump *d, uint64_t physical, uint8_t *region);
/* Of the VMCS whose region that is: where it is, and its EPTP if it uses EPT */
void vmcs_set(struct vmcs *v, const struct layout *l, uint64_t physical,
	      const uint8_t *region);
/* Whether @region may be a VMCS of a VM that KVM runs; if not, @why says so */
bool vmcs_plausible(const struct layout *l, const uint8_t *region, const char **why);

/*
 * The layout in the memory of the host, where the module had it.  Ends the program if
 * there are different ones.
 */
bool layout_find(struct dump *d, struct layout *l);

/* Ends the program if @file has no debugging information with KVM's types */
void types_read(struct types *t, const char *file);

/* Have all of @v, sorted by their addresses, say which vcpu_vmx has them */
void vcpus_find(struct dump *d, const struct types *t, struct vmcs *v, size_t nr);
void vcpu_read(const struct dump *d, const struct types *t, const struct vmcs *v,
	       struct vcpu *vcpu);

/*
 * The guest whose VMCSs are at @addresses, or the only one; @t may be NULL.  Ends the
 * program if it can't be told, or if there is a doubt and no @force.
 */
void guest_select(struct guest *g, struct dump *d, const struct layout *l,
		  const struct types *t, const uint64_t *addresses, size_t nr, bool force);
void guest_free(struct guest *g);

/* Add a doubt to those of @v that are in the memory of a guest of another one */
void vmcs_check_owner(const struct dump *d, const struct types *t, struct vmcs *v, size_t nr);

struct ept {
	/* What it maps: as much as is in the dump, and what isn't */
	uint64_t memory, missing;
	uint64_t tables, tables_missing;
};

bool eptp_ok(uint64_t eptp);
/*
 * Have @visit, which may be NULL, look at all memory that is in the dump, by ascending
 * guest addresses.  Returns what is wrong, NULL if nothing.
 */
const char *ept_walk(const struct dump *d, uint64_t eptp, struct ept *ept,
		     void (*visit)(void *arg, uint64_t guest, uint64_t host, uint64_t size),
		     void *arg);

/* Write the core of a guest */
void core_write(const struct dump *d, const struct layout *l, const struct guest *g,
		const char *file);

#endif /* VMCSINFO_GUEST_H */
