// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: ALLOW is for the access that was asked about
 *
 * An instruction that touches several restricted pages raises an event for each of
 * them, and whatever else happens before it is over is restricted as ever.
 */
#include <pthread.h>

#include "kvmi_test_harness.h"
#include "kvmi_guest.h"
#include "kvmi_view.h"

#define PAGE		4096ul

#define R		KVMI_PAGE_ACCESS_R
#define W		KVMI_PAGE_ACCESS_W
#define X		KVMI_PAGE_ACCESS_X

/* Pages of their own: what RSI, RDI and RSP point to */
#define SOURCE		0xd000
#define TARGET		0xe000
#define STACK_TOP	0xf800
/* An interrupt */
#define IRQ_VECTOR	0x30
/* RSI and RDI are this far behind the beginning of their pages. */
#define OFFSET		0x100

#define MAX_PFS		4

/**
 * struct pf - a PF event that is to come, in whichever order
 * @gpa: page of the access
 * @access: the access
 */
struct pf {
	u64 gpa;
	u8 access;
};

FIXTURE(kvmi_grant) {
	struct kvmi_guest g;
};

/*
 * @rdi: if it does not point to TARGET
 * @xfeatures: if it is one of the XSAVE family, which KVM's emulator does not know
 */
FIXTURE_VARIANT(kvmi_grant) {
	const char *code;
	size_t size;
	struct pf pfs[MAX_PFS];
	u64 rdi;
	u64 xfeatures;
};

#define CODE(bytes)	.code = bytes, .size = sizeof(bytes) - 1

FIXTURE_VARIANT_ADD(kvmi_grant, movsq) {
	CODE("\x48\xa5"),
	.pfs = { { SOURCE, R }, { TARGET, W } },
};

FIXTURE_VARIANT_ADD(kvmi_grant, cmpsq) {
	CODE("\x48\xa7"),
	.pfs = { { SOURCE, R }, { TARGET, R } },
};

/* PUSH [RSI] */
FIXTURE_VARIANT_ADD(kvmi_grant, push) {
	CODE("\xff\x36"),
	.pfs = { { SOURCE, R }, { STACK_TOP & -PAGE, W } },
};

/* POP [RDI] */
FIXTURE_VARIANT_ADD(kvmi_grant, pop) {
	CODE("\x8f\x07"),
	.pfs = { { STACK_TOP & -PAGE, R }, { TARGET, W } },
};

/* CALL [RSI] */
FIXTURE_VARIANT_ADD(kvmi_grant, call) {
	CODE("\xff\x16"),
	.pfs = { { SOURCE, R }, { STACK_TOP & -PAGE, W } },
};

/* ENTER 8, 2: copies a frame pointer from where RBP points to */
FIXTURE_VARIANT_ADD(kvmi_grant, enter) {
	CODE("\xc8\x08\x00\x02"),
	.pfs = { { SOURCE, R }, { STACK_TOP & -PAGE, W } },
};

/* FXSAVE [RDI] over the end of a page */
FIXTURE_VARIANT_ADD(kvmi_grant, fxsave) {
	CODE("\x0f\xae\x07"),
	.pfs = { { SOURCE, W }, { TARGET, W } },
	.rdi = TARGET - 0x80,
};

/* XSAVE [RDI], with the end of a page in the registers of x87 */
FIXTURE_VARIANT_ADD(kvmi_grant, xsave) {
	CODE("\x0f\xae\x27"),
	.pfs = { { SOURCE, W }, { TARGET, W } },
	.rdi = TARGET - 0x80,
	.xfeatures = XFEATURE_MASK_FP | XFEATURE_MASK_SSE,
};

/* The same, with the header in the second page */
FIXTURE_VARIANT_ADD(kvmi_grant, xsave_header) {
	CODE("\x0f\xae\x27"),
	.pfs = { { SOURCE, W }, { TARGET, W } },
	.rdi = TARGET - 0x200,
	.xfeatures = XFEATURE_MASK_FP | XFEATURE_MASK_SSE,
};

/* XRSTOR [RDI] */
FIXTURE_VARIANT_ADD(kvmi_grant, xrstor) {
	CODE("\x0f\xae\x2f"),
	.pfs = { { SOURCE, R }, { TARGET, R } },
	.rdi = TARGET - 0x80,
	.xfeatures = XFEATURE_MASK_FP | XFEATURE_MASK_SSE,
};

/* MOV [RDI], RAX over the end of a page */
FIXTURE_VARIANT_ADD(kvmi_grant, mov) {
	CODE("\x48\x89\x07"),
	.pfs = { { SOURCE, W }, { TARGET, W } },
	.rdi = TARGET - 3,
};

/* The code itself is in one of the pages. */
FIXTURE_VARIANT_ADD(kvmi_grant, code) {
	CODE("\x48\x89\x07"),
	.pfs = { { KVMI_GUEST_CODE, X }, { TARGET, W } },
};

/* Reads, fetches and writes */
FIXTURE_VARIANT_ADD(kvmi_grant, code_movsq) {
	CODE("\x48\xa5"),
	.pfs = { { KVMI_GUEST_CODE, X }, { SOURCE, R }, { TARGET, W } },
};

/*
 * MOV SS, [RDI], PUSHF and POPF: KVM may emulate them to execute them alone, and
 * leaves what it is denied to hardware.
 */
FIXTURE_VARIANT_ADD(kvmi_grant, code_mov_ss) {
	CODE("\x8e\x17"),
	.pfs = { { KVMI_GUEST_CODE, X }, { TARGET, R } },
};

FIXTURE_VARIANT_ADD(kvmi_grant, code_pushf) {
	CODE("\x9c"),
	.pfs = { { KVMI_GUEST_CODE, X }, { STACK_TOP & -PAGE, W } },
};

FIXTURE_VARIANT_ADD(kvmi_grant, code_popf) {
	CODE("\x9d"),
	.pfs = { { KVMI_GUEST_CODE, X }, { STACK_TOP & -PAGE, R } },
};

static void put(struct kvmi_guest *g, u64 gpa, u64 val)
{
	memcpy(g->start.mem + gpa, &val, sizeof(val));
}

