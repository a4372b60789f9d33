// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: general registers with which hardware does not enter a guest
 *
 * A tool that sets them is told so, or they do not count.  Userspace never sees
 * KVM_RUN fail for them.
 */
#include "kvmi_test_harness.h"
#include "kvmi_guest.h"
#include "kvmi_triggers.h"
#include "test_util.h"

#define R		KVMI_PAGE_ACCESS_R
#define W		KVMI_PAGE_ACCESS_W
#define X		KVMI_PAGE_ACCESS_X

#define CODE		KVMI_GUEST_CODE
/* A page that is nothing but HLT */
#define HALT		0x6000
/* A page of its own, and so is what is below it */
#define STACK_TOP	0xf000
#define VECTOR		30

#define ROUNDS		300

/* Bits of RFLAGS that are never set */
static const u64 reserved[] = {
	BIT_ULL(3), BIT_ULL(5), BIT_ULL(15), BIT_ULL(22), BIT_ULL(31), BIT_ULL(32),
	BIT_ULL(63),
};

static const u64 flags[] = {
	X86_EFLAGS_CF, X86_EFLAGS_FIXED, X86_EFLAGS_PF, X86_EFLAGS_AF, X86_EFLAGS_ZF,
	X86_EFLAGS_SF, X86_EFLAGS_TF, X86_EFLAGS_IF, X86_EFLAGS_DF, X86_EFLAGS_OF,
	X86_EFLAGS_IOPL, X86_EFLAGS_NT, X86_EFLAGS_RF, X86_EFLAGS_AC, X86_EFLAGS_VIF,
	X86_EFLAGS_VIP, X86_EFLAGS_ID,
};

static const u64 canonical[] = {
	BIT_ULL(32), 0xffffffff00005000, 0x00007fffffffffff, 0xffff800000000000, ~0ull,
};

static const u64 non_canonical[] = {
	0x0000800000000000, 0xffff7fffffffffff, 0x123456789abcdef0, BIT_ULL(63),
};

/* Whatever becomes of the guest, it does so in the guest.  It may run in circles. */
static void stop(struct kvmi_guest *g)
{
	u32 reason;
	int i;

	for (i = 0; i < 20 && kvmi_run_is_going(&g->r); i++)
		;
	if (i == 20)
		kvmi_run_signal(&g->r);
	kvmi_run_wait(&g->r);
	if (g->r.ret && g->r.err == EINTR)
		return;
	TEST_ASSERT(!g->r.ret, "KVM_RUN failed: %s", strerror(g->r.err));
	reason = g->vcpu->run->exit_reason;
	TEST_ASSERT(reason == KVM_EXIT_IO || reason == KVM_EXIT_HLT ||
		    reason == KVM_EXIT_SHUTDOWN,
		    "KVM_RUN returned with exit reason %u, hardware's is 0x%llx",
		    reason, g->vcpu->run->fail_entry.hardware_entry_failure_reason);
}

#define KVMI_GUEST_FIXTURE	kvmi_entry
#include "kvmi_guest_modes.h"

/* Wherever the guest may go, it soon stops. */
FIXTURE_SETUP(kvmi_entry)
{
	struct kvmi_guest *g = &self->g;
	u8 *mem;

	kvmi_guest_create(g, variant->mode);
	mem = g->start.mem;
	memset(mem + KVMI_GUEST_DATA, 0xf4, KVMI_GUEST_PAGE_TABLES - KVMI_GUEST_DATA);
	memset(mem + 0xd000, 0xf4, KVMI_GUEST_MEM_SIZE - 0xd000);
	kvmi_hook(&g->s, g->vm);
}

static void expect_good(struct kvmi_guest *g, const struct kvm_regs *regs)
{
	TEST_ASSERT(kvmi_set_registers(&g->s, 0, regs) == 0,
		    "RIP 0x%llx, RFLAGS 0x%llx: refused", regs->rip, regs->rflags);
}

