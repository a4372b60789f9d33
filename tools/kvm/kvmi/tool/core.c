// SPDX-License-Identifier: GPL-2.0-only
/*
 * What an ELF core of the guest has in front of its memory: the program headers, one for
 * each range of memory by physical address and one for each piece of it that the kernel
 * has mapped; the registers of the vCPUs; VMCOREINFO; and how the core was made.
 */
#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/procfs.h>
#undef PAGE_SIZE	/* the host's */
#include "tool.h"

/* With those of memory, fewer than e_phnum can count */
#define MAX_MAPPINGS	32000
#define MAX_RANGES	32000
#define MSR_KERNEL_GS	0xc0000102
#define CPL(sregs)	((sregs)->ss.dpl)

/* What QEMU adds to dumps of its guests: those registers that have no place elsewhere */
struct qemu_segment {
	uint32_t selector, limit, flags, pad;
	uint64_t base;
};

struct qemu_cpu {
	uint32_t version, size;
	uint64_t rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp;
	uint64_t r8, r9, r10, r11, r12, r13, r14, r15;
	uint64_t rip, rflags;
	struct qemu_segment cs, ds, es, fs, gs, ss, ldt, tr, gdt, idt;
	uint64_t cr[5];
	uint64_t kernel_gs_base;
};

struct notes {
	char *data;
	size_t size;
	bool no_memory;
};

struct maps {
	const struct image *image;
	Elf64_Phdr *p;
	unsigned int n;
	bool cut;
};

static void add_note(struct notes *notes, const char *name, uint32_t type, const void *desc,
		     size_t size)
{
	const size_t name_size = strlen(name) + 1, name_room = (name_size + 3) & ~3ul;
	const size_t room = sizeof(Elf64_Nhdr) + name_room + ((size + 3) & ~3ul);
	const Elf64_Nhdr h = { name_size, size, type };
	char *p = realloc(notes->data, notes->size + room);

	if (!p) {
		notes->no_memory = true;
		return;
	}
	notes->data = p;
	p += notes->size;
	notes->size += room;
	memset(p, 0, room);
	memcpy(p, &h, sizeof(h));
	memcpy(p + sizeof(h), name, name_size);
	memcpy(p + sizeof(h) + name_room, desc, size);
}

static struct qemu_segment segment(const struct kvm_segment *s)
{
	return (struct qemu_segment){
		.selector = s->selector, .limit = s->limit, .base = s->base,
		/* As in a descriptor */
		.flags = s->type << 8 | s->s << 12 | s->dpl << 13 | s->present << 15 |
			 s->avl << 20 | s->l << 21 | s->db << 22 | s->g << 23,
	};
}

static void add_cpu(struct notes *notes, unsigned int vcpu, const struct kvm_regs *g,
		    const struct kvm_sregs *s, uint64_t kernel_gs)
{
	struct elf_prstatus status = { .pr_pid = vcpu + 1 };
	/* In the order of struct user_regs_struct; that of a system call is not known */
	const unsigned long long regs[] = {
		g->r15, g->r14, g->r13, g->r12, g->rbp, g->rbx, g->r11, g->r10, g->r9, g->r8,
		g->rax, g->rcx, g->rdx, g->rsi, g->rdi, -1ull, g->rip, s->cs.selector,
		g->rflags, g->rsp, s->ss.selector, s->fs.base, s->gs.base, s->ds.selector,
		s->es.selector, s->fs.selector, s->gs.selector,
	};
	const struct qemu_cpu q = {
		.version = 1, .size = sizeof(q),
		.rax = g->rax, .rbx = g->rbx, .rcx = g->rcx, .rdx = g->rdx, .rsi = g->rsi,
		.rdi = g->rdi, .rsp = g->rsp, .rbp = g->rbp, .r8 = g->r8, .r9 = g->r9,
		.r10 = g->r10, .r11 = g->r11, .r12 = g->r12, .r13 = g->r13, .r14 = g->r14,
		.r15 = g->r15, .rip = g->rip, .rflags = g->rflags,
		.cs = segment(&s->cs), .ds = segment(&s->ds), .es = segment(&s->es),
		.fs = segment(&s->fs), .gs = segment(&s->gs), .ss = segment(&s->ss),
		.ldt = segment(&s->ldt), .tr = segment(&s->tr),
		.gdt = { .limit = s->gdt.limit, .base = s->gdt.base },
		.idt = { .limit = s->idt.limit, .base = s->idt.base },
		.cr = { s->cr0, 0, s->cr2, s->cr3, s->cr4 },
		.kernel_gs_base = kernel_gs,
	};

	_Static_assert(sizeof(regs) == sizeof(status.pr_reg), "registers of a core");
	memcpy(status.pr_reg, regs, sizeof(regs));
	add_note(notes, "CORE", NT_PRSTATUS, &status, sizeof(status));
	add_note(notes, "QEMU", 0, &q, sizeof(q));
}

