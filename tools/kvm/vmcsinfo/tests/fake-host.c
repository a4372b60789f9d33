// SPDX-License-Identifier: GPL-2.0-only
/*
 * fake-host [VARIANT...]: write the dump of a host that never was: 64 pages of memory,
 * with a guest in it.  Its object is what the tests read types from, too.
 */
#include <elf.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "../layout.h"

#define PAGE		4096
#define PAGES		64
/* Of larger guests: tables, and pages that each are mapped many times */
#define MORE_TABLES	300
#define MORE_PAGES	4400
#define MORE_LEAVES	70000
#define PHYSICAL	0x100000ull
#define DIRECT_MAP	0xffff888000000000ull
#define REVISION	0x12

enum {
	NOTE, VMCS, PML4, PDPT, PD, PT, GUEST0, GUEST_PML4, GUEST_PDPT, GUEST_PD, GUEST_NOTE,
	VMXON, DECOY, VCPU, GUEST_LAST,
	/* Of other guests, or of other vCPUs of this one */
	VMCS2, PML4_2, VCPU2, VMCS3, PML4_3, VCPU3, SECRET,
	/* What this guest has written into its own memory */
	EVIL_VMCS, EVIL_PML4, EVIL_PDPT, EVIL_PD, EVIL_PT, EVIL_VCPU, EVIL_NOTE, EVIL_END,
	KVM = 60, KVM2,
};

struct loaded_vmcs {
	int before;
	void *vmcs;
};

struct kvm_mmu {
	struct {
		unsigned long pgd;
		unsigned long hpa;
	} root;
};

struct kvm_vcpu_arch {
	unsigned long regs[16];
	unsigned long rip;
	unsigned long regs_dirty;
	struct kvm_mmu root_mmu;
};

struct kvm_vcpu {
	void *kvm;
	int vcpu_id;
	struct kvm_vcpu_arch arch;
};

struct vcpu_vmx {
	struct kvm_vcpu vcpu;
	struct loaded_vmcs vmcs01;
	struct loaded_vmcs *loaded_vmcs;
	struct loaded_vmcs vmcs02;
};

static char **variants;
static uint8_t memory[PAGES + MORE_TABLES + MORE_PAGES][PAGE];
static int pages = PAGES;
static struct layout layout = { .revision = REVISION, .region_size = 1024 };

static bool is(const char *variant)
{
	char **v = variants;

	while (*v && strcmp(*v, variant))
		v++;
	return *v;
}

static uint64_t physical(int page) { return PHYSICAL + page * PAGE; }
static uint64_t virtual(int page) { return DIRECT_MAP + physical(page); }

static void set_entry(int page, int i, uint64_t value)
{
	memcpy(memory[page] + 8 * i, &value, 8);
}

/* The fields of which the tool makes something, in all forms there are */
static void make_layout(void)
{
	static const uint16_t encodings[] = {
		0x0800, 0x0802, 0x0804, 0x0806, 0x0808, 0x080a, 0x080c, 0x080e, 0x201a,
		0x2800, 0x2806, 0x4002, 0x4012, 0x401e, 0x4800, 0x4802, 0x4810, 0x4812, 0x4814,
		0x4816, 0x4818, 0x6800, 0x6802, 0x6804, 0x6806, 0x680e, 0x6810, 0x6816,
		0x6818, 0x681c, 0x681e, 0x6820, 0x6c00, 0x6c02, 0x6c04, 0x6c16,
	};
	static const uint8_t sizes[] = { 2, 8, 4, 8 };
	unsigned int i;

	for (i = 0; i < sizeof(encodings) / sizeof(encodings[0]); i++) {
		struct vmcsinfo_field *f = &layout.fields[i];

		f->encoding = encodings[i];
		f->offset = 16 + 8 * i;
		f->size = sizes[encodings[i] >> 13];
		if (encodings[i] == 0x4814)
			f->layout = VMCSINFO_LAYOUT_ROTATED;
		if (encodings[i] == 0x4816) {
			f->layout = VMCSINFO_LAYOUT_PACKED;
			f->size = 2;
		}
		if (encodings[i] == GUEST_RSP || encodings[i] == GUEST_RFLAGS)
			f->layout = VMCSINFO_LAYOUT_BIG_ENDIAN;
	}
	layout.nr = i;
}