FIXTURE_SETUP(kvmi_grant)
{
	struct kvmi_guest *g = &self->g;
	struct kvm_regs *regs = &g->start.regs;

	if (!kvmi_has_page_access())
		SKIP(return, "Needs the TDP MMU");
	if (variant->xfeatures && !kvm_cpu_has(X86_FEATURE_XSAVE))
		SKIP(return, "Needs XSAVE");

	kvmi_guest_create(g, KVMI_GUEST_LONG);
	regs->rax = 0x1122334455667788;
	if (variant->xfeatures) {
		g->start.xcr0 = variant->xfeatures;
		regs->rax = variant->xfeatures;
		/* Which of them XRSTOR loads, from what is 0 else */
		put(g, variant->rdi + 512, variant->xfeatures);
	}
	regs->rsi = SOURCE + OFFSET;
	regs->rdi = variant->rdi ? : TARGET + OFFSET;
	regs->rsp = STACK_TOP;
	regs->rbp = SOURCE + OFFSET;
	/* Where CALL goes to */
	put(g, SOURCE + OFFSET, KVMI_GUEST_CODE + variant->size);
	put(g, SOURCE + OFFSET - 8, 0x5566);
	/* What MOV SS loads */
	put(g, TARGET + OFFSET, KVMI_GUEST_KERNEL_DS);
	/* POPF loads it: RFLAGS.TF is clear. */
	put(g, STACK_TOP, 0x7088);

	__kvmi_guest_code(g, (const u8 *)variant->code, variant->size);
	kvmi_guest_run_normally(g);
	TEST_ASSERT_EQ(g->normal_vector, KVMI_GUEST_NO_EXCEPTION);
}

FIXTURE_TEARDOWN(kvmi_grant)
{
	kvmi_guest_free(&self->g);
}

/* Take from each page what the instruction needs, and no more if that can be. */
static void restrict_pages(struct _test_data_kvmi_grant *self,
			   const struct _fixture_variant_kvmi_grant *variant)
{
	const struct pf *pf;

	for (pf = variant->pfs; pf->access; pf++) {
		u8 access = pf->access == R ? 0 : (R | W | X) & ~pf->access;

		kvmi_guest_restrict(&self->g, pf->gpa, access);
	}
}

static int find(const struct _fixture_variant_kvmi_grant *variant,
		const struct kvmi_event *ev)
{
	int i;

	for (i = 0; variant->pfs[i].access; i++) {
		if (variant->pfs[i].gpa == (ev->pf.gpa & -PAGE) &&
		    variant->pfs[i].access == ev->pf.access)
			return i;
	}
	TEST_FAIL("PF of 0x%llx, access %u", ev->pf.gpa, ev->pf.access);
}

static int nr_pfs(const struct _fixture_variant_kvmi_grant *variant)
{
	int nr = 0;

	while (variant->pfs[nr].access)
		nr++;

	return nr;
}

/* Answer ALLOW to all events of the instruction but the last one. */
static void allow_but_last(struct _test_data_kvmi_grant *self,
			   const struct _fixture_variant_kvmi_grant *variant,
			   struct kvmi_event *ev)
{
	struct kvmi_guest *g = &self->g;
	unsigned int seen = 0;
	int i, nr = nr_pfs(variant);

	restrict_pages(self, variant);
	kvmi_guest_start(g, KVMI_VCPU_EVENT_PF, ev);
	for (i = 0; ; i++) {
		int n = find(variant, ev);

		TEST_ASSERT(!(seen & BIT(n)), "PF of 0x%llx, access %u, once more",
			    ev->pf.gpa, ev->pf.access);
		seen |= BIT(n);
		TEST_ASSERT_EQ(ev->common.arch.regs.rip, KVMI_GUEST_CODE);
		TEST_ASSERT_EQ(ev->pf.flags, i ? KVMI_PF_AGAIN : 0);
		TEST_ASSERT(!memcmp(addr_gpa2hva(g->vm, ev->pf.gpa & -PAGE),
				    g->start.mem + (ev->pf.gpa & -PAGE), PAGE),
			    "The page at 0x%llx has changed", ev->pf.gpa & -PAGE);
		if (i == nr - 1)
			break;
		kvmi_reply(&g->s, ev, KVMI_EVENT_ACTION_ALLOW);
		kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_PF, ev);
	}
}

/* Answer ALLOW to the events of an instruction that begins anew, the first with @flags. */
static void allow_all(struct _test_data_kvmi_grant *self,
		      const struct _fixture_variant_kvmi_grant *variant, u8 flags)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;
	int i, nr = nr_pfs(variant);

	for (i = 0; i < nr; i++) {
		kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_PF, &ev);
		TEST_ASSERT_EQ(ev.common.arch.regs.rip, KVMI_GUEST_CODE);
		TEST_ASSERT_EQ(ev.pf.flags, i ? KVMI_PF_AGAIN : flags);
		kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	}
}

/* The instruction that ends the program may be fetched from a restricted page. */
static void stop_normally(struct _test_data_kvmi_grant *self,
			  const struct _fixture_variant_kvmi_grant *variant,
			  u64 rip)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	if (variant->pfs[0].access == X) {
		kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_PF, &ev);
		TEST_ASSERT_EQ(ev.pf.access, X);
		TEST_ASSERT_EQ(ev.pf.flags, 0);
		TEST_ASSERT_EQ(ev.common.arch.regs.rip, rip);
		kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	}
}

KVMI_TEST(kvmi_grant, allow)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	allow_but_last(self, variant, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	stop_normally(self, variant, g->end);
	kvmi_guest_stop_normally(g);
}

/* What may be written may be so before the rest is asked about. */
static void forget_allowed(struct _test_data_kvmi_grant *self,
			   const struct _fixture_variant_kvmi_grant *variant,
			   u64 refused)
{
	struct kvmi_guest *g = &self->g;
	const struct pf *pf;

	for (pf = variant->pfs; pf->access; pf++) {
		if (pf->access == W && pf->gpa != (refused & -PAGE))
			memcpy(g->state.mem + pf->gpa, g->start.mem + pf->gpa, PAGE);
	}
}

/* The consent to the others ends with the instruction. */
KVMI_TEST(kvmi_grant, skip_last)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	allow_but_last(self, variant, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);
	if (variant->xfeatures) {
		/* Nobody knows where it ends. */
		allow_all(self, variant, KVMI_PF_NOT_EMULATED);
		kvmi_guest_stop_normally(g);
		return;
	}
	stop_normally(self, variant, g->end);
	TEST_ASSERT_EQ(kvmi_guest_stop(g), KVMI_GUEST_NO_EXCEPTION);
	g->state.regs.rip = g->start.regs.rip;
	forget_allowed(self, variant, ev.pf.gpa);
	kvmi_guest_compare(&g->state, &g->start);
}

/* RETRY begins anew: nothing is allowed any more. */
KVMI_TEST(kvmi_grant, retry_last)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	allow_but_last(self, variant, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_RETRY);
	allow_all(self, variant, 0);
	stop_normally(self, variant, g->end);
	kvmi_guest_stop_normally(g);
}

