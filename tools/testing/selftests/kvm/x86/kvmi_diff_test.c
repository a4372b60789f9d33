// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: guest programs made at random run the same with and without
 * a tool, as long as the tool allows what they do.
 */
#include <getopt.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "kvmi_program.h"
#include "kselftest.h"
#include "test_util.h"

#define R		KVMI_PAGE_ACCESS_R
#define W		KVMI_PAGE_ACCESS_W
#define X		KVMI_PAGE_ACCESS_X
#define RWX		KVMI_PAGE_ACCESS_RWX
/* As little as this host can leave */
#define LEAST		0xff

#define EVENT(name)	BIT_ULL(KVMI_VCPU_EVENT_##name)
/* Those that follow from what an instruction does. */
#define INSN_EVENTS	(EVENT(HYPERCALL) | EVENT(BREAKPOINT) | EVENT(CR) |	\
			 EVENT(TRAP) | EVENT(XSETBV) | EVENT(DESCRIPTOR) |	\
			 EVENT(MSR) | EVENT(CPUID))

/* A program that does more than this is left out. */
#define MAX_EXITS	100
#define MAX_EVENTS	3000
/*
 * An instruction of which the tool is told, and which then makes an access that
 * KVM's emulator is refused, begins anew after a signal.  It would not end with one
 * at each event.
 */
#define MAX_SIGNALS	1000
#define MAX_USECS	50000
#define SHORT_TICKS	200000
/* Ends what hangs. */
#define HANG_SECS	120

#define DR6_BS		BIT(14)

#define MAX_REPORTS	2
/* Seeds of programs that are different, named at the end */
#define MAX_SEEDS	16
#define MAX_LINES	12

struct exit {
	u64 address;
	u64 data;
	u32 reason;
	u8 size;
	bool write;
};

/* How a program ended, and what it has left */
struct result {
	u32 reason;
	/* Given up; nothing else counts. */
	bool is_long;
	bool hangs;
	u64 ticks;
	u32 nr_exits;
	bool restricted;
	struct exit exits[MAX_EXITS];
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct kvm_debugregs debugregs;
	struct kvm_fpu fpu;
	u64 msrs[KVMI_PROGRAM_NR_MSRS];
	u64 xcr0;
	u8 shadow;
	u8 mem[KVMI_PROGRAM_MEM_SIZE];
};

/* A way to run programs */
struct way {
	const char *name;
	u64 events;
	/* What is left of the access to memory, and to page tables */
	u8 access;
	u8 table_access;
	bool trap_access;
	bool step;
	bool signal;

	bool unsupported;
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpu;
	u8 *mem;
	struct kvmi_session s;
	pthread_t tool;
	sem_t interrupted;
	u64 nr_events;
	u64 seen[KVMI_NUM_EVENTS];
	u64 programs;
	u64 excepted;
	u64 given_up;
	u64 differences;
	u32 seeds[MAX_SEEDS];
	u32 nr_hang;
};

/* The first is without a tool. */
static struct way ways[] = {
	{
		.name = "none",
	},
	{
		.name = "events",
		.events = INSN_EVENTS,
		.access = RWX,
		.table_access = RWX,
	},
	{
		.name = "step",
		.step = true,
		.access = RWX,
		.table_access = RWX,
	},
	{
		.name = "fetch",
		.events = EVENT(PF),
		.access = R | W,
		.table_access = RWX,
	},
	{
		.name = "write",
		.events = EVENT(PF),
		.access = R | X,
		.table_access = RWX,
	},
	{
		.name = "pages",
		.access = LEAST,
		.table_access = RWX,
	},
	{
		.name = "trap",
		.events = EVENT(PF) | EVENT(ACCESS),
		.access = LEAST,
		.table_access = RWX,
		.trap_access = true,
	},
	{
		.name = "signal",
		.events = INSN_EVENTS | EVENT(PF),
		.access = R | X,
		.table_access = RWX,
		.signal = true,
	},
};

/* Most of what is below is about this. */
static struct kvmi_program program;
static struct result normal, other;
static struct kvm_fpu initial_fpu;
static u64 apic_base, initial_xcr0;
static pthread_t runner;
static bool alarmed;
static bool verbose, only_way;
static u64 nr_programs, nr_long, nr_ended[64];

static const u32 controlled_msrs[] = {
	MSR_STAR, MSR_LSTAR, MSR_CSTAR, MSR_SYSCALL_MASK, MSR_KERNEL_GS_BASE,
	MSR_IA32_SYSENTER_CS, MSR_IA32_SYSENTER_ESP, MSR_IA32_SYSENTER_EIP,
	MSR_IA32_CR_PAT, MSR_EFER,
};

static void on_alarm(int sig)
{
	alarmed = true;
}