/* Of a vCPU that the guest has not started all registers are zero */
static int read_cpus(struct tool *tool, struct image *image, struct notes *notes,
		     struct kint_registers *kernel, bool *has_kernel)
{
	static const uint32_t msr = MSR_KERNEL_GS;
	struct kint_registers regs;
	uint64_t kernel_gs;
	unsigned int i;
	int err;

	*has_kernel = false;
	for (i = 0; i < tool->vcpus; i++) {
		kernel_gs = 0;
		err = kint_get_registers(tool->conn, i, &regs, &msr, &kernel_gs, 1);
		/* A processor without 64-bit mode */
		if (err == -EINVAL)
			err = kint_get_registers(tool->conn, i, &regs, NULL, NULL, 0);
		if (err == -EAGAIN) {
			memset(&regs, 0, sizeof(regs));
			err = 0;
			image->not_started++;
		}
		if (err)
			return err;
		add_cpu(notes, i, &regs.regs, &regs.sregs, kernel_gs);
		/* In 64-bit mode with paging; best one whose kernel runs */
		if (!(regs.sregs.cr0 >> 31 & 1) || !(regs.sregs.efer >> 10 & 1))
			continue;
		if (!*has_kernel || (CPL(&kernel->sregs) && !CPL(&regs.sregs)))
			*kernel = regs;
		*has_kernel = true;
	}
	return 0;
}

static int add_mapping(void *arg, const struct mapping *m)
{
	uint64_t gva = m->gva, gpa = m->gpa, left = m->size, offset, size;
	struct maps *maps = arg;
	Elf64_Phdr *p;

	for (; left; gva += size, gpa += size, left -= size) {
		/* No memory, to the end of this mapping for all that matters */
		if (!image_offset(maps->image, gpa, &offset, &size))
			return 0;
		size = size < left ? size : left;
		p = maps->n ? &maps->p[maps->n - 1] : NULL;
		if (p && p->p_vaddr + p->p_memsz == gva && p->p_offset + p->p_filesz == offset &&
		    p->p_paddr + p->p_memsz == gpa) {
			p->p_filesz += size;
			p->p_memsz += size;
			continue;
		}
		if (maps->n == MAX_MAPPINGS) {
			maps->cut = true;
			return -E2BIG;
		}
		maps->p[maps->n++] = (Elf64_Phdr){
			.p_type = PT_LOAD, .p_flags = PF_R | PF_W | PF_X, .p_offset = offset,
			.p_vaddr = gva, .p_paddr = gpa, .p_filesz = size, .p_memsz = size,
		};
	}
	return 0;
}

/* The kernel's image first, then what else is in the upper half of its addresses */
static int read_maps(struct tool *tool, struct maps *maps, struct kvm_sregs *sregs)
{
	int err;

	err = kernel_tables(tool, sregs);
	if (!err)
		err = walk_pages_once(tool, sregs, KERNEL_MAP, ~0ull, add_mapping, maps);
	if (!err)
		err = walk_pages_once(tool, sregs, UPPER_HALF, KERNEL_MAP - 1, add_mapping, maps);
	if (err != -E2BIG)
		return err;
	maps->cut = true;
	return 0;
}