/* The answer comes when KVM_RUN has returned, and is for the same question. */
KVMI_TEST(kvmi_grant, interrupted)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	allow_but_last(self, variant, &ev);
	kvmi_run_signal(&g->r);
	kvmi_run_wait_eintr(&g->r);
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	stop_normally(self, variant, g->end);
	kvmi_guest_stop_normally(g);
}

/* The guest has to ask for all of it again, as after a RETRY that is there in time. */
KVMI_TEST(kvmi_grant, retry_interrupted)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	allow_but_last(self, variant, &ev);
	kvmi_run_signal(&g->r);
	kvmi_run_wait_eintr(&g->r);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_RETRY);
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	allow_all(self, variant, 0);
	stop_normally(self, variant, g->end);
	kvmi_guest_stop_normally(g);
}

KVMI_TEST(kvmi_grant, event_off)
{
	struct kvmi_guest *g = &self->g;

	restrict_pages(self, variant);
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	kvmi_guest_stop_normally(g);
}

/* Two vCPUs: one accesses a page, the other one has something else done meanwhile. */
static union {
	struct {
		u64 *page;
		u64 *pte;
		u64 *other;
	};
	u8 bytes[PAGE];
} shared __aligned(PAGE);

/* The bytes of MOV [RDI], RSI and RET */
static u8 code_page[2 * PAGE] __aligned(PAGE);
static const u8 store_and_return[] = { 0x48, 0x89, 0x37, 0xc3 };

static void guest_access(void)
{
	for (;;) {
		GUEST_SYNC(0);
		asm volatile("call *%2" : : "D"(READ_ONCE(shared.page)), "S"(1ul),
			     "r"(code_page) : "memory", "rax");
	}
}

enum other_op {
	NOTHING,
	CHANGE_PTE,
	CHANGE_CODE,
};

static void guest_other(u64 op)
{
	switch (op) {
	case CHANGE_PTE:
		*shared.pte += PAGE;
		break;
	case CHANGE_CODE:
		/* MOV [RDI + 4096], RSI; RET */
		memcpy(shared.other, "\x48\x89\xb7\x00\x10\x00\x00\xc3", 8);
		break;
	}
	GUEST_DONE();
}

FIXTURE(kvmi_grant_smp) {
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpus[2];
	struct kvmi_session s;
	struct kvmi_runner r;
	u64 gpas[2];
	u64 *hvas[2];
};

/* Where the guest finds page tables and code once more */
#define PTE_GVA		0x60000000ul
#define CODE_GVA	0x60001000ul

FIXTURE_SETUP(kvmi_grant_smp)
{
	gva_t page;
	u64 *pte;
	u64 gpa;
	int i;

	if (!kvmi_has_page_access())
		SKIP(return, "Needs the TDP MMU");

	self->vm = vm_create_with_vcpus(1, guest_access, self->vcpus);
	self->vcpus[1] = vm_vcpu_add(self->vm, 1, guest_other);
	page = vm_alloc_pages(self->vm, 2);
	for (i = 0; i < 2; i++) {
		self->gpas[i] = addr_gva2gpa(self->vm, page + i * PAGE);
		self->hvas[i] = addr_gva2hva(self->vm, page + i * PAGE);
	}
	TEST_ASSERT_EQ(self->gpas[1], self->gpas[0] + PAGE);
	memcpy(addr_gva2hva(self->vm, (gva_t)code_page), store_and_return,
	       sizeof(store_and_return));

	pte = vm_get_pte(self->vm, page);
	gpa = addr_hva2gpa(self->vm, pte);
	virt_map(self->vm, PTE_GVA, gpa & -PAGE, 1);
	virt_map(self->vm, CODE_GVA, addr_gva2gpa(self->vm, (gva_t)code_page), 1);
	write_guest_global(self->vm, shared.page, (u64 *)page);
	write_guest_global(self->vm, shared.pte,
			   (u64 *)(PTE_GVA + (gpa & (PAGE - 1))));
	write_guest_global(self->vm, shared.other, (u64 *)CODE_GVA);
	kvmi_hook(&self->s, self->vm);
}

FIXTURE_TEARDOWN(kvmi_grant_smp)
{
	kvmi_unhook(&self->s);
	kvm_vm_free(self->vm);
}

static void restrict_page(struct _test_data_kvmi_grant_smp *self, u64 gpa, u8 access)
{
	TEST_ASSERT_KVMI(kvmi_set_page_access(&self->s, 0, gpa & -PAGE, 1, access), 0);
}

/* Have the first vCPU ask. */
static void start(struct _test_data_kvmi_grant_smp *self, struct kvmi_event *ev)
{
	struct ucall uc;

	kvmi_run_to_sync(&self->s, self->vcpus[0], &uc);
	kvmi_park(&self->r, &self->s, self->vcpus[0], ev);
	TEST_ASSERT_KVMI(kvmi_control_event(&self->s, 0, KVMI_VCPU_EVENT_PF, 1), 0);
	kvmi_unpark(&self->s, ev);
	kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_PF, ev);
}

/* Let the second vCPU do something. */
static void run_other(struct _test_data_kvmi_grant_smp *self, enum other_op op)
{
	struct ucall uc;

	vcpu_args_set(self->vcpus[1], 1, (u64)op);
	vcpu_run(self->vcpus[1]);
	TEST_ASSERT_EQ(get_ucall(self->vcpus[1], &uc), UCALL_DONE);
}

/*
 * Allow a write to the first page after the second vCPU has made it one to the second
 * page: that is asked about as well.
 */
static void allow_another(struct _test_data_kvmi_grant_smp *self, enum other_op op,
			  struct kvmi_event *ev)
{
	restrict_page(self, self->gpas[0], R | X);
	restrict_page(self, self->gpas[1], R | X);
	start(self, ev);
	TEST_ASSERT_EQ(ev->pf.gpa, self->gpas[0]);
	run_other(self, op);
	kvmi_reply(&self->s, ev, KVMI_EVENT_ACTION_ALLOW);

	kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_PF, ev);
	TEST_ASSERT_EQ(ev->pf.gpa, self->gpas[1]);
	TEST_ASSERT_EQ(ev->pf.access, W);
	TEST_ASSERT_EQ(*self->hvas[1], 0);
}

/* The page is another one by the time the answer comes. */
KVMI_TEST(kvmi_grant_smp, pte)
{
	struct kvmi_event ev;
	struct ucall uc;

	allow_another(self, CHANGE_PTE, &ev);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_SKIP);
	kvmi_run_wait_sync(&self->r, &uc);
	TEST_ASSERT_EQ(*self->hvas[0], 0);
	TEST_ASSERT_EQ(*self->hvas[1], 0);
}