static void on_signal(int sig)
{
}

static void set_alarm(u64 usecs)
{
	struct itimerval timer = {
		.it_value.tv_sec = usecs / 1000000,
		.it_value.tv_usec = usecs % 1000000,
	};

	alarmed = false;
	TEST_ASSERT(!setitimer(ITIMER_REAL, &timer, NULL), "setitimer()");
}

static void answer(struct way *way, const struct kvmi_event *ev)
{
	struct {
		struct kvmi_msg_hdr hdr;
		struct kvmi_vcpu_hdr vcpu;
		struct kvmi_vcpu_event_reply rpl;
		struct kvmi_vcpu_event_pf_reply pf;
	} msg = {
		.hdr.id = KVMI_VCPU_EVENT,
		.hdr.seq = ev->hdr.seq,
		.vcpu.vcpu = ev->common.vcpu,
		.rpl.event = ev->ev.event,
		.rpl.action = KVMI_EVENT_ACTION_ALLOW,
		.pf.flags = KVMI_PF_TRAP_ACCESS,
	};
	size_t size = sizeof(msg) - sizeof(msg.pf);

	if (way->trap_access && ev->ev.event == KVMI_VCPU_EVENT_PF &&
	    !(ev->pf.flags & KVMI_PF_NOT_EMULATED))
		size = sizeof(msg);
	msg.hdr.size = size - sizeof(msg.hdr);
	kvmi_send(&way->s, &msg, size);
}

/* Allow everything, until the session ends. */
static void *tool(void *arg)
{
	struct way *way = arg;
	struct kvmi_event ev;
	ssize_t size;

	while ((size = recv(way->s.fd, &ev, sizeof(ev), 0)) > 0) {
		TEST_ASSERT(size >= offsetof(struct kvmi_event, cr) &&
			    ev.hdr.id == KVMI_VCPU_EVENT &&
			    ev.ev.event < KVMI_NUM_EVENTS,
			    "%zd bytes, message %u", size, ev.hdr.id);
		way->seen[ev.ev.event]++;
		way->nr_events++;
		if (way->signal && way->nr_events < MAX_SIGNALS) {
			while (!sem_trywait(&way->interrupted))
				;
			pthread_kill(runner, SIGUSR1);
			/* Half of the answers find the vCPU outside of KVM_RUN. */
			if (way->nr_events & 1)
				sem_wait(&way->interrupted);
		}
		if (way->nr_events == MAX_EVENTS)
			pthread_kill(runner, SIGUSR1);
		answer(way, &ev);
	}

	return NULL;
}

/* What devices answer depends on the address alone. */
static void serve(struct kvm_run *run, struct result *res)
{
	struct exit *exit = &res->exits[res->nr_exits++];
	u32 i, size;
	u8 *data;

	memset(exit, 0, sizeof(*exit));
	exit->reason = run->exit_reason;
	if (run->exit_reason == KVM_EXIT_MMIO) {
		exit->address = run->mmio.phys_addr;
		exit->write = run->mmio.is_write;
		exit->size = run->mmio.len;
		data = run->mmio.data;
		size = run->mmio.len;
	} else {
		exit->address = run->io.port;
		exit->write = run->io.direction == KVM_EXIT_IO_OUT;
		exit->size = run->io.size;
		data = (u8 *)run + run->io.data_offset;
		size = run->io.size * run->io.count;
	}

	for (i = 0; i < size; i++) {
		if (!exit->write)
			data[i] = 0x51 + 7 * (exit->address + i % exit->size);
		exit->data = exit->data * 0x101 + data[i];
	}
}

static bool is_end(const struct kvm_run *run)
{
	return run->exit_reason == KVM_EXIT_IO &&
	       run->io.port == KVMI_PROGRAM_END_PORT &&
	       run->io.direction == KVM_EXIT_IO_OUT;
}

/* Have nothing of what KVM_RUN was about happen later. */
static void abandon(struct way *way)
{
	way->vcpu->run->immediate_exit = 1;
	__vcpu_run(way->vcpu);
	way->vcpu->run->immediate_exit = 0;
}