/* A line for whoever finds the core later */
static void add_origin(struct tool *tool, const struct image *image, struct notes *notes)
{
	char text[200], name[sizeof(((struct kint_peer *)0)->name)], *c;
	int n;

	/* It is somebody else's, and there are programs that show notes as they are */
	snprintf(name, sizeof(name), "%s", kint_peer_info(tool->conn)->name);
	for (c = name; *c; c++)
		if (*c < 0x20 || *c > 0x7e)
			*c = '?';
	n = snprintf(text, sizeof(text), "VM=%s\nSTATE=%s\n", name,
		     image->running ? "running: memory and registers are not of one moment" :
		     "paused");
	add_note(notes, "KVMI", 0, text, n);
}

/* image->head, with offsets of memory as in @image; core_place() makes them final */
int core_head(struct tool *tool, struct image *image)
{
	struct maps maps = { .image = image };
	struct notes notes = { 0 };
	struct kint_registers kernel;
	Elf64_Ehdr *e;
	Elf64_Phdr *p;
	bool has_kernel;
	unsigned int i;
	int err;

	if (image->nparts > MAX_RANGES)
		return -EPROTO;
	maps.p = calloc(MAX_MAPPINGS, sizeof(*maps.p));
	if (!maps.p)
		return -ENOMEM;
	err = read_cpus(tool, image, &notes, &kernel, &has_kernel);
	if (!err && has_kernel)
		err = read_maps(tool, &maps, &kernel.sregs);
	if (image->vmcoreinfo)
		add_note(&notes, "VMCOREINFO", 0, image->vmcoreinfo, strlen(image->vmcoreinfo));
	add_origin(tool, image, &notes);
	image->mappings = maps.n;
	image->cut = maps.cut;
	image->head_size = sizeof(*e) + (1 + image->nparts + maps.n) * sizeof(*p) + notes.size;
	image->head = err ? NULL : calloc(1, image->head_size);
	if (!err && (!image->head || notes.no_memory))
		err = -ENOMEM;
	if (err)
		goto out;
	e = (Elf64_Ehdr *)image->head;
	*e = (Elf64_Ehdr){
		.e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB,
			     EV_CURRENT },
		.e_type = ET_CORE, .e_machine = EM_X86_64, .e_version = EV_CURRENT,
		.e_phoff = sizeof(*e), .e_ehsize = sizeof(*e), .e_phentsize = sizeof(*p),
		.e_phnum = 1 + image->nparts + maps.n,
	};
	p = (Elf64_Phdr *)(e + 1);
	*p++ = (Elf64_Phdr){
		.p_type = PT_NOTE, .p_offset = image->head_size - notes.size,
		.p_filesz = notes.size,
	};
	for (i = 0; i < image->nparts; i++)
		*p++ = (Elf64_Phdr){
			.p_type = PT_LOAD, .p_flags = PF_R | PF_W | PF_X,
			.p_offset = image->parts[i].offset, .p_paddr = image->parts[i].gpa,
			.p_filesz = image->parts[i].size, .p_memsz = image->parts[i].size,
		};
	memcpy(p, maps.p, maps.n * sizeof(*p));
	memcpy(p + maps.n, notes.data, notes.size);
out:
	free(notes.data);
	free(maps.p);
	return err;
}

void core_place(struct image *image)
{
	Elf64_Ehdr *e = (Elf64_Ehdr *)image->head;
	Elf64_Phdr *p = (Elf64_Phdr *)(e + 1);
	uint64_t left;
	unsigned int i;

	for (i = 1; i < e->e_phnum; i++)
		image_offset(image, p[i].p_paddr, (uint64_t *)&p[i].p_offset, &left);
}