/* The instruction is another one by the time the answer comes. */
KVMI_TEST(kvmi_grant_smp, code)
{
	struct kvmi_event ev;
	struct ucall uc;

	allow_another(self, CHANGE_CODE, &ev);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_run_wait_sync(&self->r, &uc);
	TEST_ASSERT_EQ(*self->hvas[0], 0);
	TEST_ASSERT_EQ(*self->hvas[1], 1);
}

/* The code is in a page with no X; what it writes to is no part of that consent. */
KVMI_TEST(kvmi_grant_smp, execute)
{
	struct kvmi_event ev;
	struct ucall uc;
	u64 gpa = addr_gva2gpa(self->vm, (gva_t)code_page);

	restrict_page(self, gpa, R | W);
	restrict_page(self, self->gpas[0], R | X);
	start(self, &ev);
	TEST_ASSERT_EQ(ev.pf.gpa & -PAGE, gpa);
	TEST_ASSERT_EQ(ev.pf.access, X);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_PF, &ev);
	TEST_ASSERT_EQ(ev.pf.gpa, self->gpas[0]);
	TEST_ASSERT_EQ(ev.pf.access, W);
	TEST_ASSERT_EQ(ev.pf.flags, KVMI_PF_AGAIN);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_SKIP);
	/* RET */
	kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_PF, &ev);
	TEST_ASSERT_EQ(ev.pf.access, X);
	TEST_ASSERT_EQ(ev.pf.flags, 0);
	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_run_wait_sync(&self->r, &uc);
	TEST_ASSERT_EQ(*self->hvas[0], 0);
}

/* Something is delivered to the guest before the instruction that may write. */
FIXTURE(kvmi_grant_event) {
	struct kvmi_guest g;
};

FIXTURE_SETUP(kvmi_grant_event)
{
	struct kvmi_guest *g = &self->g;

	if (!kvmi_has_page_access())
		SKIP(return, "Needs the TDP MMU");

	kvmi_guest_create(g, KVMI_GUEST_LONG);
	g->start.regs.rax = 1;
	g->start.regs.rdi = TARGET;
	g->start.regs.rsp = STACK_TOP;
	g->stack = STACK_TOP;
	/* MOV [RDI], RAX */
	kvmi_guest_code(g, "\x48\x89\x07");
	kvmi_guest_restrict(g, TARGET, R | X);
	kvmi_guest_restrict(g, STACK_TOP, R | X);
}

FIXTURE_TEARDOWN(kvmi_grant_event)
{
	kvmi_guest_free(&self->g);
}

/* What the exception pushes is asked about, and comes before the instruction. */
static void stop_in_handler(struct kvmi_guest *g, struct kvmi_event *ev)
{
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_PF, ev);
	TEST_ASSERT_EQ(ev->pf.gpa & -PAGE, STACK_TOP & -PAGE);
	TEST_ASSERT_EQ(ev->pf.access, W);
	TEST_ASSERT_EQ(ev->pf.flags, KVMI_PF_DELIVERY);
	kvmi_reply(&g->s, ev, KVMI_EVENT_ACTION_ALLOW);
	TEST_ASSERT_EQ(kvmi_guest_stop(g), GP_VECTOR);
	TEST_ASSERT_EQ(g->state.mem[TARGET], 0);
}

KVMI_TEST(kvmi_grant_event, tool)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	kvmi_guest_start(g, KVMI_VCPU_EVENT_PF, &ev);
	TEST_ASSERT_EQ(ev.pf.gpa, TARGET);
	TEST_ASSERT_KVMI(kvmi_inject(&g->s, 0, GP_VECTOR, 0, 0), 0);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_TRAP, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	stop_in_handler(g, &ev);
}

KVMI_TEST(kvmi_grant_event, vmm)
{
	struct kvmi_guest *g = &self->g;
	struct kvm_vcpu_events events;
	struct kvmi_event ev;

	kvmi_guest_start(g, KVMI_VCPU_EVENT_PF, &ev);
	TEST_ASSERT_EQ(ev.pf.gpa, TARGET);
	kvmi_run_signal(&g->r);
	kvmi_run_wait_eintr(&g->r);
	vcpu_events_get(g->vcpu, &events);
	events.exception.injected = 1;
	events.exception.nr = GP_VECTOR;
	events.exception.has_error_code = 1;
	events.exception.error_code = 0;
	vcpu_events_set(g->vcpu, &events);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	stop_in_handler(g, &ev);
}

/*
 * What was granted to an instruction in one view is not there for another one that gets
 * to that view when it has begun: the page tables are those of before.
 */
KVMI_TEST(kvmi_grant_event, other_view)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;
	u64 flushes;
	u16 view;

	if (kvmi_set_page_access(&g->s, 0, SOURCE, 2, X))
		SKIP(return, "Reading cannot be taken away");
	kvmi_guest_restrict(g, STACK_TOP, R | W | X);
	kvmi_guest_restrict(g, KVMI_GUEST_DATA, R | X);

	g->start.regs.rdi = KVMI_GUEST_DATA;
	g->start.regs.rsi = SOURCE + PAGE - 4;
	/* MOV [RDI], AL; CPUID; MOVSQ */
	kvmi_guest_code(g, "\x88\x07\x0f\xa2\x48\xa5");
	kvmi_guest_reset(g);

	kvmi_guest_park(g, &ev);
	view = kvmi_new_view(&g->s, 0);
	TEST_ASSERT_KVMI(kvmi_set_page_access(&g->s, view, SOURCE, 2, R | W | X), 0);
	TEST_ASSERT_KVMI(kvmi_set_view(&g->s, 0, view), 0);
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, KVMI_VCPU_EVENT_PF, 1), 0);
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, KVMI_VCPU_EVENT_CPUID, 1), 0);
	kvmi_unpark(&g->s, &ev);

	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_PF, &ev);
	TEST_ASSERT_EQ(ev.pf.gpa, KVMI_GUEST_DATA);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_CPUID, &ev);
	kvmi_reply_flags(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW, KVMI_REPLY_SET_VIEW, 0);

	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_PF, &ev);
	TEST_ASSERT_EQ(ev.pf.gpa & -PAGE, SOURCE);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_PF, &ev);
	TEST_ASSERT_EQ(ev.pf.gpa & -PAGE, SOURCE + PAGE);
	TEST_ASSERT_EQ(ev.pf.flags, KVMI_PF_AGAIN);
	flushes = vcpu_get_stat(g->vcpu, tlb_flush);
	kvmi_reply_flags(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW, KVMI_REPLY_SET_VIEW, view);

	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_PF, &ev);
	TEST_ASSERT_EQ(ev.pf.gpa, KVMI_GUEST_DATA);
	TEST_ASSERT_EQ(ev.pf.access, W);
	TEST_ASSERT_EQ(ev.common.arch.view, view);
	/* Emulated processors may forget more than others. */
	TEST_ASSERT(vcpu_get_stat(g->vcpu, tlb_flush) > flushes, "Not flushed");
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	TEST_ASSERT_EQ(kvmi_guest_stop(g), KVMI_GUEST_NO_EXCEPTION);
}