static void set_field(int page, uint32_t encoding, uint64_t value)
{
	const struct vmcsinfo_field *f = layout.fields;
	unsigned int i;

	while (f->encoding != encoding)
		f++;
	if (f->layout == VMCSINFO_LAYOUT_ROTATED)
		value = (value << 8 | value >> 24) & 0xffffffff;
	if (f->layout == VMCSINFO_LAYOUT_PACKED)
		value = (value & 0xf0ff) | (value >> 5 & 0x800);
	if (f->layout == VMCSINFO_LAYOUT_BIG_ENDIAN)
		value = __builtin_bswap64(value) >> (64 - 8 * f->size);
	for (i = 0; i < f->size; i++)
		memory[page][f->offset + i] = value >> (8 * i);
}

static void make_vmcs(int page, int pml4)
{
	memcpy(memory[page], &(uint32_t) { REVISION }, 4);
	set_field(page, 0x2800, ~0ull);
	set_field(page, EPT_POINTER, physical(pml4) | 0x1e);
	set_field(page, PRIMARY_CONTROLS, 0x80000000);
	set_field(page, SECONDARY_CONTROLS, 2);
	set_field(page, GUEST_CS_SELECTOR, 0x10);
	set_field(page, GUEST_ES_RIGHTS, 0x1c093);
	set_field(page, 0x4816, 0xa09b);
	set_field(page, GUEST_CR0, 0x80050033);
	set_field(page, GUEST_CR3, 0x1000);
	set_field(page, GUEST_CR4, 0x20);
	/* KVM leaves EFER out of it if that of the host is the same */
	set_field(page, ENTRY_CONTROLS, 0x200);
	set_field(page, GUEST_RSP, 0xffffffff80001ff0);
	set_field(page, GUEST_RIP, 0xffffffff80000123);
	set_field(page, GUEST_RFLAGS, 0x46);
	set_field(page, HOST_CR0, 0x80050033);
	set_field(page, HOST_CR3, 0x1234000);
	set_field(page, HOST_CR4, 0x2020);
	set_field(page, HOST_RIP, 0xffffffff81000000);
}

static void make_note(int page, const char *name, uint32_t type, const void *desc, size_t size)
{
	const Elf64_Nhdr h = { strlen(name) + 1, size, type };

	memcpy(memory[page], &h, sizeof(h));
	strcpy((char *)memory[page] + sizeof(h), name);
	memcpy(memory[page] + sizeof(h) + 12, desc, size);
}

static void make_layout_note(int page)
{
	struct {
		struct vmcsinfo_header header;
		struct vmcsinfo_field fields[MAX_FIELDS];
	} desc = {
		.header = { VMCSINFO_VERSION, REVISION, layout.region_size, layout.nr },
	};

	memcpy(desc.fields, layout.fields, sizeof(desc.fields));
	make_note(page, VMCSINFO_NOTE_NAME, VMCSINFO_NOTE_TYPE, &desc,
		  sizeof(desc.header) + layout.nr * sizeof(desc.fields[0]));
}

static void make_vcpu(int page, int id, int kvm, int vmcs, uint64_t root)
{
	const uint64_t at = virtual(page) + 0x100;
	struct vcpu_vmx vcpu = {};
	int i;

	vcpu.vcpu.kvm = (void *)virtual(kvm);
	vcpu.vcpu.vcpu_id = id;
	for (i = 0; i < 16; i++)
		vcpu.vcpu.arch.regs[i] = 0x1111111111111111ull * i;
	/* KVM has moved RIP on */
	vcpu.vcpu.arch.rip = 0xffffffff80000125;
	vcpu.vcpu.arch.regs_dirty = 1 << 16;
	vcpu.vcpu.arch.root_mmu.root.hpa = root;
	vcpu.vmcs01.vmcs = (void *)virtual(vmcs);
	if (is("nested") && page == VCPU)
		vcpu.loaded_vmcs = (void *)(at + offsetof(struct vcpu_vmx, vmcs02));
	else
		vcpu.loaded_vmcs = (void *)(at + offsetof(struct vcpu_vmx, vmcs01));
	/* And a pointer that is just the same */
	memcpy(memory[page] + 0x20, &vcpu.vmcs01.vmcs, 8);
	memcpy(memory[page] + 0x100, &vcpu, sizeof(vcpu));
}

/* A guest whose memory is in many places, with holes or without */
static void make_large(void)
{
	int i, guest, data = PAGES + MORE_TABLES;

	pages = PAGES + MORE_TABLES + MORE_PAGES;
	for (i = 0; i < MORE_LEAVES; i++) {
		guest = is("holes") ? 2 * i : i;
		set_entry(PD, 1 + guest / 512, physical(PAGES + guest / 512) | 7);
		set_entry(PAGES + guest / 512, guest % 512,
			  physical(data + i * 7 % MORE_PAGES) | 0x837);
	}
}