static void expect_bad(struct kvmi_guest *g, const struct kvm_regs *regs)
{
	int err = kvmi_set_registers(&g->s, 0, regs);

	TEST_ASSERT(err == -KVM_EINVAL, "RIP 0x%llx, RFLAGS 0x%llx: answered %d",
		    regs->rip, regs->rflags, err);
}

/* What is refused leaves what was stored before. */
KVMI_TEST(kvmi_entry, rflags)
{
	struct kvmi_guest *g = &self->g;
	struct kvm_regs good, bad;
	struct kvmi_event ev;
	int i;

	kvmi_trigger_load(g, KVMI_BY_CPUID, KVMI_NO_SHADOW);
	kvmi_trigger_start(g, KVMI_BY_CPUID, &ev);
	kvmi_trigger_control(g, KVMI_BY_CPUID, 0);
	good = ev.common.arch.regs;
	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		good.rflags = flags[i];
		expect_good(g, &good);
	}
	good.rflags = ev.common.arch.regs.rflags | X86_EFLAGS_CF | X86_EFLAGS_SF;
	expect_good(g, &good);

	for (i = 0; i < ARRAY_SIZE(reserved); i++) {
		bad = ev.common.arch.regs;
		bad.rflags |= reserved[i];
		expect_bad(g, &bad);
	}
	bad = ev.common.arch.regs;
	bad.rflags ^= X86_EFLAGS_VM;
	expect_bad(g, &bad);

	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);
	g->start.regs = good;
	kvmi_guest_stop_unchanged(g);
}

KVMI_TEST(kvmi_entry, rip)
{
	struct kvmi_guest *g = &self->g;
	struct kvm_regs regs;
	struct kvmi_event ev;
	int i;

	kvmi_trigger_load(g, KVMI_BY_CPUID, KVMI_NO_SHADOW);
	kvmi_trigger_start(g, KVMI_BY_CPUID, &ev);
	kvmi_trigger_control(g, KVMI_BY_CPUID, 0);
	regs = ev.common.arch.regs;
	for (i = 0; i < ARRAY_SIZE(canonical); i++) {
		regs.rip = canonical[i];
		if (kvmi_guest_is_64bit(g))
			expect_good(g, &regs);
		else
			expect_bad(g, &regs);
	}
	for (i = 0; i < ARRAY_SIZE(non_canonical); i++) {
		regs.rip = non_canonical[i];
		expect_bad(g, &regs);
	}
	regs.rip = 0xffffffff;
	expect_good(g, &regs);
	regs.rip = g->end;
	expect_good(g, &regs);

	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_RETRY);
	kvmi_guest_stop_unchanged(g);
}

/* Bit 1 is not a bit to have an opinion of. */
KVMI_TEST(kvmi_entry, fixed_flag)
{
	struct kvmi_guest *g = &self->g;
	struct kvm_regs regs;
	struct kvmi_event ev;

	kvmi_trigger_load(g, KVMI_BY_CPUID, KVMI_NO_SHADOW);
	kvmi_trigger_start(g, KVMI_BY_CPUID, &ev);
	kvmi_trigger_control(g, KVMI_BY_CPUID, 0);
	regs = ev.common.arch.regs;
	regs.rflags &= ~X86_EFLAGS_FIXED;
	expect_good(g, &regs);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);
	kvmi_guest_stop_unchanged(g);
}

static void interrupt_run(struct kvmi_guest *g)
{
	kvmi_run_signal(&g->r);
	kvmi_run_wait_eintr(&g->r);
}

/* What is held off behind an STI or MOV SS when an event is open */
static u8 get_shadow(struct kvmi_guest *g)
{
	struct kvm_vcpu_events events;

	interrupt_run(g);
	vcpu_events_get(g->vcpu, &events);
	kvmi_run_start(&g->r, &g->s, g->vcpu);

	return events.interrupt.shadow;
}