/*
 * Nor may what was granted be used there: the view has another page at one of the
 * addresses, which its page tables have since the instruction before.
 */
KVMI_TEST(kvmi_grant_event, other_view_and_page)
{
	struct kvmi_guest *g = &self->g;
	u64 other = STACK_TOP & -PAGE;
	struct kvmi_event ev;
	u64 at = SOURCE + PAGE - 4;
	u16 view;

	g->start.regs.rax = 0x1122334455667788;
	g->start.regs.rdi = KVMI_GUEST_DATA;
	g->start.regs.rsi = at;
	/* MOVSQ; CPUID, which is skipped; MOV [RSI - 8], RAX */
	kvmi_guest_code(g, "\x48\xa5\x0f\xa2\x48\x89\x46\xf8");
	kvmi_guest_reset(g);
	kvmi_guest_restrict(g, other, R | W | X);

	kvmi_guest_park(g, &ev);
	view = kvmi_new_view(&g->s, 0);
	TEST_ASSERT_KVMI(kvmi_set_page_access(&g->s, view, SOURCE, 2, R | W | X), 0);
	TEST_ASSERT_KVMI(kvmi_set_page_access(&g->s, view, KVMI_GUEST_DATA, 1, R | X), 0);
	TEST_ASSERT_KVMI(kvmi_change_gfn(&g->s, view, SOURCE, other), 0);
	TEST_ASSERT_KVMI(kvmi_set_page_access(&g->s, 0, SOURCE, 2, R | X), 0);
	TEST_ASSERT_KVMI(kvmi_set_view(&g->s, 0, view), 0);
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, KVMI_VCPU_EVENT_PF, 1), 0);
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, KVMI_VCPU_EVENT_CPUID, 1), 0);
	kvmi_unpark(&g->s, &ev);

	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_PF, &ev);
	TEST_ASSERT_EQ(ev.pf.gpa, KVMI_GUEST_DATA);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_CPUID, &ev);
	kvmi_reply_flags(&g->s, &ev, KVMI_EVENT_ACTION_SKIP, KVMI_REPLY_SET_VIEW, 0);

	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_PF, &ev);
	TEST_ASSERT_EQ(ev.pf.gpa & -PAGE, SOURCE);
	TEST_ASSERT_EQ(ev.pf.flags, 0);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_PF, &ev);
	TEST_ASSERT_EQ(ev.pf.gpa & -PAGE, SOURCE + PAGE);
	TEST_ASSERT_EQ(ev.pf.flags, KVMI_PF_AGAIN);
	kvmi_reply_flags(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW, KVMI_REPLY_SET_VIEW, view);

	/* The first access is asked about in that view as well. */
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_PF, &ev);
	TEST_ASSERT_EQ(ev.pf.gpa & -PAGE, SOURCE);
	TEST_ASSERT_EQ(ev.pf.access, W);
	TEST_ASSERT_EQ(ev.common.arch.view, view);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	TEST_ASSERT_EQ(kvmi_guest_stop(g), KVMI_GUEST_NO_EXCEPTION);
	TEST_ASSERT_EQ(*(u64 *)(g->state.mem + at), g->start.regs.rax);
	TEST_ASSERT_EQ(*(u64 *)(g->state.mem + other + PAGE - 8), 0);
}

/*
 * The tool has the guest write somewhere else than to memory that cannot be written:
 * that is done, and not what the VMM would do for the old address.
 */
KVMI_TEST(kvmi_grant_event, registers_and_read_only_slot)
{
	u64 gpa = 0x400000, gva = KVMI_GUEST_UNMAPPED;
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;
	struct kvm_regs regs;

	vm_userspace_mem_region_add(g->vm, VM_MEM_SRC_ANONYMOUS, gpa, 1, 1,
				    KVM_MEM_READONLY);
	kvmi_guest_map(g, g->start.mem, gva, gpa, KVMI_GUEST_PTE);
	g->start.regs.rdi = gva;
	kvmi_guest_reset(g);
	kvmi_guest_restrict(g, TARGET, R | W | X);
	kvmi_guest_restrict(g, gpa, R | X);
	kvmi_guest_start(g, KVMI_VCPU_EVENT_PF, &ev);
	TEST_ASSERT_EQ(ev.pf.gpa, gpa);
	regs = ev.common.arch.regs;
	regs.rdi = TARGET;
	TEST_ASSERT_KVMI(kvmi_set_registers(&g->s, 0, &regs), 0);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	TEST_ASSERT_EQ(kvmi_guest_stop(g), KVMI_GUEST_NO_EXCEPTION);
	TEST_ASSERT_EQ(g->state.mem[TARGET], 1);
}

/* A fetch is not granted any more if KVM cannot emulate what is fetched. */
KVMI_TEST(kvmi_grant_event, fetch_not_emulated)
{
	struct kvmi_vcpu_event_pf_reply trap = { .flags = KVMI_PF_TRAP_ACCESS };
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	/* FLD1 across two pages; RET */
	memcpy(g->start.mem + SOURCE + PAGE - 1, "\xd9\xe8\xc3", 3);
	g->start.regs.rsi = SOURCE + PAGE - 1;
	/* CALL RSI */
	kvmi_guest_code(g, "\xff\xd6");
	kvmi_guest_reset(g);
	kvmi_guest_restrict(g, STACK_TOP, R | W | X);
	kvmi_guest_restrict(g, SOURCE, R | W);
	kvmi_guest_restrict(g, TARGET, R | W);

	kvmi_guest_start(g, KVMI_VCPU_EVENT_PF, &ev);
	TEST_ASSERT_EQ(ev.pf.gpa & -PAGE, SOURCE);
	TEST_ASSERT_EQ(ev.pf.access, X);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_PF, &ev);
	TEST_ASSERT_EQ(ev.pf.gpa & -PAGE, TARGET);
	TEST_ASSERT_EQ(ev.pf.access, X);
	TEST_ASSERT_EQ(ev.pf.flags, KVMI_PF_AGAIN);
	kvmi_reply_data(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW, &trap, sizeof(trap));
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_PF, &ev);
	TEST_ASSERT_EQ(ev.pf.gpa & -PAGE, TARGET);
	TEST_ASSERT_EQ(ev.common.arch.regs.rip, SOURCE + PAGE - 1);
	TEST_ASSERT_EQ(ev.pf.flags, KVMI_PF_AGAIN | KVMI_PF_NOT_EMULATED);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_PF, &ev);
	TEST_ASSERT_EQ(ev.common.arch.regs.rip, TARGET + 1);
	TEST_ASSERT_EQ(ev.pf.flags, 0);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	TEST_ASSERT_EQ(kvmi_guest_stop(g), KVMI_GUEST_NO_EXCEPTION);
}