/* More mappings than are made segments of: tables full of the first page */
static void make_mappings(void)
{
	const int tables = 2200, first = 512;
	int i, j, page;

	pages = PAGES + MORE_TABLES + MORE_PAGES;
	for (i = 0; i < tables; i++) {
		page = PAGES + MORE_TABLES + i;
		set_entry(PD, 1 + i / 512, physical(PAGES + i / 512) | 7);
		set_entry(PAGES + i / 512, i % 512, physical(page) | 0x837);
		for (j = 0; j < 512; j++)
			set_entry(page, j, 3);
		/* The guest's own directories are the next ones */
		page = PAGES + MORE_TABLES + tables + i / 512;
		set_entry(PAGES + (tables + i / 512) / 512, (tables + i / 512) % 512,
			  physical(page) | 0x837);
		set_entry(page, i % 512, ((uint64_t)(first + i) << 12) | 3);
		set_entry(GUEST_PDPT, i / 512, ((uint64_t)(first + tables + i / 512) << 12) | 3);
	}
}

static void make_evil(void)
{
	int i, j;

	for (i = EVIL_VMCS; i < EVIL_END; i++)
		set_entry(PT, 8 + i - EVIL_VMCS, physical(i) | 0x837);
	strcpy((char *)memory[SECRET], "another guest's secret");
	if (is("decoy") || is("forged") || is("forged-twice")) {
		make_vmcs(EVIL_VMCS, EVIL_PML4);
		set_entry(EVIL_PML4, 0, physical(EVIL_PDPT) | 7);
		set_entry(EVIL_PDPT, 0, physical(EVIL_PD) | 7);
		set_entry(EVIL_PD, 0, physical(EVIL_PT) | 7);
		set_entry(EVIL_PT, 0, physical(SECRET) | 0x837);
	}
	/* The VMCS of the guest itself is not to say whose memory it is */
	if (is("forged-twice"))
		make_vcpu(GUEST_LAST, 3, KVM, VMCS, 0);
	if (is("forged") || is("forged-twice"))
		make_vcpu(EVIL_VCPU, 0, KVM, EVIL_VMCS, physical(EVIL_PML4));
	/* EPTs that have no end, and come before that of the guest itself */
	for (i = 0; i < (is("forged-loops") ? 3 : 0); i++) {
		static const int vmcs[] = { EVIL_VMCS, EVIL_PD, EVIL_PT };
		static const int vcpus[] = { EVIL_VCPU, EVIL_NOTE, GUEST_LAST };
		static const int roots[] = { GUEST0, GUEST_PD, GUEST_NOTE };

		make_vmcs(vmcs[i], roots[i]);
		make_vcpu(vcpus[i], 0, KVM2, vmcs[i], physical(roots[i]));
		for (j = 0; j < 512; j++) {
			set_entry(roots[i], j, physical(GUEST_PML4) | 7);
			set_entry(GUEST_PML4, j, physical(GUEST_PDPT) | 7);
			set_entry(GUEST_PDPT, j, physical(EVIL_END) | 7);
		}
	}
	if (is("same-note"))
		make_layout_note(EVIL_NOTE);
	if (is("other-note")) {
		layout.fields[5].offset += 512;
		make_layout_note(EVIL_NOTE);
	}
	/* EPT with many times the same table, of huge pages that are no memory */
	for (i = 1; i < (is("endless") ? 512 : is("elsewhere") ? 40 : 0); i++)
		set_entry(PML4, i, physical(EVIL_PDPT) | 7);
	for (i = 0; i < (is("endless") || is("elsewhere") ? 512 : 0); i++)
		set_entry(EVIL_PDPT, i, 0x4000000087);
	/* The guest's own page tables, likewise; and a map of themselves */
	if (is("guest-endless")) {
		for (i = 256; i < 300; i++)
			set_entry(GUEST_PML4, i, (8 + EVIL_PDPT - EVIL_VMCS) << 12 | 3);
		for (i = 0; i < 512; i++)
			set_entry(EVIL_PDPT, i, 0x4000000083);
		set_entry(GUEST_PML4, 300, 0x1003);
	}
}

static void make_others(void)
{
	int i;

	if (is("two-guests") || is("roots")) {
		make_vmcs(VMCS2, PML4_2);
		make_vcpu(VCPU2, 1, is("roots") ? KVM : KVM2, VMCS2, physical(PML4_2));
		set_entry(PML4_2, 0, is("roots") ? 0 : physical(PDPT) | 7);
	}
	/* A root that KVM has freed, and that is of something else now */
	if (is("roots")) {
		make_vmcs(VMCS3, PML4_3);
		make_vcpu(VCPU3, 2, KVM, VMCS3, ~0ull);
		for (i = 0; i < 4; i++)
			set_entry(PML4_3, i, physical(PDPT) | 7);
	}
}