/* It goes with what hardware does not have in it, and with the instruction. */
KVMI_TEST(kvmi_entry, shadow)
{
	static const u64 changes[] = { 0, X86_EFLAGS_CF, X86_EFLAGS_IF, X86_EFLAGS_TF };
	struct kvmi_guest *g = &self->g;
	enum kvmi_shadow shadow;
	struct kvm_regs regs;
	struct kvmi_event ev;
	int i;

	for (shadow = KVMI_STI; shadow < KVMI_NR_SHADOWS; shadow++) {
		for (i = 0; i < ARRAY_SIZE(changes); i++) {
			kvmi_trigger_load(g, KVMI_BY_CPUID, shadow);
			kvmi_trigger_start(g, KVMI_BY_CPUID, &ev);
			TEST_ASSERT(get_shadow(g), "No shadow");
			regs = ev.common.arch.regs;
			regs.rflags ^= changes[i];
			expect_good(g, &regs);
			kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_RETRY);

			kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_CPUID, &ev);
			TEST_ASSERT_EQ(!!get_shadow(g),
				       !(changes[i] & (X86_EFLAGS_IF | X86_EFLAGS_TF)));
			kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);
			stop(g);
		}

		/* Another one, elsewhere */
		memcpy(g->start.mem + HALT, kvmi_triggers[KVMI_BY_CPUID].code, 2);
		kvmi_trigger_load(g, KVMI_BY_CPUID, shadow);
		kvmi_trigger_start(g, KVMI_BY_CPUID, &ev);
		regs = ev.common.arch.regs;
		regs.rip = HALT;
		expect_good(g, &regs);
		kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_RETRY);
		kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_CPUID, &ev);
		TEST_ASSERT_EQ(ev.common.arch.regs.rip, HALT);
		TEST_ASSERT_EQ(get_shadow(g), 0);
		kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);
		stop(g);
	}
}

/* The stack is not there when an interrupt is delivered. */
static void start_interrupt(struct kvmi_guest *g, struct kvmi_event *ev)
{
	struct kvm_interrupt irq = { .irq = VECTOR };

	g->start.regs.rflags |= X86_EFLAGS_IF;
	g->start.regs.rsp = STACK_TOP;
	kvmi_guest_code(g, "\x90");
	if (kvmi_guest_is_user(g))
		kvmi_guest_restrict(g, KVMI_GUEST_STACK - 8, R | X);
	else
		kvmi_guest_restrict(g, STACK_TOP - 8, R | X);
	vcpu_ioctl(g->vcpu, KVM_INTERRUPT, &irq);
	kvmi_guest_start(g, KVMI_VCPU_EVENT_PF, ev);
	TEST_ASSERT_EQ(ev->pf.access, W);
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, KVMI_VCPU_EVENT_PF, 0), 0);
}

KVMI_TEST(kvmi_entry, interrupt)
{
	static const u8 actions[] = {
		KVMI_EVENT_ACTION_ALLOW, KVMI_EVENT_ACTION_RETRY, KVMI_EVENT_ACTION_SKIP,
	};
	struct kvmi_guest *g = &self->g;
	struct kvm_regs regs;
	struct kvmi_event ev;
	int i;

	if (!kvmi_has_page_access())
		SKIP(return, "Needs the TDP MMU");

	for (i = 0; i < ARRAY_SIZE(actions); i++) {
		start_interrupt(g, &ev);
		regs = ev.common.arch.regs;
		regs.rflags &= ~X86_EFLAGS_IF;
		TEST_ASSERT_KVMI(kvmi_set_registers(&g->s, 0, &regs), -KVM_EBUSY);
		regs.rflags |= X86_EFLAGS_IF;
		regs.rdx = 0x1234;
		TEST_ASSERT_KVMI(kvmi_set_registers(&g->s, 0, &regs), 0);
		kvmi_reply(&g->s, &ev, actions[i]);
		kvmi_run_wait_exit(&g->r, KVM_EXIT_IO);
		vcpu_regs_get(g->vcpu, &regs);
		TEST_ASSERT_EQ(regs.rdx, 0x1234);
		/* What the VMM has sent is not dropped by SKIP: it waits for the EOI. */
		TEST_ASSERT_EQ(regs.rip, KVMI_GUEST_HANDLERS + VECTOR * 16);
	}
}