static void run(struct way *way, struct result *res)
{
	struct kvm_run *run = way->vcpu->run;
	u64 start;

	memset(res, 0, offsetof(struct result, exits));
	res->restricted = way->access && way->access != RWX;
	way->nr_events = 0;
	start = rdtsc();
	set_alarm(way == ways ? MAX_USECS : HANG_SECS * 1000000);
	for (;;) {
		if (__vcpu_run(way->vcpu)) {
			TEST_ASSERT(errno == EINTR, "KVM_RUN: %s",
				    strerror(errno));
			if (way->signal)
				sem_post(&way->interrupted);
			if (alarmed || way->nr_events >= MAX_EVENTS) {
				res->is_long = true;
				/* Nothing short has so many events. */
				res->hangs = alarmed || normal.ticks < SHORT_TICKS;
				break;
			}
			continue;
		}

		res->reason = run->exit_reason;
		if (is_end(run))
			break;
		if (run->exit_reason != KVM_EXIT_IO &&
		    run->exit_reason != KVM_EXIT_MMIO)
			break;
		if (res->nr_exits == MAX_EXITS) {
			res->is_long = true;
			break;
		}
		serve(run, res);
	}
	res->ticks = rdtsc() - start;
	set_alarm(0);
	abandon(way);
}

/* All of the state that a program can change */
static void reset(struct way *way)
{
	struct {
		struct kvm_msrs hdr;
		struct kvm_msr_entry entries[KVMI_PROGRAM_NR_MSRS];
	} msrs = {
		.hdr.nmsrs = KVMI_PROGRAM_NR_MSRS,
	};
	struct kvm_vcpu_events events = { .flags = KVM_VCPUEVENT_VALID_SHADOW };
	struct kvm_xcrs xcrs = { .nr_xcrs = 1, .xcrs[0].value = initial_xcr0 };
	struct kvm_vcpu *vcpu = way->vcpu;
	struct kvm_sregs sregs = program.sregs, old;
	int i;

	/* See kvmi_guest_reset(). */
	if (host_cpu_is_amd_compatible)
		sregs.tr.type = KVMI_TSS_FREE;
	sregs.apic_base = apic_base;

	memcpy(way->mem, program.mem, sizeof(program.mem));
	vcpu_events_set(vcpu, &events);
	/* KVM flushes the TLB of the guest if one of these changes. */
	vcpu_sregs_get(vcpu, &old);
	if (old.cr0 == sregs.cr0 && old.cr3 == sregs.cr3 &&
	    old.cr4 == sregs.cr4 && old.efer == sregs.efer) {
		old.cr4 ^= X86_CR4_PGE;
		vcpu_sregs_set(vcpu, &old);
	}
	vcpu_sregs_set(vcpu, &sregs);
	vcpu_regs_set(vcpu, &program.regs);
	vcpu_debugregs_set(vcpu, &program.debugregs);
	vcpu_fpu_set(vcpu, &initial_fpu);
	if (initial_xcr0)
		vcpu_xcrs_set(vcpu, &xcrs);
	for (i = 0; i < KVMI_PROGRAM_NR_MSRS; i++) {
		msrs.entries[i].index = kvmi_program_msrs[i];
		msrs.entries[i].data = program.msrs[i];
	}
	vcpu_msrs_set(vcpu, &msrs.hdr);
}

static void get_result(struct way *way, struct result *res)
{
	struct {
		struct kvm_msrs hdr;
		struct kvm_msr_entry entries[KVMI_PROGRAM_NR_MSRS];
	} msrs = {
		.hdr.nmsrs = KVMI_PROGRAM_NR_MSRS,
	};
	struct kvm_vcpu *vcpu = way->vcpu;
	struct kvm_vcpu_events events;
	struct kvm_xcrs xcrs = {};
	int i;

	vcpu_regs_get(vcpu, &res->regs);
	vcpu_sregs_get(vcpu, &res->sregs);
	vcpu_debugregs_get(vcpu, &res->debugregs);
	vcpu_fpu_get(vcpu, &res->fpu);
	vcpu_events_get(vcpu, &events);
	res->shadow = events.interrupt.shadow;
	if (initial_xcr0) {
		vcpu_xcrs_get(vcpu, &xcrs);
		res->xcr0 = xcrs.xcrs[0].value;
	}
	for (i = 0; i < KVMI_PROGRAM_NR_MSRS; i++)
		msrs.entries[i].index = kvmi_program_msrs[i];
	vcpu_msrs_get(vcpu, &msrs.hdr);
	for (i = 0; i < KVMI_PROGRAM_NR_MSRS; i++)
		res->msrs[i] = msrs.entries[i].data;
	memcpy(res->mem, way->mem, sizeof(res->mem));
}

static void execute(struct way *way, struct result *res)
{
	reset(way);
	run(way, res);
	get_result(way, res);
}

/* The state of a processor that was shut down is not defined. */
static bool is_defined(const struct result *res)
{
	return res->reason == KVM_EXIT_IO || res->reason == KVM_EXIT_HLT;
}

static bool is_prefix(u8 byte)
{
	if (kvmi_program_is_64bit(&program) && (byte & 0xf0) == 0x40)
		return true;

	return byte == 0x66 || byte == 0x67 || byte == 0xf2 || byte == 0xf3;
}