/* An NMI that is not delivered does not keep the next one from being so. */
KVMI_TEST(kvmi_grant_event, nmi)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	kvmi_guest_count_nmis(g);
	kvmi_guest_reset(g);
	kvmi_guest_restrict(g, TARGET, R | X);
	kvmi_guest_restrict(g, STACK_TOP, R | X);
	vcpu_ioctl(g->vcpu, KVM_NMI, NULL);
	kvmi_guest_start(g, KVMI_VCPU_EVENT_PF, &ev);
	TEST_ASSERT_EQ(ev.pf.gpa & -PAGE, STACK_TOP & -PAGE);
	TEST_ASSERT_EQ(ev.pf.flags, KVMI_PF_DELIVERY);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);

	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_PF, &ev);
	TEST_ASSERT_EQ(ev.pf.gpa, TARGET);
	kvmi_run_signal(&g->r);
	kvmi_run_wait_eintr(&g->r);
	vcpu_ioctl(g->vcpu, KVM_NMI, NULL);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);
	kvmi_run_start(&g->r, &g->s, g->vcpu);

	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_PF, &ev);
	TEST_ASSERT_EQ(ev.pf.gpa & -PAGE, STACK_TOP & -PAGE);
	TEST_ASSERT_EQ(ev.pf.flags, KVMI_PF_DELIVERY);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	/* What counts them, and the instruction */
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_PF, &ev);
	TEST_ASSERT_EQ(ev.pf.gpa, TARGET);
	TEST_ASSERT(ev.common.arch.regs.rip != KVMI_GUEST_CODE, "No NMI");
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_PF, &ev);
	TEST_ASSERT_EQ(ev.common.arch.regs.rip, KVMI_GUEST_CODE);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);
	TEST_ASSERT_EQ(kvmi_guest_stop(g), KVMI_GUEST_NO_EXCEPTION);
	TEST_ASSERT_EQ(g->state.mem[TARGET], 1);
}

static const struct {
	const char *code;
	size_t size;
} ints[] = {
	/* INT 0x80; INT3, also with a prefix */
	{ "\xcd\x80", 2 },
	{ "\xcc", 1 },
	{ "\x2e\xcc", 2 },
};

/* INT n, INT3 and INTO are instructions: SKIP moves RIP past them. */
KVMI_TEST(kvmi_grant_event, skip_int)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;
	int i;

	for (i = 0; i < ARRAY_SIZE(ints); i++) {
		__kvmi_guest_code(g, (const u8 *)ints[i].code, ints[i].size);
		kvmi_guest_start(g, KVMI_VCPU_EVENT_PF, &ev);
		TEST_ASSERT_EQ(ev.pf.gpa & -PAGE, STACK_TOP & -PAGE);
		TEST_ASSERT_EQ(ev.pf.flags, KVMI_PF_DELIVERY);
		TEST_ASSERT_EQ(ev.common.arch.regs.rip, KVMI_GUEST_CODE);
		kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);
		kvmi_guest_stop_unchanged(g);
	}
}

/* And they are not done where the tool has the guest go on. */
KVMI_TEST(kvmi_grant_event, int_elsewhere)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;
	struct kvm_regs regs;
	int i;

	for (i = 0; i < ARRAY_SIZE(ints); i++) {
		__kvmi_guest_code(g, (const u8 *)ints[i].code, ints[i].size);
		kvmi_guest_start(g, KVMI_VCPU_EVENT_PF, &ev);
		TEST_ASSERT_EQ(ev.pf.flags, KVMI_PF_DELIVERY);
		regs = ev.common.arch.regs;
		regs.rip += ints[i].size;
		TEST_ASSERT_KVMI(kvmi_set_registers(&g->s, 0, &regs), 0);
		kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_RETRY);
		kvmi_guest_stop_unchanged(g);
	}
}

/* KVM cannot tell the VMM's interrupt controller that one is over. */
KVMI_TEST(kvmi_grant_event, skip_interrupt_of_the_vmm)
{
	struct kvmi_guest *g = &self->g;
	struct kvm_vcpu_events events;
	struct kvmi_event ev;
	int i;

	g->start.regs.rflags |= X86_EFLAGS_IF;
	kvmi_guest_reset(g);
	vcpu_events_get(g->vcpu, &events);
	events.interrupt.injected = 1;
	events.interrupt.nr = IRQ_VECTOR;
	vcpu_events_set(g->vcpu, &events);
	kvmi_guest_start(g, KVMI_VCPU_EVENT_PF, &ev);
	for (i = 0; i < 2; i++) {
		TEST_ASSERT_EQ(ev.pf.gpa & -PAGE, STACK_TOP & -PAGE);
		TEST_ASSERT_EQ(ev.pf.flags, KVMI_PF_DELIVERY);
		kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);
		kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_PF, &ev);
	}
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	TEST_ASSERT_EQ(kvmi_guest_stop(g), IRQ_VECTOR);
}

/* An exception of the tool's is not the instruction's. */
KVMI_TEST(kvmi_grant_event, skip_exception)
{
	static const u8 vectors[] = { GP_VECTOR, BP_VECTOR };
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;
	int i;

	for (i = 0; i < ARRAY_SIZE(vectors); i++) {
		kvmi_guest_reset(g);
		kvmi_guest_start(g, KVMI_VCPU_EVENT_PF, &ev);
		TEST_ASSERT_KVMI(kvmi_inject(&g->s, 0, vectors[i], 0, 0), 0);
		kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_RETRY);
		kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_TRAP, &ev);
		kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
		kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_PF, &ev);
		/* SVM delivers no #BP where there is no INT3. */
		if (ev.pf.flags == KVMI_PF_DELIVERY) {
			TEST_ASSERT_EQ(ev.pf.gpa & -PAGE, STACK_TOP & -PAGE);
			kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);
			kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_PF, &ev);
		}
		TEST_ASSERT_EQ(ev.pf.gpa, TARGET);
		TEST_ASSERT_EQ(ev.pf.flags, 0);
		TEST_ASSERT_EQ(ev.common.arch.regs.rip, KVMI_GUEST_CODE);
		kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);
		kvmi_guest_stop_unchanged(g);
	}
}