static void make_memory(void)
{
	static const char info[] = "OSRELEASE=7.3.fake\nSYMBOL(init_task)=0\n";
	int i;

	make_layout_note(NOTE);
	make_vmcs(VMCS, is("forged-loops") ? PML4_2 : PML4);
	/*
	 * The same revision and nothing else, and a VMCS that can't be one, with EPT
	 * off and a pointer to it that is left
	 */
	memcpy(memory[VMXON], &(uint32_t) { REVISION }, 4);
	make_vmcs(DECOY, PML4);
	set_field(DECOY, GUEST_RFLAGS, 0);
	set_field(DECOY, SECONDARY_CONTROLS, 0);

	set_entry(is("forged-loops") ? PML4_2 : PML4, 0, physical(PDPT) | 7);
	set_entry(PDPT, 0, physical(PD) | 7);
	set_entry(PD, 0, physical(PT) | 7);
	for (i = 0; i < 5; i++)
		set_entry(PT, i, physical(GUEST0 + i) | 0x837);
	/* One page that KVM has made inaccessible for a while, and MMIO */
	set_entry(PT, 5, physical(GUEST_LAST) | 0x800);
	set_entry(PT, 6, 0x80000000000fe006);
	strcpy((char *)memory[GUEST0] + 0x123, "the guest's code");
	strcpy((char *)memory[GUEST_LAST], "the guest's last page");
	set_entry(GUEST_PML4, 511, 0x2000 | 3);
	set_entry(GUEST_PDPT, 510, 0x3000 | 3);
	set_entry(GUEST_PD, 0, 0x83);
	make_note(GUEST_NOTE, "VMCOREINFO", 0, info, sizeof(info) - 1);
	make_vcpu(is("forged-twice") ? VCPU2 : VCPU, 3, KVM, VMCS,
		  physical(is("forged-loops") ? PML4_2 : PML4));
	make_others();
	if (is("scattered") || is("holes"))
		make_large();
	else if (is("mappings"))
		make_mappings();
	else if (*variants)
		make_evil();
}

int main(int argc, char **argv)
{
	const Elf64_Ehdr e = {
		.e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, 1 },
		.e_type = ET_CORE, .e_machine = EM_X86_64, .e_version = 1,
		.e_phoff = sizeof(e), .e_ehsize = sizeof(e),
		.e_phentsize = sizeof(Elf64_Phdr), .e_phnum = 4,
	};
	/* First and last page of the segments */
	static const int whole[3][2] = { { 0, 31 }, { 32, 40 }, { 41, PAGES - 1 } };
	static const int overlap[3][2] = { { 0, GUEST_LAST - 1 }, { 9, GUEST_LAST },
					   { VMCS2, PAGES - 1 } };
	static const int overlap_larger[3][2] = { { 0, 20 }, { 8, 50 }, { 49, PAGES - 1 } };
	Elf64_Phdr p[4] = { { .p_type = PT_NOTE, .p_offset = 512, .p_filesz = 20 } };
	static const struct {
		Elf64_Nhdr h;
		char name[8];
	} other = { { 5, 0, 1 }, "CORE" };
	uint8_t head[PAGE] = {};
	int i, first, last;

	(void)argc;
	variants = argv + 1;
	make_layout();
	make_memory();
	for (i = 0; i < 3; i++) {
		const int (*s)[2] = is("overlap") ? overlap :
				    is("overlap-larger") ? overlap_larger : whole;

		first = s[i][0];
		last = s[i][1] == PAGES - 1 ? pages - 1 : s[i][1];
		p[1 + i] = (Elf64_Phdr) {
			.p_type = PT_LOAD, .p_offset = (1 + first) * PAGE,
			.p_paddr = physical(first), .p_vaddr = virtual(first),
			.p_filesz = (last - first + 1) * PAGE,
			.p_memsz = (last - first + 1) * PAGE,
		};
	}
	memcpy(head, &e, sizeof(e));
	memcpy(head + sizeof(e), p, sizeof(p));
	memcpy(head + 512, &other, sizeof(other));
	return fwrite(head, PAGE, 1, stdout) != 1 ||
	       fwrite(memory, PAGE, pages, stdout) != (size_t)pages;
}