static bool is_rep_string(const u8 *code)
{
	bool rep = false;

	while (is_prefix(*code)) {
		rep |= *code == 0xf2 || *code == 0xf3;
		code++;
	}
	return rep && ((*code >= 0x6c && *code <= 0x6f) ||
		       (*code >= 0xa4 && *code <= 0xa7) ||
		       (*code >= 0xaa && *code <= 0xaf));
}

/*
 * Some programs cannot run the same in a way, for a reason that has nothing to do
 * with introspection.
 */
static bool is_excepted(const struct way *way)
{
	const struct kvmi_program_entry *e;
	bool traps = normal.debugregs.dr6 & DR6_BS;
	bool rep = false, out = false;
	u32 i;
	int nr;

	e = kvmi_program_log(normal.mem, &nr);
	for (; nr > 0; nr--, e++) {
		if (e->vector != DB_VECTOR || !(e->dr6 & DR6_BS))
			continue;
		traps = true;
		if (e->rip >= KVMI_PROGRAM_CODE && e->rip < KVMI_PROGRAM_TABLES)
			rep |= is_rep_string(program.mem + e->rip);
	}
	for (i = 0; i < normal.nr_exits; i++)
		out |= normal.exits[i].reason == KVM_EXIT_IO &&
		       normal.exits[i].write;

	/* QEMU has one trap too many at the end of a repeated instruction. */
	if (kvmi_program_on_qemu() && way->trap_access && rep)
		return true;
	/* KVM emulates hypercalls in order to patch them, not as they are. */
	if (way->trap_access && program.has_hypercall)
		return true;
	/* KVM forgets the trap of OUT if it emulates it (FIXME in x86.c). */
	return way->trap_access && traps && out;
}

struct diff {
	bool print;
	int count;
};

static void differ(struct diff *d, const char *name, int nr, u64 a, u64 b)
{
	if (a == b)
		return;
	if (d->print && d->count < MAX_LINES)
		ksft_print_msg("  %s %d: 0x%lx, normally 0x%lx\n", name, nr, b, a);
	d->count++;
}

static void print_segment(const char *name, const struct kvm_segment *seg)
{
	ksft_print_msg("  %s: selector 0x%x base 0x%llx limit 0x%x type %u s %u dpl %u\n",
		       name, seg->selector, seg->base, seg->limit, seg->type,
		       seg->s, seg->dpl);
	ksft_print_msg("    p %u l %u db %u g %u unusable %u\n", seg->present,
		       seg->l, seg->db, seg->g, seg->unusable);
}

/* The limit and the attributes of a segment that cannot be used are not defined. */
static struct kvm_segment defined_part(const struct kvm_segment *seg)
{
	if (!seg->unusable)
		return *seg;
	return (struct kvm_segment) {
		.selector = seg->selector,
		.base = seg->base,
		.unusable = 1,
	};
}

static void differ_segment(struct diff *d, const char *name,
			   const struct kvm_segment *a,
			   const struct kvm_segment *b)
{
	struct kvm_segment x = defined_part(a), y = defined_part(b);

	if (!memcmp(&x, &y, sizeof(x)))
		return;
	if (d->print && d->count < MAX_LINES) {
		print_segment(name, b);
		print_segment("    normally", a);
	}
	d->count++;
}

static void differ_exit(struct diff *d, int nr, const struct exit *a,
			const struct exit *b)
{
	differ(d, "exit: reason", nr, a->reason, b->reason);
	differ(d, "exit: address", nr, a->address, b->address);
	differ(d, "exit: size", nr, a->size, b->size);
	differ(d, "exit: write", nr, a->write, b->write);
	differ(d, "exit: data", nr, a->data, b->data);
}

/* The next exit from *@i on, only writes if so wanted; NULL if there is none */
static const struct exit *next_exit(const struct result *res, u32 *i, bool writes)
{
	while (*i < res->nr_exits && writes && !res->exits[*i].write)
		++*i;
	return *i < res->nr_exits ? &res->exits[(*i)++] : NULL;
}

/*
 * A device that an instruction reads for memory that is restricted is read once
 * more after the tool was asked, or in other pieces.
 */
static void compare_exits(struct diff *d, const struct result *a,
			  const struct result *b)
{
	const struct exit *x, *y;
	u32 i = 0, j = 0;
	int nr;

	for (nr = 0; ; nr++) {
		x = next_exit(a, &i, b->restricted);
		y = next_exit(b, &j, b->restricted);
		if (!x || !y)
			break;
		differ_exit(d, nr, x, y);
	}
	differ(d, "there is another exit", nr, !!x, !!y);
}