/* The VMM has an interrupt when the values have been checked already. */
KVMI_TEST(kvmi_entry, interrupt_after_check)
{
	struct kvm_interrupt irq = { .irq = VECTOR };
	struct kvmi_guest *g = &self->g;
	struct kvm_regs regs;
	struct kvmi_event ev;

	g->start.regs.rflags |= X86_EFLAGS_IF;
	kvmi_trigger_load(g, KVMI_BY_PAUSE, KVMI_NO_SHADOW);
	kvmi_trigger_start(g, KVMI_BY_PAUSE, &ev);
	regs = ev.common.arch.regs;
	regs.rflags &= ~X86_EFLAGS_IF;
	regs.rdx = 0x1234;
	TEST_ASSERT_KVMI(kvmi_set_registers(&g->s, 0, &regs), 0);
	interrupt_run(g);
	vcpu_ioctl(g->vcpu, KVM_INTERRUPT, &irq);
	kvmi_unpark(&g->s, &ev);
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	TEST_ASSERT_EQ(kvmi_guest_stop(g), VECTOR);
	TEST_ASSERT_EQ(g->frame.rip, CODE);
	TEST_ASSERT_EQ(g->state.regs.rdx, 0x1234);
	TEST_ASSERT(g->frame.rflags & X86_EFLAGS_IF, "IF is not what was pushed");
}

/* The VMM has loaded the state of another mode meanwhile. */
KVMI_TEST(kvmi_entry, mode_after_check)
{
	enum kvmi_guest_mode mode;
	struct kvmi_guest *other;
	struct kvm_sregs sregs;
	struct kvm_regs regs;
	struct kvmi_guest *g;
	struct kvmi_event ev;

	if (!kvmi_guest_is_64bit(&self->g))
		return;

	other = malloc(sizeof(*other));
	g = &self->g;
	for (mode = KVMI_GUEST_REAL; mode <= KVMI_GUEST_COMPAT_USER; mode++) {
		kvmi_guest_create(other, mode);
		sregs = other->start.sregs;
		kvmi_guest_free(other);

		kvmi_trigger_load(g, KVMI_BY_PAUSE, KVMI_NO_SHADOW);
		kvmi_trigger_start(g, KVMI_BY_PAUSE, &ev);
		regs = ev.common.arch.regs;
		regs.rip = 0xffffffff81000000;
		TEST_ASSERT_KVMI(kvmi_set_registers(&g->s, 0, &regs), 0);
		interrupt_run(g);
		vcpu_sregs_set(g->vcpu, &sregs);
		kvmi_unpark(&g->s, &ev);
		kvmi_run_start(&g->r, &g->s, g->vcpu);
		stop(g);
	}
	free(other);
}

/* The VMM has loaded the registers of another guest, e.g. in a reset. */
KVMI_TEST(kvmi_entry, registers_after_check)
{
	struct kvmi_guest *g = &self->g;
	struct kvm_regs regs;
	struct kvmi_event ev;

	kvmi_trigger_load(g, KVMI_BY_PAUSE, KVMI_NO_SHADOW);
	kvmi_trigger_start(g, KVMI_BY_PAUSE, &ev);
	regs = ev.common.arch.regs;
	regs.rdx = 0x1234;
	regs.rip = HALT;
	TEST_ASSERT_KVMI(kvmi_set_registers(&g->s, 0, &regs), 0);
	interrupt_run(g);
	g->start.regs.rdx = 0x4321;
	vcpu_regs_set(g->vcpu, &g->start.regs);
	kvmi_unpark(&g->s, &ev);
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	kvmi_guest_stop_unchanged(g);

	/* The same ones are those that the tool has seen. */
	kvmi_guest_reset(g);
	kvmi_trigger_start(g, KVMI_BY_PAUSE, &ev);
	regs = ev.common.arch.regs;
	regs.rdx = 0x1234;
	TEST_ASSERT_KVMI(kvmi_set_registers(&g->s, 0, &regs), 0);
	interrupt_run(g);
	vcpu_regs_get(g->vcpu, &regs);
	vcpu_regs_set(g->vcpu, &regs);
	kvmi_unpark(&g->s, &ev);
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	g->start.regs.rdx = 0x1234;
	kvmi_guest_stop_unchanged(g);
}