/* Not even of one that is for another vector */
KVMI_TEST(kvmi_grant_event, skip_exception_before_int)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;
	int i;

	if (!host_cpu_is_intel)
		SKIP(return, "SVM delivers no #BP where there is no INT3");

	/* INT 0x80 */
	kvmi_guest_code(g, "\xcd\x80");
	kvmi_guest_start(g, KVMI_VCPU_EVENT_PF, &ev);
	TEST_ASSERT_KVMI(kvmi_inject(&g->s, 0, BP_VECTOR, 0, 0), 0);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_RETRY);
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_TRAP, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	/* The tool's #BP, and the instruction */
	for (i = 0; i < 2; i++) {
		kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_PF, &ev);
		TEST_ASSERT_EQ(ev.pf.gpa & -PAGE, STACK_TOP & -PAGE);
		TEST_ASSERT_EQ(ev.pf.flags, KVMI_PF_DELIVERY);
		TEST_ASSERT_EQ(ev.common.arch.regs.rip, KVMI_GUEST_CODE);
		kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);
	}
	kvmi_guest_stop_unchanged(g);
}

/* The tool has the guest leave an IRET, which then does not unblock NMIs. */
KVMI_TEST(kvmi_grant_event, iret_elsewhere)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;
	struct kvm_regs regs;
	u64 handler;

	kvmi_guest_count_nmis(g);
	kvmi_guest_reset(g);
	kvmi_guest_restrict(g, TARGET, R | X);
	kvmi_guest_restrict(g, STACK_TOP, R | W | X);
	vcpu_ioctl(g->vcpu, KVM_NMI, NULL);
	kvmi_guest_start(g, KVMI_VCPU_EVENT_PF, &ev);
	TEST_ASSERT_EQ(ev.pf.gpa, TARGET);
	handler = ev.common.arch.regs.rip;
	kvmi_guest_restrict(g, STACK_TOP, 0);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);

	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_PF, &ev);
	TEST_ASSERT_EQ(ev.pf.gpa & -PAGE, STACK_TOP & -PAGE);
	TEST_ASSERT_EQ(ev.common.arch.regs.rip, handler + 2);
	regs = ev.common.arch.regs;
	regs.rip = handler;
	TEST_ASSERT_KVMI(kvmi_set_registers(&g->s, 0, &regs), 0);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_RETRY);

	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_PF, &ev);
	TEST_ASSERT_EQ(ev.pf.gpa, TARGET);
	TEST_ASSERT_EQ(ev.common.arch.regs.rip, handler);
	kvmi_run_signal(&g->r);
	kvmi_run_wait_eintr(&g->r);
	vcpu_ioctl(g->vcpu, KVM_NMI, NULL);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_run_start(&g->r, &g->s, g->vcpu);

	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_PF, &ev);
	TEST_ASSERT_EQ(ev.pf.gpa & -PAGE, STACK_TOP & -PAGE);
	TEST_ASSERT_EQ(ev.pf.flags, 0);
	TEST_ASSERT_EQ(ev.common.arch.regs.rip, handler + 2);
	kvmi_guest_restrict(g, STACK_TOP, R | W | X);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);

	/* The next NMI, and the instruction */
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_PF, &ev);
	TEST_ASSERT_EQ(ev.common.arch.regs.rip, handler);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_PF, &ev);
	TEST_ASSERT_EQ(ev.common.arch.regs.rip, KVMI_GUEST_CODE);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);
	TEST_ASSERT_EQ(kvmi_guest_stop(g), KVMI_GUEST_NO_EXCEPTION);
	TEST_ASSERT_EQ(g->state.mem[TARGET], 3);
}

/* The tool moves the guest before the instruction that it has allowed. */
KVMI_TEST(kvmi_grant_event, registers_in_pause)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;
	struct kvm_regs regs;

	/* MOV [RDI], RAX; MOV [RDI + 8], RAX */
	kvmi_guest_code(g, "\x48\x89\x07\x48\x89\x47\x08");
	kvmi_guest_start(g, KVMI_VCPU_EVENT_PF, &ev);
	TEST_ASSERT_EQ(ev.pf.gpa, TARGET);
	TEST_ASSERT_KVMI(kvmi_pause(&g->s, 0, 0), 0);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_PAUSE, &ev);
	regs = ev.common.arch.regs;
	TEST_ASSERT_EQ(regs.rip, KVMI_GUEST_CODE);
	regs.rip += 3;
	TEST_ASSERT_KVMI(kvmi_set_registers(&g->s, 0, &regs), 0);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);

	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_PF, &ev);
	TEST_ASSERT_EQ(ev.common.arch.regs.rip, KVMI_GUEST_CODE + 3);
	TEST_ASSERT_EQ(ev.pf.gpa, TARGET + 8);
	TEST_ASSERT_EQ(ev.pf.flags, 0);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);
	TEST_ASSERT_EQ(kvmi_guest_stop(g), KVMI_GUEST_NO_EXCEPTION);
	TEST_ASSERT_EQ(g->state.mem[TARGET], 0);
	TEST_ASSERT_EQ(g->state.mem[TARGET + 8], 0);
}

/*
 * Another CPU puts an instruction in place of the one that is allowed, and back, all
 * the time.  It leads to a write to a page that is protected.  Both are one instruction
 * and differ in one byte: there is no mixture that the guest could fetch.
 */
FIXTURE(kvmi_grant_flip) {
	struct kvmi_guest g;
	pthread_t thread;
	u8 *opcode;
	u8 store;
	u8 other;
	bool stop;
};

FIXTURE_VARIANT(kvmi_grant_flip) {
	const char *store;
	unsigned int opcode;
	u8 other;
};

/* MOVNTI [RDI], RAX */
FIXTURE_VARIANT_ADD(kvmi_grant_flip, syscall) {
	.store = "\x48\x0f\xc3\x07",
	.opcode = 2,
	.other = 0x05,
};

FIXTURE_VARIANT_ADD(kvmi_grant_flip, sysret) {
	.store = "\x48\x0f\xc3\x07",
	.opcode = 2,
	.other = 0x07,
};

/* MOV [RDI], AL; INT VECTOR */
FIXTURE_VARIANT_ADD(kvmi_grant_flip, int_n) {
	.store = "\x88\x07",
	.opcode = 0,
	.other = 0xcd,
};

/* STOSQ */
FIXTURE_VARIANT_ADD(kvmi_grant_flip, pushf) {
	.store = "\x48\xab",
	.opcode = 1,
	.other = 0x9c,
};

#define POPF 0x9d

FIXTURE_VARIANT_ADD(kvmi_grant_flip, popf) {
	.store = "\x48\xab",
	.opcode = 1,
	.other = POPF,
};

FIXTURE_VARIANT_ADD(kvmi_grant_flip, iret) {
	.store = "\x48\xab",
	.opcode = 1,
	.other = 0xcf,
};