static void compare_sregs(struct diff *d, const struct kvm_sregs *a,
			  const struct kvm_sregs *b)
{
	static const char * const names[] = {
		"CS", "DS", "ES", "FS", "GS", "SS", "TR", "LDTR",
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(names); i++)
		differ_segment(d, names[i], &a->cs + i, &b->cs + i);
	differ(d, "gdt.base", 0, a->gdt.base, b->gdt.base);
	differ(d, "gdt.limit", 0, a->gdt.limit, b->gdt.limit);
	differ(d, "idt.base", 0, a->idt.base, b->idt.base);
	differ(d, "idt.limit", 0, a->idt.limit, b->idt.limit);
	differ(d, "cr0", 0, a->cr0, b->cr0);
	differ(d, "cr2", 0, a->cr2, b->cr2);
	differ(d, "cr3", 0, a->cr3, b->cr3);
	differ(d, "cr4", 0, a->cr4, b->cr4);
	differ(d, "cr8", 0, a->cr8, b->cr8);
	differ(d, "efer", 0, a->efer, b->efer);
}

static void compare_debugregs(struct diff *d, const struct kvm_debugregs *a,
			      const struct kvm_debugregs *b)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(a->db); i++)
		differ(d, "DR", i, a->db[i], b->db[i]);
	differ(d, "dr6", 0, a->dr6, b->dr6);
	differ(d, "dr7", 0, a->dr7, b->dr7);
}

static void compare_fpu(struct diff *d, const struct kvm_fpu *a,
			const struct kvm_fpu *b)
{
	int i;

	differ(d, "fcw", 0, a->fcw, b->fcw);
	differ(d, "fsw", 0, a->fsw, b->fsw);
	differ(d, "ftwx", 0, a->ftwx, b->ftwx);
	differ(d, "mxcsr", 0, a->mxcsr, b->mxcsr);
	for (i = 0; i < ARRAY_SIZE(a->fpr); i++)
		differ(d, "ST", i, *(u64 *)a->fpr[i], *(u64 *)b->fpr[i]);
	for (i = 0; i < ARRAY_SIZE(a->xmm); i++) {
		differ(d, "XMM, low", i, *(u64 *)a->xmm[i], *(u64 *)b->xmm[i]);
		differ(d, "XMM, high", i, *(u64 *)(a->xmm[i] + 8),
		       *(u64 *)(b->xmm[i] + 8));
	}
}

static void compare_memory(struct diff *d, const u8 *a, const u8 *b)
{
	int i;

	if (!memcmp(a, b, KVMI_PROGRAM_MEM_SIZE))
		return;
	for (i = 0; i < KVMI_PROGRAM_MEM_SIZE; i++) {
		if (a[i] == b[i])
			continue;
		if (d->print && d->count < MAX_LINES)
			ksft_print_msg("  memory 0x%x: 0x%x, normally 0x%x\n",
				       i, b[i], a[i]);
		d->count++;
	}
}

static int compare(const struct result *a, const struct result *b, bool print)
{
	static const char * const names[] = {
		"RAX", "RBX", "RCX", "RDX", "RSI", "RDI", "RSP", "RBP", "R8",
		"R9", "R10", "R11", "R12", "R13", "R14", "R15", "RIP", "RFLAGS",
	};
	struct diff diff = { .print = print }, *d = &diff;
	int i;

	differ(d, "reason", 0, a->reason, b->reason);
	compare_exits(d, a, b);
	if (is_defined(a) && is_defined(b)) {
		for (i = 0; i < ARRAY_SIZE(names); i++)
			differ(d, names[i], 0, (&a->regs.rax)[i],
			       (&b->regs.rax)[i]);
		compare_sregs(d, &a->sregs, &b->sregs);
		compare_debugregs(d, &a->debugregs, &b->debugregs);
		compare_fpu(d, &a->fpu, &b->fpu);
		for (i = 0; i < KVMI_PROGRAM_NR_MSRS; i++)
			differ(d, "MSR", kvmi_program_msrs[i], a->msrs[i],
			       b->msrs[i]);
		differ(d, "xcr0", 0, a->xcr0, b->xcr0);
		differ(d, "shadow", 0, a->shadow, b->shadow);
	}
	compare_memory(d, a->mem, b->mem);

	return d->count;
}

static void print_exception(const struct kvmi_program_entry *e)
{
	ksft_print_msg("  %lu error 0x%lx CS:RIP 0x%lx:0x%lx RFLAGS 0x%lx\n",
		       e->vector, e->error_code, e->cs, e->rip, e->rflags);
	ksft_print_msg("    SS:RSP 0x%lx:0x%lx CR2 0x%lx DR6 0x%lx\n", e->ss,
		       e->rsp, e->cr2, e->dr6);
}