static u32 below(struct kvm_random_state *r, u32 n)
{
	return kvm_random_u32(r) % n;
}

/* Registers of all sorts: does hardware enter the guest with them? */
static bool make_regs(struct kvm_random_state *r, struct kvmi_guest *g,
		      struct kvm_regs *regs)
{
	bool good = true;
	__u64 *reg;
	u64 val;
	int i;

	for (reg = &regs->rax; reg <= &regs->r15; reg++) {
		if (!below(r, 4))
			*reg = below(r, 2) ? kvm_random_u64(r) : below(r, KVMI_GUEST_MEM_SIZE);
	}

	for (i = below(r, 4); i; i--)
		regs->rflags ^= flags[below(r, ARRAY_SIZE(flags))];
	if (!below(r, 8)) {
		regs->rflags |= reserved[below(r, ARRAY_SIZE(reserved))];
		good = false;
	}
	if (!below(r, 8)) {
		regs->rflags ^= X86_EFLAGS_VM;
		good = false;
	}

	switch (below(r, 8)) {
	case 0:
		regs->rip = canonical[below(r, ARRAY_SIZE(canonical))];
		return good && kvmi_guest_is_64bit(g);
	case 1:
		regs->rip = non_canonical[below(r, ARRAY_SIZE(non_canonical))];
		return false;
	case 2:
		regs->rip = kvm_random_u32(r);
		break;
	case 3:
		regs->rip = HALT + below(r, 4096);
		break;
	case 4:
		val = kvm_random_u64(r);
		regs->rip = kvmi_guest_is_64bit(g) ? (s64)val >> 17 : (u32)val;
		break;
	}

	return good;
}

static int pick_action(struct kvm_random_state *r, u8 actions)
{
	int action;

	do {
		action = below(r, 4);
	} while (!(actions & BIT(action)));

	return action;
}

KVMI_TEST(kvmi_entry, anything)
{
	struct kvm_random_state r = new_kvm_random_state(variant->mode + 1);
	struct kvmi_guest *g = &self->g;
	struct kvm_regs regs;
	struct kvmi_event ev;
	int i, n, tries;
	bool good, again;

	for (i = 0; i < ROUNDS; i++) {
		n = i % KVMI_NR_TRIGGERS;
		if (!kvmi_trigger_is_possible(g, n))
			continue;

		kvmi_trigger_load(g, n, below(&r, KVMI_NR_SHADOWS));
		kvmi_trigger_start(g, n, &ev);
		kvmi_trigger_control(g, n, 0);
		for (tries = below(&r, 4); tries >= 0; tries--) {
			regs = ev.common.arch.regs;
			good = make_regs(&r, g, &regs);
			if (good)
				expect_good(g, &regs);
			else
				expect_bad(g, &regs);
		}
		again = !below(&r, 4);
		if (again) {
			interrupt_run(g);
			kvmi_run_start(&g->r, &g->s, g->vcpu);
		}
		kvmi_reply(&g->s, &ev, pick_action(&r, kvmi_triggers[n].actions));
		stop(g);
		if (again) {
			/* The answer may be kept: the event is off. */
			kvmi_unhook(&g->s);
			kvmi_hook(&g->s, g->vm);
		}
	}
}

int main(int argc, char **argv)
{
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_INTROSPECTION));

	return test_harness_run(argc, argv);
}