/* The second byte of MOV [RDI], AL */
#define VECTOR		0x07
#define RETURN_VECTOR	0x51
#define HANDLER_SIZE	16
/* Where SYSCALL, SYSRET, INT and IRET lead to */
#define ESCAPE		(KVMI_GUEST_CODE + 0x80)
#define USER_ESCAPE	(KVMI_GUEST_CODE + 0xa0)
#define AFTER		(KVMI_GUEST_CODE + 0x40)
#define INSN		(KVMI_GUEST_CODE + 21)

static unsigned int nr_flips = 200;

static void *flip(void *arg)
{
	struct _test_data_kvmi_grant_flip *self = arg;

	while (!READ_ONCE(self->stop)) {
		WRITE_ONCE(*self->opcode, self->other);
		WRITE_ONCE(*self->opcode, self->store);
	}

	return NULL;
}

static void put_jump(struct kvmi_guest *g, u64 at, u64 to)
{
	g->start.mem[at] = 0xe9;
	*(u32 *)(g->start.mem + at + 1) = to - at - 5;
}

FIXTURE_SETUP(kvmi_grant_flip)
{
	struct kvmi_guest *g = &self->g;
	u8 *mem;

	if (!kvmi_has_page_access())
		SKIP(return, "Needs the TDP MMU");
	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		SKIP(return, "Needs two CPUs");
	kvmi_guest_create(g, KVMI_GUEST_LONG);
	mem = g->start.mem;
	g->start.sregs.efer |= EFER_SCE;
	g->start.regs.rsi = SOURCE;

	/*
	 * MOV ESP, STACK_TOP; MOV ECX, USER_ESCAPE; MOV R11D, 2; MOV EDI, TARGET; the
	 * instruction; JMP AFTER.  There: CMP BYTE PTR [RBX], 0; JE to the beginning
	 */
	kvmi_guest_code(g, "\xbc\x00\x00\x00\x00\xb9\x00\x00\x00\x00"
			   "\x41\xbb\x02\x00\x00\x00\xbf\x00\x00\x00\x00");
	*(u32 *)(mem + KVMI_GUEST_CODE + 1) = STACK_TOP;
	*(u32 *)(mem + KVMI_GUEST_CODE + 6) = USER_ESCAPE;
	*(u32 *)(mem + KVMI_GUEST_CODE + 17) = TARGET;
	memcpy(mem + INSN, variant->store, strlen(variant->store));
	put_jump(g, INSN + strlen(variant->store), AFTER);
	memcpy(mem + AFTER, "\x80\x3b\x00\x0f\x84", 5);
	*(u32 *)(mem + AFTER + 5) = KVMI_GUEST_CODE - (AFTER + 9);
	/* OUT, as at the end of other code */
	memcpy(mem + AFTER + 9, "\xe6\xf4", 2);
	g->end = AFTER + 9;
	/* MOV BYTE PTR [RSI], 1; for users, INT RETURN_VECTOR */
	memcpy(mem + ESCAPE, "\xc6\x06\x01", 3);
	put_jump(g, ESCAPE + 3, AFTER);
	memcpy(mem + USER_ESCAPE, "\xc6\x06\x01\xcd\x51", 5);
	put_jump(g, KVMI_GUEST_HANDLERS + VECTOR * HANDLER_SIZE, ESCAPE);
	put_jump(g, KVMI_GUEST_HANDLERS + RETURN_VECTOR * HANDLER_SIZE, AFTER);
	/* What POPF or IRET finds */
	put(g, STACK_TOP, variant->other == POPF ? X86_EFLAGS_FIXED : ESCAPE);
	put(g, STACK_TOP + 8, KVMI_GUEST_KERNEL_CS);
	put(g, STACK_TOP + 16, X86_EFLAGS_FIXED);
	put(g, STACK_TOP + 24, STACK_TOP + 64);
	put(g, STACK_TOP + 32, KVMI_GUEST_KERNEL_DS);
	kvmi_guest_reset(g);
	vcpu_set_msr(g->vcpu, MSR_STAR, (u64)KVMI_GUEST_KERNEL_CS << 32 |
					(u64)KVMI_GUEST_KERNEL_CS << 48);
	vcpu_set_msr(g->vcpu, MSR_LSTAR, ESCAPE);
	vcpu_set_msr(g->vcpu, MSR_SYSCALL_MASK, X86_EFLAGS_TF);

	kvmi_guest_restrict(g, TARGET, R | X);
	kvmi_guest_restrict(g, SOURCE, R | X);
	self->opcode = addr_gpa2hva(g->vm, INSN + variant->opcode);
	self->store = variant->store[variant->opcode];
	self->other = variant->other;
}

FIXTURE_TEARDOWN(kvmi_grant_flip)
{
	kvmi_guest_free(&self->g);
}

KVMI_TEST(kvmi_grant_flip, protected_page)
{
	struct kvmi_guest *g = &self->g;
	u8 *mem = addr_gpa2hva(g->vm, 0);
	unsigned int allowed = 0, skipped = 0;
	struct kvmi_event ev;

	kvmi_guest_start(g, KVMI_VCPU_EVENT_PF, &ev);
	pthread_create(&self->thread, NULL, flip, self);
	for (;;) {
		TEST_ASSERT_EQ(ev.pf.access, W);
		TEST_ASSERT_EQ(mem[SOURCE], 0);
		if (allowed == nr_flips)
			break;
		if ((ev.pf.gpa & -PAGE) == TARGET) {
			allowed++;
			kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
		} else {
			TEST_ASSERT_EQ(ev.pf.gpa & -PAGE, SOURCE);
			skipped++;
			kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);
		}
		kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_PF, &ev);
	}
	WRITE_ONCE(self->stop, true);
	pthread_join(self->thread, NULL);
	ksft_print_msg("%u allowed, %u refused\n", allowed, skipped);

	/* What is left is one MOV. */
	mem[KVMI_GUEST_DATA] = 1;
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);
	TEST_ASSERT_EQ(kvmi_guest_stop(g), KVMI_GUEST_NO_EXCEPTION);
	TEST_ASSERT_EQ(g->state.mem[SOURCE], 0);
	TEST_ASSERT_EQ(g->state.regs.rflags & X86_EFLAGS_TF, 0);
}

/* -n: so many instructions allowed while another CPU changes them */
int main(int argc, char **argv)
{
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_INTROSPECTION));

	if (argc > 2 && !strcmp(argv[1], "-n")) {
		nr_flips = atoi_positive("Number of instructions", argv[2]);
		argv[2] = argv[0];
		argv += 2;
		argc -= 2;
	}

	return test_harness_run(argc, argv);
}