static void print_log(const struct result *res, const char *name)
{
	const struct kvmi_program_entry *e;
	int i, nr;

	e = kvmi_program_log(res->mem, &nr);
	ksft_print_msg("exceptions, %s: %d\n", name, nr);
	for (i = 0; i < nr && i < KVMI_PROGRAM_LOG_MAX; i++, e++)
		print_exception(e);
}

static bool is_dropped(int insn)
{
	int i;

	for (i = program.insns[insn]; i < program.insns[insn + 1]; i++) {
		if (program.mem[program.code + i] != 0x90)
			return false;
	}
	return true;
}

static void print_program(void)
{
	const struct kvm_regs *regs = &program.regs;
	char bytes[64];
	int i, j, n;

	ksft_print_msg("RAX %llx RBX %llx RCX %llx RDX %llx RSI %llx RDI %llx\n",
		       regs->rax, regs->rbx, regs->rcx, regs->rdx, regs->rsi,
		       regs->rdi);
	ksft_print_msg("RSP %llx RBP %llx RFLAGS %llx CR0 %llx CR4 %llx EFER %llx\n",
		       regs->rsp, regs->rbp, regs->rflags, program.sregs.cr0,
		       program.sregs.cr4, program.sregs.efer);
	for (i = 0; i < program.nr_insns; i++) {
		if (is_dropped(i))
			continue;
		n = 0;
		for (j = program.insns[i]; j < program.insns[i + 1]; j++)
			n += snprintf(bytes + n, sizeof(bytes) - n, " %02x",
				      program.mem[program.code + j]);
		ksft_print_msg("  0x%lx:%s\n", program.code + program.insns[i],
			       n ? bytes : "");
	}
}

/* Is there a difference?  None with what takes too long. */
static bool differs(struct way *way)
{
	execute(&ways[0], &normal);
	if (normal.is_long || is_excepted(way))
		return false;
	execute(way, &other);
	if (other.is_long)
		return other.hangs;
	return compare(&normal, &other, false);
}

/* Leave out whatever does not matter. */
static void reduce(struct way *way)
{
	u8 saved[KVMI_PROGRAM_MAX_SIZE];
	int i;

	for (i = program.nr_insns - 1; i >= 0; i--) {
		kvmi_program_drop(&program, i, saved);
		if (!differs(way))
			kvmi_program_restore(&program, i, saved);
	}
}

static void report(struct way *way)
{
	ksft_print_msg("seed %u, way %s, mode %s: different\n", program.seed,
		       way->name, kvmi_program_mode_name(&program));
	if (verbose) {
		print_program();
		print_log(&normal, "normally");
		print_log(&other, way->name);
	}
	if (!other.hangs)
		compare(&normal, &other, true);
	ksft_print_msg("reduced:\n");
	/* That would take very long. */
	if (!other.hangs)
		reduce(way);
	if (!differs(way))
		ksft_print_msg("not when it is repeated\n");
	print_program();
	print_log(&normal, "normally");
	print_log(&other, way->name);
	if (other.hangs)
		ksft_print_msg("does not end, %lu events, RIP 0x%llx\n",
			       way->nr_events, other.regs.rip);
	else
		compare(&normal, &other, true);
}

static void run_program(u32 seed, int first, int count)
{
	int nr = ARRAY_SIZE(ways) - 1;
	struct way *way;
	int i;

	kvmi_program_make(&program, seed);
	execute(&ways[0], &normal);
	nr_programs++;
	if (normal.is_long) {
		nr_long++;
		return;
	}
	nr_ended[normal.reason % ARRAY_SIZE(nr_ended)]++;
	if (verbose) {
		print_program();
		print_log(&normal, "normally");
	}
	/* KVM cannot go on with it, be there a tool or not. */
	if (!is_defined(&normal) && normal.reason != KVM_EXIT_SHUTDOWN)
		return;

	for (i = 0; i < count; i++) {
		way = &ways[1 + (first + i * nr / count) % nr];
		/* It takes the longest, by far. */
		if (way->step && count < nr && !only_way && seed / nr % 3)
			way = &ways[1];
		if (way->unsupported)
			continue;
		if (is_excepted(way)) {
			way->excepted++;
			continue;
		}
		way->programs++;
		execute(way, &other);
		if (other.is_long && !other.hangs) {
			way->given_up++;
			continue;
		}
		if (!other.hangs && !compare(&normal, &other, false))
			continue;
		if (way->differences < MAX_SEEDS)
			way->seeds[way->differences] = seed;
		way->nr_hang += other.hangs;
		if (way->differences++ < MAX_REPORTS) {
			report(way);
			kvmi_program_make(&program, seed);
			execute(&ways[0], &normal);
		}
	}
}

