/* SPDX-License-Identifier: GPL-2.0-only */
/* VMCSs in a dump of a host, and guests of which they are */
#ifndef VMCSINFO_GUEST_H
#define VMCSINFO_GUEST_H

#include "dump.h"
#include "layout.h"

struct vmcs {
	uint64_t physical;
	/* 0 without EPT */
	uint64_t eptp;
	uint8_t region[4096];
};

/* Where the general registers of a vCPU are in the host's memory, by its types */
struct types {
	/* In struct vcpu_vmx, of vmcs01.vmcs, loaded_vmcs, vcpu.arch.regs, vcpu.vcpu_id */
	uint64_t vmcs01_vmcs;
	uint64_t loaded_vmcs;
	uint64_t regs;
	/* Of vcpu.arch.rip; before there was such, the one after the last of regs */
	uint64_t rip;
	uint64_t regs_dirty;
	uint64_t vcpu_id;
	uint64_t size;
};

struct registers {
	bool known;
	unsigned int id;
	/* In the order of KVM's enumeration, which is that of the encoding: RAX, RCX, ... */
	uint64_t gpr[16];
	/* What is to go into the VMCS with the next VM entry, if KVM has changed it */
	bool rsp_changed, rip_changed;
	uint64_t rip;
};

/* All VMCSs in a dump, in the order of their addresses */
struct vmcs *vmcs_find(const struct dump *d, const struct layout *l, size_t *nr);

/* Of the VMCS whose region is in @v: where it is, and its EPTP if it uses EPT */
void vmcs_set(struct vmcs *v, const struct layout *l, uint64_t physical);
/* Whether @region may be a VMCS of a VM that KVM runs; if not, @why says so */
bool vmcs_plausible(const struct layout *l, const uint8_t *region, const char **why);

/* The layout in the memory of the host, where the module had it */
bool layout_find(const struct dump *d, struct layout *l);

/* Ends the program if @file has no debugging information with KVM's types */
void types_read(struct types *t, const char *file);

/* The registers of the vCPUs of @nr VMCSs */
void registers_find(const struct dump *d, const struct types *t, const struct vmcs *v,
		    struct registers *r, size_t nr);

/* Write the core of a guest, whose vCPUs are those of @v */
void core_write(const struct dump *d, const struct layout *l, const struct vmcs *v,
		const struct registers *r, size_t nr, const char *file);

#endif /* VMCSINFO_GUEST_H */