static void create_vm(struct way *way)
{
	struct kvm_sregs sregs;
	struct kvm_xcrs xcrs;

	way->vm = vm_create_barebones();
	vm_userspace_mem_region_add(way->vm, VM_MEM_SRC_ANONYMOUS, 0, 0,
				    KVMI_PROGRAM_MEM_SIZE / getpagesize(), 0);
	way->mem = addr_gpa2hva(way->vm, 0);
	way->vcpu = __vm_vcpu_add(way->vm, 0);
	vcpu_init_cpuid(way->vcpu, kvm_get_supported_cpuid());
	vcpu_sregs_get(way->vcpu, &sregs);
	apic_base = sregs.apic_base;
	vcpu_fpu_get(way->vcpu, &initial_fpu);
	if (vcpu_cpuid_has(way->vcpu, X86_FEATURE_XSAVE)) {
		vcpu_xcrs_get(way->vcpu, &xcrs);
		initial_xcr0 = xcrs.xcrs[0].value;
	}
}

static int restrict_range(struct way *way, u64 begin, u64 end, u8 access)
{
	if (access == RWX)
		return 0;
	return kvmi_set_page_access(&way->s, 0, begin,
				    (end - begin) / getpagesize(), access);
}

/* What handlers execute and log would be most of what there is to do: leave it out. */
static void restrict_pages(struct way *way)
{
	if (way->access == LEAST) {
		way->access = 0;
		if (restrict_range(way, 0, KVMI_PROGRAM_COMMON, 0))
			way->access = R;
	}
	TEST_ASSERT_KVMI(restrict_range(way, 0, KVMI_PROGRAM_COMMON,
					way->access), 0);
	TEST_ASSERT_KVMI(restrict_range(way, KVMI_PROGRAM_LOG + 0x1000,
					KVMI_PROGRAM_TABLES, way->access), 0);
	TEST_ASSERT_KVMI(restrict_range(way, KVMI_PROGRAM_TABLES,
					KVMI_PROGRAM_MEM_SIZE,
					way->table_access), 0);
}

static void control(struct way *way)
{
	struct kvmi_vcpu_control_singlestep step = { .enable = 1 };
	int i;

	for (i = 0; i < KVMI_NUM_EVENTS; i++) {
		if (way->events & BIT_ULL(i))
			TEST_ASSERT_KVMI(kvmi_control_event(&way->s, 0, i, 1), 0);
	}
	if (way->events & EVENT(CR)) {
		TEST_ASSERT_KVMI(kvmi_control_cr(&way->s, 0, 0, 1), 0);
		TEST_ASSERT_KVMI(kvmi_control_cr(&way->s, 0, 3, 1), 0);
		TEST_ASSERT_KVMI(kvmi_control_cr(&way->s, 0, 4, 1), 0);
	}
	if (way->events & EVENT(MSR)) {
		for (i = 0; i < ARRAY_SIZE(controlled_msrs); i++)
			TEST_ASSERT_KVMI(kvmi_control_msr(&way->s, 0,
							  controlled_msrs[i], 1), 0);
	}
	if (way->step)
		TEST_ASSERT_KVMI(kvmi_vcpu_cmd(&way->s, 0,
					       KVMI_VCPU_CONTROL_SINGLESTEP,
					       &step, sizeof(step), NULL, 0), 0);
}

static void attach(struct way *way)
{
	struct kvmi_vm_get_features_reply features;
	struct kvmi_event pause;
	struct kvmi_runner r;
	int ret;

	kvmi_hook_type(&way->s, way->vm, SOCK_SEQPACKET);
	TEST_ASSERT_EQ(__kvmi_command(way->vm, 1, -1), 0);
	TEST_ASSERT_EQ(__kvmi_event(way->vm, 1, -1), 0);
	kvmi_get_features(&way->s, &features);
	if (way->step && !(features.flags & KVMI_FEATURE_SINGLESTEP))
		way->unsupported = true;
	if ((way->access != RWX || way->table_access != RWX) &&
	    !kvmi_has_page_access())
		way->unsupported = true;
	/* The kernel knows, too. */
	way->events &= features.events;
	if (way->unsupported)
		return;

	restrict_pages(way);
	sem_init(&way->interrupted, 0, 0);

	/* Commands are possible in this event; then any program will do. */
	kvmi_program_make(&program, 1);
	reset(way);
	kvmi_park(&r, &way->s, way->vcpu, &pause);
	control(way);
	kvmi_run_signal(&r);
	kvmi_run_wait_eintr(&r);
	kvmi_unpark(&way->s, &pause);

	ret = pthread_create(&way->tool, NULL, tool, way);
	TEST_ASSERT(!ret, "pthread_create() returned %d", ret);
	execute(way, &other);
}

static void detach(struct way *way)
{
	int ret;

	ret = __kvmi_unhook(way->vm);
	TEST_ASSERT(!ret, KVM_IOCTL_ERROR(KVM_INTROSPECTION_UNHOOK, ret));
	if (!way->unsupported)
		pthread_join(way->tool, NULL);
	kvmi_close(&way->s);
}

static void set_signals(void)
{
	struct sigaction alarm = { .sa_handler = on_alarm };
	struct sigaction usr1 = { .sa_handler = on_signal };
	sigset_t set;

	runner = pthread_self();
	TEST_ASSERT(!sigaction(SIGALRM, &alarm, NULL), "sigaction()");
	TEST_ASSERT(!sigaction(SIGUSR1, &usr1, NULL), "sigaction()");
	/* Threads inherit that alarms are not for them. */
	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
}

static void unblock_alarm(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

static int find_way(const char *name)
{
	int i;

	for (i = 1; i < ARRAY_SIZE(ways); i++) {
		if (!strcmp(ways[i].name, name))
			return i - 1;
	}
	TEST_FAIL("No way is called %s", name);
	return -1;
}

/* What was reported may be far above, and out of sight. */
static void print_differences(const struct way *way)
{
	u64 i;

	for (i = 0; i < way->differences && i < MAX_SEEDS; i++)
		ksft_print_msg("different with -s %u -n 1 -w %s\n", way->seeds[i],
			       way->name);
	if (way->nr_hang)
		ksft_print_msg("%u of them did not end\n", way->nr_hang);
}

static void print_totals(void)
{
	int i, j;

	ksft_print_msg("%lu programs, %lu of them too long\n", nr_programs,
		       nr_long);
	for (i = 0; i < ARRAY_SIZE(nr_ended); i++) {
		if (nr_ended[i])
			ksft_print_msg("ended by exit %d: %lu\n", i, nr_ended[i]);
	}
	for (i = 1; i < ARRAY_SIZE(ways); i++) {
		for (j = 0; j < KVMI_NUM_EVENTS; j++) {
			if (ways[i].seen[j])
				ksft_print_msg("%s: event %d %lu times\n",
					       ways[i].name, j,
					       ways[i].seen[j]);
		}
	}
}

static void help(const char *name)
{
	int i;

	printf("usage: %s [-s seed] [-n programs] [-w way] [-c ways] [-v]\n", name);
	printf(" -s: seed of the first program; the others' follow\n");
	printf(" -w: run all programs in this way: ");
	for (i = 1; i < ARRAY_SIZE(ways); i++)
		printf(" %s", ways[i].name);
	printf("\n -c: run each program in so many ways\n");
	printf(" -v: show the programs\n");
	exit(0);
}

int main(int argc, char **argv)
{
	int nr_ways = ARRAY_SIZE(ways) - 1, only = -1, count = 1, opt, i;
	u32 seed = 1, programs = 10000, n;

	TEST_REQUIRE(kvm_has_cap(KVM_CAP_INTROSPECTION));

	while ((opt = getopt(argc, argv, "s:n:w:c:vh")) != -1) {
		switch (opt) {
		case 's':
			seed = strtoul(optarg, NULL, 0);
			break;
		case 'n':
			programs = atoi_positive("Programs", optarg);
			break;
		case 'w':
			only = find_way(optarg);
			only_way = true;
			break;
		case 'c':
			count = atoi_positive("Ways", optarg);
			break;
		case 'v':
			verbose = true;
			break;
		default:
			help(argv[0]);
		}
	}
	count = min_t(int, count, nr_ways);

	ksft_print_header();
	ksft_set_plan(nr_ways);
	ksft_print_msg("seed %u\n", seed);
	set_signals();
	for (i = 0; i < ARRAY_SIZE(ways); i++) {
		create_vm(&ways[i]);
		if (i)
			attach(&ways[i]);
	}
	unblock_alarm();

	for (n = 0; n < programs; n++)
		run_program(seed + n, only < 0 ? (seed + n) % nr_ways : only,
			    only < 0 ? count : 1);
	print_totals();

	for (i = 1; i < ARRAY_SIZE(ways); i++) {
		detach(&ways[i]);
		if (ways[i].unsupported) {
			ksft_test_result_skip("%s\n", ways[i].name);
			continue;
		}
		ksft_print_msg("%s: %lu programs, %lu more excepted, %lu given up, %lu different\n",
			       ways[i].name, ways[i].programs, ways[i].excepted,
			       ways[i].given_up, ways[i].differences);
		print_differences(&ways[i]);
		ksft_test_result(!ways[i].differences, "%s\n", ways[i].name);
	}
	for (i = 0; i < ARRAY_SIZE(ways); i++)
		kvm_vm_free(ways[i].vm);

	ksft_finished();
}
