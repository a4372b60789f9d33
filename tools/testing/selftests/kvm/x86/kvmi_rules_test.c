// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: KVMI_VM_SET_RULES and KVMI_VM_GET_RULES
 */
#include <poll.h>
#include <sys/socket.h>

#include "kvmi_test_harness.h"
#include "kvmi_guest.h"
#include "kvmi_view.h"

#define CODE		KVMI_GUEST_CODE
#define DATA		KVMI_GUEST_DATA

#define RX		(KVMI_PAGE_ACCESS_R | KVMI_PAGE_ACCESS_X)

#define MAX_RULES	64

#define CPUID		"\x0f\xa2"
/* MOV [RDI], AL */
#define WRITE		"\x88\x07"
/* MOV [RDI], RAX */
#define WRITE_8		"\x48\x89\x07"
#define NOP		"\x90"

/* What an event is caused by, and what it is about */
struct question {
	u16 event;
	u8 code[4];
	/* Operands of the instruction */
	u64 rax;
	u64 rcx;
	/* A condition of the event's own that it meets, and one that it does not */
	struct kvmi_rule meets[4];
	struct kvmi_rule misses[4];
	bool accepts_skip;
	/* RIP of the event, and vector of the exception that ALLOW leads to */
	int vector;
	bool vmx_only;
};

FIXTURE(kvmi_rules) {
	struct kvmi_guest g;
	/* The vCPU is in this event at the beginning of a test. */
	struct kvmi_event pause;
};

FIXTURE_VARIANT(kvmi_rules) {
	struct question q;
};

#define NUMBER(_first, _last)						\
	{ .match = KVMI_MATCH_NUMBER, .first = (_first), .last = (_last) }
#define VALUE(_mask, _value)						\
	{ .match = KVMI_MATCH_VALUE, .value_mask = (_mask), .value = (_value) }
#define CHANGED(_mask)	{ .match = KVMI_MATCH_CHANGED, .changed = (_mask) }
#define KIND(_kinds)	{ .match = KVMI_MATCH_KIND, .kinds = (_kinds) }

FIXTURE_VARIANT_ADD(kvmi_rules, cr) {
	.q = {
		.event = KVMI_VCPU_EVENT_CR,
		/* MOV CR4, RAX */
		.code = "\x0f\x22\xe0",
		.rax = X86_CR4_PAE | X86_CR4_PSE,
		.meets = { NUMBER(4, 4), NUMBER(0, 8), VALUE(X86_CR4_PSE, X86_CR4_PSE),
			   CHANGED(X86_CR4_PSE | X86_CR4_MCE) },
		.misses = { NUMBER(0, 3), NUMBER(5, ~0ull), VALUE(X86_CR4_PSE, 0),
			    CHANGED(X86_CR4_PAE | X86_CR4_MCE) },
		.accepts_skip = true,
	},
};

FIXTURE_VARIANT_ADD(kvmi_rules, msr) {
	.q = {
		.event = KVMI_VCPU_EVENT_MSR,
		/* WRMSR */
		.code = "\x0f\x30",
		.rax = 0x11,
		.rcx = MSR_IA32_SYSENTER_CS,
		.meets = { NUMBER(MSR_IA32_SYSENTER_CS, MSR_IA32_SYSENTER_EIP),
			   VALUE(~0ull, 0x11), VALUE(1, 1), CHANGED(0x10) },
		.misses = { NUMBER(MSR_IA32_SYSENTER_ESP, MSR_IA32_SYSENTER_EIP),
			    VALUE(~0ull, 0x10), VALUE(2, 2), CHANGED(0xe) },
		.accepts_skip = true,
	},
};

FIXTURE_VARIANT_ADD(kvmi_rules, cpuid) {
	.q = {
		.event = KVMI_VCPU_EVENT_CPUID,
		.code = CPUID,
		.rax = 7,
		.rcx = 1,
		.meets = { NUMBER(7, 7), VALUE(0xff, 1) },
		.misses = { NUMBER(8, 9), VALUE(0xff, 0) },
		.accepts_skip = true,
	},
};

FIXTURE_VARIANT_ADD(kvmi_rules, descriptor) {
	.q = {
		.event = KVMI_VCPU_EVENT_DESCRIPTOR,
		/* SGDT [RDI] */
		.code = "\x0f\x01\x07",
		.meets = { KIND(BIT(KVMI_DESC_GDTR)),
			   KIND(BIT(KVMI_DESC_GDTR) | BIT(KVMI_DESC_TR)) },
		.misses = { KIND(BIT(KVMI_DESC_IDTR)),
			    KIND(BIT(KVMI_DESC_GDTR) << KVMI_KIND_WRITE_SHIFT) },
		.accepts_skip = true,
	},
};

FIXTURE_VARIANT_ADD(kvmi_rules, int3) {
	.q = {
		.event = KVMI_VCPU_EVENT_BREAKPOINT,
		.code = "\xcc",
		.meets = { NUMBER(CODE, CODE) },
		.misses = { NUMBER(CODE + 1, CODE + 8) },
		.accepts_skip = true,
		.vector = BP_VECTOR,
	},
};

FIXTURE_VARIANT_ADD(kvmi_rules, trap) {
	.q = {
		.event = KVMI_VCPU_EVENT_TRAP,
		/* MOV DS, AX */
		.code = "\x8e\xd8",
		.rax = 0x80,
		.meets = { NUMBER(GP_VECTOR, GP_VECTOR), VALUE(0xf0, 0x80) },
		.misses = { NUMBER(UD_VECTOR, UD_VECTOR), VALUE(0xf0, 0x70) },
		.vector = GP_VECTOR,
	},
};

FIXTURE_VARIANT_ADD(kvmi_rules, pf) {
	.q = {
		.event = KVMI_VCPU_EVENT_PF,
		.code = WRITE,
		.rax = 0x5a,
		.meets = { NUMBER(DATA, DATA + 0xfff), KIND(KVMI_PAGE_ACCESS_W) },
		.misses = { NUMBER(DATA + 0x1000, DATA + 0x1fff),
			    KIND(KVMI_PAGE_ACCESS_R | KVMI_PAGE_ACCESS_X) },
		.accepts_skip = true,
	},
};

FIXTURE_VARIANT_ADD(kvmi_rules, xsetbv) {
	.q = {
		.event = KVMI_VCPU_EVENT_XSETBV,
		.code = "\x0f\x01\xd1",
		.rax = XFEATURE_MASK_FP | XFEATURE_MASK_SSE,
		.meets = { NUMBER(0, 0), VALUE(XFEATURE_MASK_SSE, XFEATURE_MASK_SSE),
			   CHANGED(XFEATURE_MASK_SSE) },
		.misses = { NUMBER(1, 2), VALUE(XFEATURE_MASK_SSE, 0),
			    CHANGED(XFEATURE_MASK_YMM) },
		.accepts_skip = true,
		.vmx_only = true,
	},
};

FIXTURE_SETUP(kvmi_rules)
{
	struct kvmi_vm_get_features_reply features;
	const struct question *q = &variant->q;
	struct kvmi_guest *g = &self->g;
	struct kvmi_session *s = &g->s;

	if (q->vmx_only && !host_cpu_is_intel)
		SKIP(return, "The (emulated) processor does not intercept it");
	if (q->event == KVMI_VCPU_EVENT_BREAKPOINT &&
	    !kvmi_guest_int3_is_intercepted())
		SKIP(return, "The (emulated) processor does not intercept INT3");
	if (q->event == KVMI_VCPU_EVENT_PF && !kvmi_has_page_access())
		SKIP(return, "Needs the TDP MMU");

	kvmi_guest_create(g, KVMI_GUEST_LONG);
	g->start.regs.rax = q->rax;
	g->start.regs.rcx = q->rcx;
	if (q->event == KVMI_VCPU_EVENT_XSETBV) {
		if (!vcpu_cpuid_has(g->vcpu, X86_FEATURE_XSAVE))
			SKIP(return, "Needs XSAVE");
		g->start.sregs.cr4 |= X86_CR4_OSXSAVE;
	}
	__kvmi_guest_code(g, q->code, strlen((char *)q->code));
	kvmi_guest_run_normally(g);
	if (q->event == KVMI_VCPU_EVENT_MSR)
		vcpu_set_msr(g->vcpu, (u32)q->rcx, 0);

	kvmi_guest_park(g, &self->pause);
	kvmi_get_features(s, &features);
	TEST_ASSERT(features.flags & KVMI_FEATURE_RULES, "No such feature");
	if (q->event == KVMI_VCPU_EVENT_CR)
		TEST_ASSERT_KVMI(kvmi_control_cr(s, 0, 4, 1), 0);
	if (q->event == KVMI_VCPU_EVENT_MSR)
		TEST_ASSERT_KVMI(kvmi_control_msr(s, 0, q->rcx, 1), 0);
	if (q->event == KVMI_VCPU_EVENT_PF)
		kvmi_guest_restrict(g, DATA, RX);
	TEST_ASSERT_KVMI(kvmi_control_event(s, 0, q->event, 1), 0);
}

FIXTURE_TEARDOWN(kvmi_rules)
{
	if (!self->g.vm)
		return;
	kvmi_guest_free(&self->g);
}

struct rules {
	struct kvmi_vm_set_rules hdr;
	struct kvmi_rule rules[MAX_RULES];
};

static int set(struct kvmi_session *s, u16 event, const struct kvmi_rule *rules,
	       int nr)
{
	struct rules req = { .hdr = { .event = event, .count = nr } };

	if (nr)
		memcpy(req.rules, rules, nr * sizeof(*rules));
	return kvmi_cmd(s, KVMI_VM_SET_RULES, &req,
			offsetof(struct rules, rules[nr]), NULL, 0);
}

/* One rule that has to be accepted */
static void set_one(struct kvmi_session *s, u16 event, u8 verdict,
		    const struct kvmi_rule *conditions)
{
	struct kvmi_rule rule = {};

	if (conditions)
		rule = *conditions;
	rule.verdict = verdict;
	TEST_ASSERT_KVMI(set(s, event, &rule, 1), 0);
}

struct list {
	struct kvmi_error_code ec;
	struct kvmi_vm_get_rules_reply hdr;
	struct kvmi_rule_info rules[MAX_RULES];
};

/* Commands have no events in between here. */
static void get(struct kvmi_session *s, u16 event, u8 reset, struct list *list)
{
	struct kvmi_vm_get_rules req = { .event = event, .reset = reset };
	struct kvmi_msg msg;
	u32 seq;

	seq = kvmi_send_cmd(s, KVMI_VM_GET_RULES, &req, sizeof(req));
	kvmi_recv(s, &msg);
	TEST_ASSERT_EQ(msg.hdr.id, KVMI_VM_GET_RULES);
	TEST_ASSERT_EQ(msg.hdr.seq, seq);
	TEST_ASSERT(msg.hdr.size <= sizeof(*list), "%u bytes", msg.hdr.size);
	memset(list, 0, sizeof(*list));
	memcpy(list, msg.data, msg.hdr.size);
	TEST_ASSERT_EQ(list->ec.err, 0);
	TEST_ASSERT_EQ(list->ec.padding, 0);
	TEST_ASSERT_EQ(list->hdr.padding, 0);
	TEST_ASSERT_EQ(msg.hdr.size, offsetof(struct list, rules[list->hdr.count]));
}

static u64 hits(struct kvmi_session *s, u16 event, int nr)
{
	struct list list;

	get(s, event, 0, &list);
	TEST_ASSERT((u32)nr < list.hdr.count, "%u rules", list.hdr.count);
	TEST_ASSERT_EQ(list.hdr.dropped, 0);
	return list.rules[nr].hits;
}

static void go(struct _test_data_kvmi_rules *self)
{
	kvmi_reply(&self->g.s, &self->pause, KVMI_EVENT_ACTION_ALLOW);
}

static void wait_question(struct kvmi_guest *g, const struct question *q,
			  u16 flags, struct kvmi_event *ev)
{
	kvmi_wait_event(&g->s, q->event, ev);
	TEST_ASSERT_EQ(ev->ev.flags, flags);
	TEST_ASSERT_EQ(ev->common.arch.regs.rip, CODE);
}

KVMI_TEST(kvmi_rules, none)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;
	struct list list;

	get(&g->s, variant->q.event, 0, &list);
	TEST_ASSERT_EQ(list.hdr.count, 0);
	TEST_ASSERT_EQ(list.hdr.dropped, 0);
	go(self);
	wait_question(g, &variant->q, 0, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_guest_stop_normally(g);
}

KVMI_TEST(kvmi_rules, ask)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	set_one(&g->s, variant->q.event, KVMI_RULE_ASK, NULL);
	go(self);
	wait_question(g, &variant->q, 0, &ev);
	TEST_ASSERT_EQ(hits(&g->s, variant->q.event, 0), 1);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_guest_stop_normally(g);
}

KVMI_TEST(kvmi_rules, allow)
{
	struct kvmi_guest *g = &self->g;

	set_one(&g->s, variant->q.event, KVMI_RULE_ALLOW, NULL);
	go(self);
	kvmi_guest_stop_normally(g);
	/* Such an exception is not even a VM exit. */
	TEST_ASSERT_EQ(hits(&g->s, variant->q.event, 0),
		       variant->q.event != KVMI_VCPU_EVENT_TRAP);
}

KVMI_TEST(kvmi_rules, notify)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	set_one(&g->s, variant->q.event, KVMI_RULE_NOTIFY, NULL);
	go(self);
	wait_question(g, &variant->q, KVMI_EVENT_NOTIFICATION, &ev);
	kvmi_guest_stop_normally(g);
	TEST_ASSERT_EQ(hits(&g->s, variant->q.event, 0), 1);
}

KVMI_TEST(kvmi_rules, skip)
{
	struct kvmi_guest_state wanted = self->g.start;
	struct kvmi_guest *g = &self->g;
	struct kvmi_rule rule = { .verdict = KVMI_RULE_SKIP };

	if (!variant->q.accepts_skip) {
		TEST_ASSERT_KVMI(set(&g->s, variant->q.event, &rule, 1), -KVM_EINVAL);
		TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, variant->q.event, 0), 0);
		go(self);
		kvmi_unhook(&g->s);
		g->s.vm = NULL;
		g->r.s = NULL;
		kvmi_guest_stop_normally(g);
		return;
	}

	set_one(&g->s, variant->q.event, KVMI_RULE_SKIP, NULL);
	go(self);
	TEST_ASSERT_EQ(kvmi_guest_stop(g), KVMI_GUEST_NO_EXCEPTION);
	wanted.regs.rip = g->end;
	kvmi_guest_compare(&g->state, &wanted);
	if (variant->q.event == KVMI_VCPU_EVENT_MSR)
		TEST_ASSERT_EQ(vcpu_get_msr(g->vcpu, variant->q.rcx), 0);
	TEST_ASSERT_EQ(hits(&g->s, variant->q.event, 0), 1);
}

KVMI_TEST(kvmi_rules, crash)
{
	struct kvmi_guest *g = &self->g;
	int i;

	set_one(&g->s, variant->q.event, KVMI_RULE_CRASH, NULL);
	go(self);
	for (i = 0; i < 2; i++) {
		kvmi_run_wait_exit(&g->r, KVM_EXIT_INTROSPECTION);
		TEST_ASSERT_EQ(g->vcpu->run->introspection.reason,
			       KVM_INTROSPECTION_EXIT_CRASH);
		TEST_ASSERT_EQ(g->vcpu->run->introspection.event, variant->q.event);
		TEST_ASSERT_EQ(g->vcpu->run->introspection.seq, 0);
		kvmi_run_start(&g->r, &g->s, g->vcpu);
	}
	kvmi_run_wait_exit(&g->r, KVM_EXIT_INTROSPECTION);
	kvmi_guest_get_state(g, &g->state);
	TEST_ASSERT_EQ(g->state.regs.rip, CODE);
	kvmi_unhook(&g->s);
	g->s.vm = NULL;
	kvmi_run_start(&g->r, NULL, g->vcpu);
	kvmi_guest_stop_normally(g);
}

/* Every condition: a rule that does not match is followed by one that does. */
static void check_conditions(struct _test_data_kvmi_rules *self,
			     const struct question *q,
			     const struct kvmi_rule *meets,
			     const struct kvmi_rule *misses)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_rule rules[] = { *misses, *meets };
	struct kvmi_event ev;

	rules[0].verdict = KVMI_RULE_CRASH;
	rules[1].verdict = KVMI_RULE_ASK;
	TEST_ASSERT_KVMI(set(&g->s, q->event, rules, 2), 0);
	go(self);
	wait_question(g, q, 0, &ev);
	TEST_ASSERT_EQ(hits(&g->s, q->event, 0), 0);
	TEST_ASSERT_EQ(hits(&g->s, q->event, 1), 1);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_guest_stop_normally(g);
	kvmi_guest_reset(g);
	if (q->event == KVMI_VCPU_EVENT_MSR)
		vcpu_set_msr(g->vcpu, (u32)q->rcx, 0);
	kvmi_guest_park(g, &self->pause);
}

KVMI_TEST(kvmi_rules, conditions_of_the_event)
{
	const struct question *q = &variant->q;
	int i;

	for (i = 0; i < ARRAY_SIZE(q->meets) && q->meets[i].match; i++)
		check_conditions(self, q, &q->meets[i], &q->misses[i]);
	TEST_ASSERT(i, "No condition");
	TEST_ASSERT_KVMI(kvmi_control_event(&self->g.s, 0, variant->q.event, 0), 0);
	kvmi_unpark(&self->g.s, &self->pause);
	kvmi_unhook(&self->g.s);
	self->g.s.vm = NULL;
	self->g.r.s = NULL;
	kvmi_guest_stop_normally(&self->g);
}

#define RIP(_first, _last)						\
	{ .match = KVMI_MATCH_RIP, .rip_first = (_first), .rip_last = (_last) }
#define CR3(_mask, _value)						\
	{ .match = KVMI_MATCH_CR3, .cr3_mask = (_mask), .cr3 = (_value) }

KVMI_TEST(kvmi_rules, conditions_of_the_vcpu)
{
	u64 cr3 = self->g.start.sregs.cr3;
	const struct kvmi_rule meets[] = {
		{ .match = KVMI_MATCH_CPL, .cpls = 1 },
		{ .match = KVMI_MATCH_CPL, .cpls = 0xf },
		{ .match = KVMI_MATCH_VCPU, .vcpu = 0 },
		{ .match = KVMI_MATCH_VIEW, .view = 0 },
		RIP(CODE, CODE), RIP(0, ~0ull), RIP(CODE - 1, CODE + 1),
		CR3(~0ull, cr3), CR3(0, 0),
	};
	const struct kvmi_rule misses[] = {
		{ .match = KVMI_MATCH_CPL, .cpls = 0xe },
		{ .match = KVMI_MATCH_CPL, .cpls = 8 },
		{ .match = KVMI_MATCH_VCPU, .vcpu = 1 },
		{ .match = KVMI_MATCH_VIEW, .view = 1 },
		RIP(CODE + 1, CODE + 1), RIP(0, CODE - 1), RIP(CODE + 1, ~0ull),
		CR3(~0ull, cr3 ^ 0x1000), CR3(0x8000000000000000, 0x8000000000000000),
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(meets); i++)
		check_conditions(self, &variant->q, &meets[i], &misses[i]);
	TEST_ASSERT_KVMI(kvmi_control_event(&self->g.s, 0, variant->q.event, 0), 0);
	kvmi_unpark(&self->g.s, &self->pause);
	kvmi_unhook(&self->g.s);
	self->g.s.vm = NULL;
	self->g.r.s = NULL;
	kvmi_guest_stop_normally(&self->g);
}

/* All conditions of a rule have to be met. */
KVMI_TEST(kvmi_rules, all_conditions)
{
	const struct question *q = &variant->q;
	struct kvmi_guest *g = &self->g;
	struct kvmi_rule rule = q->meets[0];
	struct kvmi_event ev;

	rule.verdict = KVMI_RULE_CRASH;
	rule.match |= KVMI_MATCH_RIP | KVMI_MATCH_CPL;
	rule.rip_first = CODE + 1;
	rule.rip_last = CODE + 1;
	rule.cpls = 1;
	TEST_ASSERT_KVMI(set(&g->s, q->event, &rule, 1), 0);
	go(self);
	wait_question(g, q, 0, &ev);
	TEST_ASSERT_EQ(hits(&g->s, q->event, 0), 0);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_guest_stop_normally(g);
}

/* KVM_RUN returns with an event open that a rule asks about. */
KVMI_TEST(kvmi_rules, ask_and_signal)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	set_one(&g->s, variant->q.event, KVMI_RULE_ASK, NULL);
	go(self);
	wait_question(g, &variant->q, 0, &ev);
	kvmi_run_signal(&g->r);
	kvmi_run_wait_eintr(&g->r);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	kvmi_guest_stop_normally(g);
}

/* Rules outlive their tool, and decide for a guest that would stop without it. */
KVMI_TEST(kvmi_rules, tool_lost)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event pause;
	struct list list;

	kvmi_unhook(&g->s);
	g->r.s = NULL;
	kvmi_guest_stop(g);
	kvmi_guest_reset(g);
	if (variant->q.event == KVMI_VCPU_EVENT_MSR)
		vcpu_set_msr(g->vcpu, (u32)variant->q.rcx, 0);
	kvmi_hook_with(&g->s, g->vm, (struct kvm_introspection_hook) {
		.on_loss = KVM_INTROSPECTION_STOP,
	});
	kvmi_guest_park(g, &pause);
	if (variant->q.event == KVMI_VCPU_EVENT_CR)
		TEST_ASSERT_KVMI(kvmi_control_cr(&g->s, 0, 4, 1), 0);
	if (variant->q.event == KVMI_VCPU_EVENT_MSR)
		TEST_ASSERT_KVMI(kvmi_control_msr(&g->s, 0, variant->q.rcx, 1), 0);
	if (variant->q.event == KVMI_VCPU_EVENT_PF)
		kvmi_guest_restrict(g, DATA, RX);
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, variant->q.event, 1), 0);
	set_one(&g->s, variant->q.event, KVMI_RULE_NOTIFY, &variant->q.meets[0]);
	kvmi_unpark(&g->s, &pause);
	kvmi_wait_event(&g->s, variant->q.event, &pause);
	kvmi_guest_stop_normally(g);

	kvmi_guest_reset(g);
	if (variant->q.event == KVMI_VCPU_EVENT_MSR)
		vcpu_set_msr(g->vcpu, (u32)variant->q.rcx, 0);
	kvmi_close(&g->s);
	kvmi_attach_when_lost(&g->s, g->vm);
	kvmi_close(&g->s);
	/* Whether KVM has noticed or not */
	kvmi_run_start(&g->r, NULL, g->vcpu);
	kvmi_guest_stop_normally(g);
	kvmi_attach_when_lost(&g->s, g->vm);
	get(&g->s, variant->q.event, 0, &list);
	TEST_ASSERT_EQ(list.hdr.count, 1);
	TEST_ASSERT_EQ(list.rules[0].hits, 2);
	TEST_ASSERT(list.hdr.dropped <= 1, "%llu dropped", list.hdr.dropped);
	TEST_ASSERT_EQ(list.rules[0].rule.verdict, KVMI_RULE_NOTIFY);
}

/* The rest needs one event only. */
FIXTURE(kvmi_rules_set) {
	struct kvmi_guest g;
	struct kvmi_event pause;
	/* Of the basic leaves of CPUID */
	u32 last_leaf;
};

/* A leaf that no guest needs: the serial number of the processor */
#define MISSING_LEAF	3

static void drop_leaf(struct kvm_vcpu *vcpu, u32 leaf)
{
	struct kvm_cpuid2 *cpuid = vcpu->cpuid;
	unsigned int i, nr = 0;

	for (i = 0; i < cpuid->nent; i++)
		if (cpuid->entries[i].function != leaf)
			cpuid->entries[nr++] = cpuid->entries[i];
	cpuid->nent = nr;
	vcpu_set_cpuid(vcpu);
}

FIXTURE_SETUP(kvmi_rules_set)
{
	struct kvmi_guest *g = &self->g;

	kvmi_guest_create(g, KVMI_GUEST_LONG);
	drop_leaf(g->vcpu, MISSING_LEAF);
	g->start.regs.rax = 0x5a;
	self->last_leaf = vcpu_get_cpuid_entry(g->vcpu, 0)->eax;
	kvmi_guest_code(g, CPUID NOP);
	kvmi_guest_run_normally(g);
	kvmi_guest_park(g, &self->pause);
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, KVMI_VCPU_EVENT_CPUID, 1), 0);
}

FIXTURE_TEARDOWN(kvmi_rules_set)
{
	kvmi_guest_free(&self->g);
}

static void finish(struct _test_data_kvmi_rules_set *self)
{
	struct kvmi_guest *g = &self->g;

	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, KVMI_VCPU_EVENT_CPUID, 0), 0);
	kvmi_reply(&g->s, &self->pause, KVMI_EVENT_ACTION_ALLOW);
	kvmi_guest_stop_normally(g);
}

KVMI_TEST(kvmi_rules_set, first_one_decides)
{
	struct kvmi_rule rules[MAX_RULES] = {};
	struct kvmi_guest *g = &self->g;
	struct list list;
	int i;

	for (i = 0; i < MAX_RULES - 2; i++)
		rules[i] = (struct kvmi_rule) {
			.verdict = KVMI_RULE_CRASH,
			.match = KVMI_MATCH_NUMBER,
			.first = 0x100 + i,
			.last = 0x100 + i,
		};
	rules[MAX_RULES - 2].verdict = KVMI_RULE_ALLOW;
	rules[MAX_RULES - 1].verdict = KVMI_RULE_CRASH;
	TEST_ASSERT_KVMI(set(&g->s, KVMI_VCPU_EVENT_CPUID, rules, MAX_RULES), 0);
	kvmi_reply(&g->s, &self->pause, KVMI_EVENT_ACTION_ALLOW);
	kvmi_guest_stop_normally(g);

	/* What was set is listed, and counted until it is reset. */
	get(&g->s, KVMI_VCPU_EVENT_CPUID, 1, &list);
	TEST_ASSERT_EQ(list.hdr.count, MAX_RULES);
	for (i = 0; i < MAX_RULES; i++) {
		TEST_ASSERT(!memcmp(&list.rules[i].rule, &rules[i], sizeof(rules[i])),
			    "Rule %d", i);
		TEST_ASSERT_EQ(list.rules[i].hits, i == MAX_RULES - 2);
	}
	TEST_ASSERT_EQ(hits(&g->s, KVMI_VCPU_EVENT_CPUID, MAX_RULES - 2), 0);
}

KVMI_TEST(kvmi_rules_set, replaced)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;
	struct list list;

	set_one(&g->s, KVMI_VCPU_EVENT_CPUID, KVMI_RULE_CRASH, NULL);
	set_one(&g->s, KVMI_VCPU_EVENT_CPUID, KVMI_RULE_ALLOW, NULL);
	get(&g->s, KVMI_VCPU_EVENT_CPUID, 0, &list);
	TEST_ASSERT_EQ(list.hdr.count, 1);
	TEST_ASSERT_EQ(list.rules[0].rule.verdict, KVMI_RULE_ALLOW);
	TEST_ASSERT_KVMI(set(&g->s, KVMI_VCPU_EVENT_CPUID, NULL, 0), 0);
	get(&g->s, KVMI_VCPU_EVENT_CPUID, 0, &list);
	TEST_ASSERT_EQ(list.hdr.count, 0);

	kvmi_reply(&g->s, &self->pause, KVMI_EVENT_ACTION_ALLOW);
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_CPUID, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_guest_stop_normally(g);
}

/* They are of the session. */
KVMI_TEST(kvmi_rules_set, unhooked)
{
	struct kvmi_guest *g = &self->g;
	struct list list;

	set_one(&g->s, KVMI_VCPU_EVENT_CPUID, KVMI_RULE_CRASH, NULL);
	kvmi_unhook(&g->s);
	kvmi_guest_stop_normally(g);
	kvmi_hook(&g->s, g->vm);
	get(&g->s, KVMI_VCPU_EVENT_CPUID, 0, &list);
	TEST_ASSERT_EQ(list.hdr.count, 0);
}

/* A rule does not turn its event on. */
KVMI_TEST(kvmi_rules_set, event_is_off)
{
	struct kvmi_guest *g = &self->g;

	set_one(&g->s, KVMI_VCPU_EVENT_CPUID, KVMI_RULE_CRASH, NULL);
	finish(self);
	TEST_ASSERT_EQ(hits(&g->s, KVMI_VCPU_EVENT_CPUID, 0), 0);
}

/* An exception that the tool injects is reported, whatever the rules are. */
KVMI_TEST(kvmi_rules_set, injected)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, KVMI_VCPU_EVENT_TRAP, 1), 0);
	set_one(&g->s, KVMI_VCPU_EVENT_TRAP, KVMI_RULE_ALLOW, NULL);
	TEST_ASSERT_KVMI(kvmi_inject(&g->s, 0, GP_VECTOR, 0, 0), 0);
	kvmi_reply(&g->s, &self->pause, KVMI_EVENT_ACTION_ALLOW);
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_TRAP, &ev);
	TEST_ASSERT_EQ(ev.trap.nr, GP_VECTOR);
	TEST_ASSERT_EQ(ev.ev.flags, 0);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	TEST_ASSERT_EQ(kvmi_guest_stop(g), GP_VECTOR);
	TEST_ASSERT_EQ(hits(&g->s, KVMI_VCPU_EVENT_TRAP, 0), 0);
}

/* The tool does not answer what it is only told. */
KVMI_TEST(kvmi_rules_set, reply_to_notification)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	set_one(&g->s, KVMI_VCPU_EVENT_CPUID, KVMI_RULE_NOTIFY, NULL);
	kvmi_reply(&g->s, &self->pause, KVMI_EVENT_ACTION_ALLOW);
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_CPUID, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_expect_closed(&g->s);
	kvmi_guest_stop_normally(g);
}

struct bad_rule {
	u16 event;
	struct kvmi_rule rule;
};

static const struct bad_rule bad_rules[] = {
	{ KVMI_VCPU_EVENT_PAUSE },
	{ KVMI_VCPU_EVENT_SINGLESTEP },
	{ KVMI_VCPU_EVENT_CREATE_VCPU },
	{ KVMI_VM_EVENT_UNHOOK },
	{ 2 },
	{ KVMI_NUM_EVENTS },
	{ 0xffff },
	{ KVMI_VCPU_EVENT_CPUID, { .verdict = KVMI_RULE_TRACE } },
	{ KVMI_VCPU_EVENT_ACCESS, { .verdict = KVMI_RULE_TRACE } },
	{ KVMI_VCPU_EVENT_CPUID, { .verdict = 6 } },
	{ KVMI_VCPU_EVENT_CPUID, { .verdict = 255 } },
	{ KVMI_VCPU_EVENT_TRAP, { .verdict = KVMI_RULE_SKIP } },
	{ KVMI_VCPU_EVENT_CPUID, { .match = 0x200 } },
	{ KVMI_VCPU_EVENT_CPUID, { .match = 0x8000 } },
	{ KVMI_VCPU_EVENT_CPUID, { .padding = 1 } },
	/* Conditions that the event does not have */
	{ KVMI_VCPU_EVENT_HYPERCALL, NUMBER(0, 1) },
	{ KVMI_VCPU_EVENT_HYPERCALL, VALUE(0, 0) },
	{ KVMI_VCPU_EVENT_CPUID, CHANGED(1) },
	{ KVMI_VCPU_EVENT_CPUID, KIND(1) },
	{ KVMI_VCPU_EVENT_PF, VALUE(0, 0) },
	{ KVMI_VCPU_EVENT_DESCRIPTOR, NUMBER(0, 1) },
	{ KVMI_VCPU_EVENT_BREAKPOINT, KIND(1) },
	/* Fields of conditions that do not apply */
	{ KVMI_VCPU_EVENT_CPUID, { .cpls = 1 } },
	{ KVMI_VCPU_EVENT_CPUID, { .vcpu = 1 } },
	{ KVMI_VCPU_EVENT_CPUID, { .view = 1 } },
	{ KVMI_VCPU_EVENT_CPUID, { .kinds = 1 } },
	{ KVMI_VCPU_EVENT_CPUID, { .cr3 = 1 } },
	{ KVMI_VCPU_EVENT_CPUID, { .cr3_mask = 1 } },
	{ KVMI_VCPU_EVENT_CPUID, { .rip_first = 1 } },
	{ KVMI_VCPU_EVENT_CPUID, { .rip_last = 1 } },
	{ KVMI_VCPU_EVENT_CPUID, { .first = 1 } },
	{ KVMI_VCPU_EVENT_CPUID, { .last = 1 } },
	{ KVMI_VCPU_EVENT_CPUID, { .value = 1 } },
	{ KVMI_VCPU_EVENT_CPUID, { .value_mask = 1 } },
	{ KVMI_VCPU_EVENT_CPUID, { .changed = 1 } },
	/* What nothing can meet */
	{ KVMI_VCPU_EVENT_CPUID, { .match = KVMI_MATCH_CPL } },
	{ KVMI_VCPU_EVENT_CPUID, { .match = KVMI_MATCH_CPL, .cpls = 0x11 } },
	{ KVMI_VCPU_EVENT_CPUID, { .match = KVMI_MATCH_VIEW, .view = 7 } },
	{ KVMI_VCPU_EVENT_CPUID, CR3(1, 2) },
	{ KVMI_VCPU_EVENT_CPUID, RIP(2, 1) },
	{ KVMI_VCPU_EVENT_CPUID, NUMBER(2, 1) },
	{ KVMI_VCPU_EVENT_CPUID, VALUE(1, 2) },
	{ KVMI_VCPU_EVENT_MSR, CHANGED(0) },
	{ KVMI_VCPU_EVENT_PF, KIND(0) },
	/* Or not in part */
	{ KVMI_VCPU_EVENT_PF, KIND(KVMI_PAGE_ACCESS_XU) },
	{ KVMI_VCPU_EVENT_PF, KIND(KVMI_PAGE_ACCESS_W | KVMI_PAGE_ACCESS_XS) },
	{ KVMI_VCPU_EVENT_PF, KIND(1U << 31) },
	{ KVMI_VCPU_EVENT_ACCESS, KIND(KVMI_PAGE_ACCESS_R | KVMI_PAGE_ACCESS_X) },
	{ KVMI_VCPU_EVENT_DESCRIPTOR, KIND(1) },
	{ KVMI_VCPU_EVENT_DESCRIPTOR, KIND(BIT(KVMI_DESC_TR) << 1) },
	{ KVMI_VCPU_EVENT_DESCRIPTOR, KIND(BIT(KVMI_DESC_IDTR) | 1 << KVMI_KIND_WRITE_SHIFT) },
	/* Less than a page */
	{ KVMI_VCPU_EVENT_PF, NUMBER(0x1000, 0x1ffe) },
	{ KVMI_VCPU_EVENT_PF, NUMBER(0x1001, 0x1fff) },
	{ KVMI_VCPU_EVENT_PF, NUMBER(0x1800, 0x27ff) },
};

KVMI_TEST(kvmi_rules_set, bad_rule)
{
	const struct bad_rule *bad;
	struct kvmi_rule rules[2] = {};
	struct kvmi_guest *g = &self->g;
	struct list list;

	set_one(&g->s, KVMI_VCPU_EVENT_CPUID, KVMI_RULE_ALLOW, NULL);
	for (bad = bad_rules; bad < bad_rules + ARRAY_SIZE(bad_rules); bad++) {
		int err = set(&g->s, bad->event, &bad->rule, 1);

		TEST_ASSERT(err == -KVM_EINVAL, "Rule %zd is answered %d",
			    bad - bad_rules, err);
		/* Not a part of the list either */
		rules[1] = bad->rule;
		TEST_ASSERT_KVMI(set(&g->s, bad->event, rules, 2), -KVM_EINVAL);
	}
	/* Nothing has changed. */
	get(&g->s, KVMI_VCPU_EVENT_CPUID, 0, &list);
	TEST_ASSERT_EQ(list.hdr.count, 1);
	TEST_ASSERT_EQ(list.rules[0].rule.verdict, KVMI_RULE_ALLOW);
	finish(self);
}

KVMI_TEST(kvmi_rules_set, bad_request)
{
	static const struct kvmi_vm_set_rules sets[] = {
		{ .event = KVMI_VCPU_EVENT_CPUID, .padding = 1 },
		{ .event = KVMI_VCPU_EVENT_CPUID, .padding = 0x80000000 },
	};
	static const struct kvmi_vm_get_rules gets[] = {
		{ .event = KVMI_VCPU_EVENT_PAUSE },
		{ .event = KVMI_VM_EVENT_UNHOOK },
		{ .event = KVMI_NUM_EVENTS },
		{ .event = KVMI_VCPU_EVENT_CPUID, .reset = 2 },
		{ .event = KVMI_VCPU_EVENT_CPUID, .padding1 = 1 },
		{ .event = KVMI_VCPU_EVENT_CPUID, .padding2 = 1 },
	};
	struct kvmi_session *s = &self->g.s;
	struct {
		struct kvmi_vm_set_rules hdr;
		struct kvmi_rule rules[MAX_RULES + 1];
	} many = { .hdr = { .event = KVMI_VCPU_EVENT_CPUID, .count = MAX_RULES + 1 } };
	int i;

	for (i = 0; i < ARRAY_SIZE(sets); i++)
		TEST_ASSERT_KVMI(kvmi_cmd(s, KVMI_VM_SET_RULES, &sets[i],
					  sizeof(sets[i]), NULL, 0), -KVM_EINVAL);
	for (i = 0; i < ARRAY_SIZE(gets); i++)
		TEST_ASSERT_KVMI(kvmi_cmd(s, KVMI_VM_GET_RULES, &gets[i],
					  sizeof(gets[i]), NULL, 0), -KVM_EINVAL);
	TEST_ASSERT_KVMI(kvmi_cmd(s, KVMI_VM_SET_RULES, &many, sizeof(many), NULL, 0),
			 -KVM_EINVAL);
	/* What is not there is zero, which is no list. */
	TEST_ASSERT_KVMI(kvmi_cmd(s, KVMI_VM_SET_RULES, &many, sizeof(many.hdr.event), NULL,
				  0), 0);
	TEST_ASSERT_KVMI(kvmi_cmd(s, KVMI_VM_SET_RULES, NULL, 0, NULL, 0), -KVM_EINVAL);
	finish(self);
}

KVMI_TEST(kvmi_rules_set, not_allowed)
{
	struct kvmi_vm_get_rules req = { .event = KVMI_VCPU_EVENT_CPUID };
	struct kvmi_guest *g = &self->g;

	TEST_ASSERT_EQ(__kvmi_event(g->vm, 0, KVMI_VCPU_EVENT_CPUID), 0);
	TEST_ASSERT_KVMI(set(&g->s, KVMI_VCPU_EVENT_CPUID, NULL, 0), -KVM_EPERM);
	TEST_ASSERT_KVMI(kvmi_cmd(&g->s, KVMI_VM_GET_RULES, &req, sizeof(req), NULL, 0),
			 -KVM_EPERM);
	TEST_ASSERT_EQ(__kvmi_event(g->vm, 1, KVMI_VCPU_EVENT_CPUID), 0);
	TEST_ASSERT_KVMI(set(&g->s, KVMI_VCPU_EVENT_CPUID, NULL, 0), 0);

	TEST_ASSERT_EQ(__kvmi_command(g->vm, 0, KVMI_VM_SET_RULES), 0);
	TEST_ASSERT_KVMI(set(&g->s, KVMI_VCPU_EVENT_CPUID, NULL, 0), -KVM_EPERM);
	TEST_ASSERT_EQ(__kvmi_command(g->vm, 1, KVMI_VM_SET_RULES), 0);
	finish(self);
}

KVMI_TEST(kvmi_rules_set, cut)
{
	struct rules req = { .hdr = { .event = KVMI_VCPU_EVENT_CPUID, .count = 2 } };
	struct kvmi_guest *g = &self->g;

	kvmi_send_cmd(&g->s, KVMI_VM_SET_RULES, &req,
		      offsetof(struct rules, rules[2]) - 1);
	kvmi_expect_closed(&g->s);
	kvmi_guest_stop_normally(g);
}

/* Notifications to a tool that does not read are dropped, and counted. */
KVMI_TEST(kvmi_rules_set, dropped)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;
	struct list list;
	u64 nr = 0;
	int i;

	/* MOV ECX, 5000; PUSH RCX; CPUID; POP RCX; DEC ECX; JNZ back to PUSH */
	kvmi_reply(&g->s, &self->pause, KVMI_EVENT_ACTION_ALLOW);
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_CPUID, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_guest_stop_normally(g);
	kvmi_guest_code(g, "\xb9\x88\x13\x00\x00\x51" CPUID "\x59\xff\xc9\x75\xf8");
	kvmi_guest_reset(g);
	set_one(&g->s, KVMI_VCPU_EVENT_CPUID, KVMI_RULE_NOTIFY, NULL);
	g->r.s = NULL;
	kvmi_run_start(&g->r, NULL, g->vcpu);
	TEST_ASSERT_EQ(kvmi_guest_stop(g), KVMI_GUEST_NO_EXCEPTION);

	while (kvmi_bytes_to_read(&g->s)) {
		kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_CPUID, &ev);
		TEST_ASSERT_EQ(ev.ev.flags, KVMI_EVENT_NOTIFICATION);
		nr++;
	}
	/* One may have been written in part, and follows when there is room. */
	for (i = 0; i < 2; i++) {
		get(&g->s, KVMI_VCPU_EVENT_CPUID, 0, &list);
		if (nr + list.hdr.dropped == 5000)
			break;
		kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_CPUID, &ev);
		nr++;
	}
	TEST_ASSERT_EQ(nr + list.hdr.dropped, 5000);
	TEST_ASSERT_EQ(list.rules[0].hits, 5000);
	TEST_ASSERT(list.hdr.dropped, "Nothing was dropped");
	TEST_ASSERT(nr, "Nothing was sent");
	get(&g->s, KVMI_VCPU_EVENT_CPUID, 1, &list);
	get(&g->s, KVMI_VCPU_EVENT_CPUID, 0, &list);
	TEST_ASSERT_EQ(list.hdr.dropped, 0);
	TEST_ASSERT_EQ(list.rules[0].hits, 0);
}

/* CPUID with other operands, which rules that do not allow know the meaning of */
static void ask_about_cpuid(struct _test_data_kvmi_rules_set *self, u32 leaf, u32 subleaf,
			    const struct kvmi_rule *rules, unsigned int nr)
{
	struct kvmi_guest *g = &self->g;
	struct kvm_regs regs;
	struct kvmi_event ev;

	TEST_ASSERT_KVMI(set(&g->s, KVMI_VCPU_EVENT_CPUID, rules, nr), 0);
	regs = self->pause.common.arch.regs;
	regs.rax = leaf;
	regs.rcx = subleaf;
	TEST_ASSERT_KVMI(kvmi_set_registers(&g->s, 0, &regs), 0);
	kvmi_reply(&g->s, &self->pause, KVMI_EVENT_ACTION_ALLOW);
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_CPUID, &ev);
	TEST_ASSERT_EQ(ev.cpuid.function, leaf);
	TEST_ASSERT_EQ(ev.cpuid.index, subleaf);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);
	TEST_ASSERT_EQ(kvmi_guest_stop(g), KVMI_GUEST_NO_EXCEPTION);
}

static void expect_cpuid(struct _test_data_kvmi_rules_set *self, u32 leaf, u32 subleaf,
			 const struct kvmi_rule *conditions)
{
	struct kvmi_rule rules[] = { *conditions, { .verdict = KVMI_RULE_ALLOW } };

	rules[0].verdict = KVMI_RULE_ASK;
	ask_about_cpuid(self, leaf, subleaf, rules, ARRAY_SIZE(rules));
}

/* Answered like the last of the basic leaves, except to guests on AMD */
KVMI_TEST(kvmi_rules_set, leaf_out_of_range)
{
	struct kvmi_rule rule = NUMBER(self->last_leaf, self->last_leaf);

	if (host_cpu_is_amd_compatible)
		SKIP(return, "It is answered with zeroes");
	expect_cpuid(self, 0xfffff0, 0, &rule);
}

/* Answered with zeroes, not like the last one */
KVMI_TEST(kvmi_rules_set, leaf_in_range_that_does_not_exist)
{
	struct kvmi_rule rule = NUMBER(self->last_leaf, self->last_leaf);

	TEST_ASSERT(self->last_leaf > MISSING_LEAF, "No leaf is out of range");
	rule.verdict = KVMI_RULE_CRASH;
	ask_about_cpuid(self, MISSING_LEAF, 0, &rule, 1);
}

KVMI_TEST(kvmi_rules_set, leaf_without_subleaves)
{
	struct kvmi_rule rule = VALUE(~0ull, 0);

	rule.match |= KVMI_MATCH_NUMBER;
	rule.first = 1;
	rule.last = 1;
	expect_cpuid(self, 1, 5, &rule);
}

/* It is zero, and neither another one of its leaf nor another leaf. */
KVMI_TEST(kvmi_rules_set, subleaf_that_does_not_exist)
{
	struct kvmi_rule rules[] = {
		VALUE(~0ull, 0),
		NUMBER(self->last_leaf, self->last_leaf),
	};

	if (!kvm_cpu_has(X86_FEATURE_XSAVE) || self->last_leaf == 0xd)
		SKIP(return, "No leaf for it");
	rules[0].verdict = KVMI_RULE_ALLOW;
	rules[0].match |= KVMI_MATCH_NUMBER;
	rules[0].first = 0xd;
	rules[0].last = 0xd;
	rules[1].verdict = KVMI_RULE_ALLOW;
	ask_about_cpuid(self, 0xd, 63, rules, ARRAY_SIZE(rules));
}

#define NR_PROCESSES	20
#define ROUNDS		5
/* Their page tables */
#define ROOTS		0x100000

/* Load CR3 with one after the other. */
static const u8 switch_processes[] = {
	0xb9, ROUNDS, 0, 0, 0,		/* MOV ECX, ROUNDS */
	0xb8, 0, 0, 0x10, 0,		/* MOV EAX, ROOTS */
	0x0f, 0x22, 0xd8,		/* MOV CR3, RAX */
	0x05, 0, 0x10, 0, 0,		/* ADD EAX, PAGE_SIZE */
	0x3d, 0, 0x40, 0x11, 0,		/* CMP EAX, the end of ROOTS */
	0x75, 0xf1,			/* JNE: MOV CR3 */
	0xff, 0xc9,			/* DEC ECX */
	0x75, 0xe8,			/* JNE: MOV EAX */
};

/* The tool is asked about one of many processes. */
TEST(kvmi_rules_one_process)
{
	const u64 watched = ROOTS + 7 * PAGE_SIZE;
	struct kvmi_rule rules[] = {
		VALUE(~(u64)(PAGE_SIZE - 1), watched),
		{ .verdict = KVMI_RULE_ALLOW },
	};
	struct kvmi_event pause, ev;
	struct kvmi_guest g;
	int i;

	rules[0].verdict = KVMI_RULE_ASK;
	kvmi_guest_create(&g, KVMI_GUEST_LONG);
	vm_userspace_mem_region_add(g.vm, VM_MEM_SRC_ANONYMOUS, ROOTS, 2, NR_PROCESSES, 0);
	for (i = 0; i < NR_PROCESSES; i++)
		memcpy(addr_gpa2hva(g.vm, ROOTS + i * PAGE_SIZE),
		       g.start.mem + KVMI_GUEST_PAGE_TABLES, PAGE_SIZE);
	__kvmi_guest_code(&g, switch_processes, sizeof(switch_processes));
	kvmi_guest_run_normally(&g);
	kvmi_guest_park(&g, &pause);
	TEST_ASSERT_KVMI(kvmi_control_cr(&g.s, 0, 3, 1), 0);
	TEST_ASSERT_KVMI(kvmi_control_event(&g.s, 0, KVMI_VCPU_EVENT_CR, 1), 0);
	TEST_ASSERT_KVMI(set(&g.s, KVMI_VCPU_EVENT_CR, rules, ARRAY_SIZE(rules)), 0);
	kvmi_reply(&g.s, &pause, KVMI_EVENT_ACTION_ALLOW);
	for (i = 0; i < ROUNDS; i++) {
		kvmi_wait_event(&g.s, KVMI_VCPU_EVENT_CR, &ev);
		TEST_ASSERT_EQ(ev.cr.cr, 3);
		TEST_ASSERT_EQ(ev.cr.new_value, watched);
		TEST_ASSERT_EQ(ev.cr.old_value, watched - PAGE_SIZE);
		kvmi_reply(&g.s, &ev, KVMI_EVENT_ACTION_ALLOW);
	}
	kvmi_guest_stop_normally(&g);
	TEST_ASSERT_EQ(hits(&g.s, KVMI_VCPU_EVENT_CR, 0), ROUNDS);
	TEST_ASSERT_EQ(hits(&g.s, KVMI_VCPU_EVENT_CR, 1), ROUNDS * (NR_PROCESSES - 1));
	kvmi_guest_free(&g);
}

/* Access in the delivery of an exception: not by the instruction at RIP */
static void expect_delivery(u8 verdict, u16 match)
{
	struct kvmi_rule rule = { .verdict = verdict, .match = match };
	struct kvmi_event pause, ev;
	struct kvmi_guest g;

	if (match & KVMI_MATCH_RIP) {
		rule.rip_first = CODE;
		rule.rip_last = CODE;
	}
	if (match & KVMI_MATCH_CPL)
		rule.cpls = BIT(0);

	kvmi_guest_create(&g, KVMI_GUEST_LONG);
	/* UD2 */
	kvmi_guest_code(&g, "\x0f\x0b");
	kvmi_guest_run_normally(&g);
	kvmi_guest_restrict(&g, KVMI_GUEST_STACK - 8, RX);
	kvmi_guest_park(&g, &pause);
	TEST_ASSERT_KVMI(kvmi_control_event(&g.s, 0, KVMI_VCPU_EVENT_PF, 1), 0);
	TEST_ASSERT_KVMI(kvmi_control_event(&g.s, 0, KVMI_VCPU_EVENT_ACCESS, 1), 0);
	TEST_ASSERT_KVMI(set(&g.s, KVMI_VCPU_EVENT_PF, &rule, 1), 0);
	kvmi_reply(&g.s, &pause, KVMI_EVENT_ACTION_ALLOW);
	kvmi_wait_event(&g.s, KVMI_VCPU_EVENT_PF, &ev);
	TEST_ASSERT_EQ(ev.ev.flags, 0);
	TEST_ASSERT_EQ(ev.common.arch.regs.rip, CODE);
	TEST_ASSERT_EQ(ev.pf.access, KVMI_PAGE_ACCESS_W);
	TEST_ASSERT_EQ(ev.pf.flags, KVMI_PF_DELIVERY);
	TEST_ASSERT_EQ(hits(&g.s, KVMI_VCPU_EVENT_PF, 0), 0);
	set_one(&g.s, KVMI_VCPU_EVENT_PF, KVMI_RULE_ASK, NULL);
	kvmi_reply(&g.s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_guest_stop_normally(&g);
	kvmi_guest_free(&g);
}

TEST(kvmi_rules_delivery)
{
	if (!kvmi_has_page_access())
		SKIP(return, "Needs the TDP MMU");

	expect_delivery(KVMI_RULE_ALLOW, KVMI_MATCH_RIP);
	expect_delivery(KVMI_RULE_ALLOW, KVMI_MATCH_CPL);
	expect_delivery(KVMI_RULE_NOTIFY, KVMI_MATCH_RIP);
	expect_delivery(KVMI_RULE_SKIP, 0);
	expect_delivery(KVMI_RULE_TRACE, 0);
}

/* A rule is not about the page that is at its address in SMM. */
TEST(kvmi_rules_smm)
{
	struct {
		struct kvmi_vm_set_page_access hdr;
		struct kvmi_page_access_entry entry;
	} restriction = {
		.hdr = { .count = 1, .as_id = 1 },
		.entry = { .gpa = DATA, .npages = 1, .access = RX },
	};
	struct kvm_vcpu_events smm = { .flags = KVM_VCPUEVENT_VALID_SMM };
	struct kvmi_rule rule = NUMBER(DATA, DATA + 0xfff);
	struct kvmi_event pause, ev;
	struct kvmi_guest g;

	if (!kvmi_has_page_access() ||
	    kvm_check_cap(KVM_CAP_MULTI_ADDRESS_SPACE) < 2)
		SKIP(return, "Needs the TDP MMU, and an address space for SMM");

	kvmi_guest_create(&g, KVMI_GUEST_LONG);
	g.start.regs.rax = 0x5a;
	kvmi_guest_code(&g, WRITE);
	kvmi_guest_run_normally(&g);
	vm_set_user_memory_region(g.vm, 1 << 16, 0, 0, KVMI_GUEST_MEM_SIZE,
				  addr_gpa2hva(g.vm, 0));
	kvmi_hook(&g.s, g.vm);
	TEST_ASSERT_KVMI(kvmi_cmd(&g.s, KVMI_VM_SET_PAGE_ACCESS, &restriction,
				  sizeof(restriction), NULL, 0), 0);
	smm.smi.smm = 1;
	vcpu_events_set(g.vcpu, &smm);
	kvmi_guest_park(&g, &pause);
	TEST_ASSERT_KVMI(kvmi_control_event(&g.s, 0, KVMI_VCPU_EVENT_PF, 1), 0);
	set_one(&g.s, KVMI_VCPU_EVENT_PF, KVMI_RULE_ALLOW, &rule);
	kvmi_reply(&g.s, &pause, KVMI_EVENT_ACTION_ALLOW);
	kvmi_wait_event(&g.s, KVMI_VCPU_EVENT_PF, &ev);
	TEST_ASSERT_EQ(ev.ev.flags, 0);
	TEST_ASSERT_EQ(ev.common.arch.as_id, 1);
	TEST_ASSERT_EQ(ev.pf.gpa, DATA);
	/* Others are about both. */
	set_one(&g.s, KVMI_VCPU_EVENT_PF, KVMI_RULE_SKIP, &rule);
	kvmi_reply(&g.s, &ev, KVMI_EVENT_ACTION_RETRY);
	kvmi_guest_stop(&g);
	TEST_ASSERT_EQ(hits(&g.s, KVMI_VCPU_EVENT_PF, 0), 1);
	TEST_ASSERT_EQ(*(u8 *)addr_gpa2hva(g.vm, DATA), 0);

	smm.smi.smm = 0;
	vcpu_events_set(g.vcpu, &smm);
	vm_set_user_memory_region(g.vm, 1 << 16, 0, 0, 0, NULL);
	kvmi_guest_free(&g);
}

/* Bytes of a page that is restricted as a whole */
FIXTURE(kvmi_rules_bytes) {
	struct kvmi_guest g;
	struct kvmi_event pause;
};

FIXTURE_SETUP(kvmi_rules_bytes)
{
	struct kvmi_guest *g = &self->g;

	if (!kvmi_has_page_access())
		SKIP(return, "Needs the TDP MMU");
	kvmi_guest_create(g, KVMI_GUEST_LONG);
	g->start.regs.rax = 0x1122334455667788;
	kvmi_guest_code(g, WRITE_8);
	kvmi_guest_run_normally(g);
	kvmi_guest_restrict(g, DATA, RX);
	kvmi_guest_park(g, &self->pause);
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, KVMI_VCPU_EVENT_PF, 1), 0);
	set_one(&g->s, KVMI_VCPU_EVENT_PF, KVMI_RULE_TRACE, NULL);
}

FIXTURE_TEARDOWN(kvmi_rules_bytes)
{
	if (!self->g.vm)
		return;
	kvmi_guest_free(&self->g);
}

static void allow_bytes(struct kvmi_session *s, u64 first, u64 last)
{
	struct kvmi_rule rule = NUMBER(first, last);

	TEST_ASSERT_KVMI(kvmi_control_event(s, 0, KVMI_VCPU_EVENT_ACCESS, 1), 0);
	set_one(s, KVMI_VCPU_EVENT_ACCESS, KVMI_RULE_ALLOW, &rule);
}

KVMI_TEST(kvmi_rules_bytes, within)
{
	struct kvmi_guest *g = &self->g;

	allow_bytes(&g->s, DATA, DATA + 7);
	kvmi_reply(&g->s, &self->pause, KVMI_EVENT_ACTION_ALLOW);
	kvmi_guest_stop_normally(g);
	TEST_ASSERT_EQ(hits(&g->s, KVMI_VCPU_EVENT_PF, 0), 1);
	TEST_ASSERT_EQ(hits(&g->s, KVMI_VCPU_EVENT_ACCESS, 0), 1);
}

static void expect_access(struct kvmi_guest *g)
{
	struct kvmi_event ev;

	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_ACCESS, &ev);
	TEST_ASSERT_EQ(ev.access.gpa, DATA);
	TEST_ASSERT_EQ(ev.access.size, 8);
	TEST_ASSERT_EQ(hits(&g->s, KVMI_VCPU_EVENT_ACCESS, 0), 0);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_guest_stop_normally(g);
}

/* One byte less than the access */
KVMI_TEST(kvmi_rules_bytes, beyond)
{
	allow_bytes(&self->g.s, DATA, DATA + 6);
	kvmi_reply(&self->g.s, &self->pause, KVMI_EVENT_ACTION_ALLOW);
	expect_access(&self->g);
}

KVMI_TEST(kvmi_rules_bytes, before)
{
	allow_bytes(&self->g.s, DATA + 1, DATA + 0xfff);
	kvmi_reply(&self->g.s, &self->pause, KVMI_EVENT_ACTION_ALLOW);
	expect_access(&self->g);
}

/* One byte is enough to be refused. */
KVMI_TEST(kvmi_rules_bytes, skip)
{
	struct kvmi_rule rule = NUMBER(DATA + 7, DATA + 0xfff);
	struct kvmi_guest *g = &self->g;

	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, KVMI_VCPU_EVENT_ACCESS, 1), 0);
	set_one(&g->s, KVMI_VCPU_EVENT_ACCESS, KVMI_RULE_SKIP, &rule);
	kvmi_reply(&g->s, &self->pause, KVMI_EVENT_ACTION_ALLOW);
	kvmi_guest_stop_unchanged(g);
	TEST_ASSERT_EQ(hits(&g->s, KVMI_VCPU_EVENT_ACCESS, 0), 1);
}

/* Without ACCESS events nobody would look at the bytes. */
KVMI_TEST(kvmi_rules_bytes, access_is_off)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	kvmi_reply(&g->s, &self->pause, KVMI_EVENT_ACTION_ALLOW);
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_PF, &ev);
	TEST_ASSERT_EQ(ev.ev.flags, 0);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_guest_stop_normally(g);
}

static void ask_not_emulated(struct _test_data_kvmi_rules_bytes *self, u8 verdict)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	/* FNINIT; FLD1; FSTP qword [RDI] */
	kvmi_unhook(&g->s);
	g->s.vm = NULL;
	g->r.s = NULL;
	kvmi_guest_stop_normally(g);
	kvmi_guest_code(g, "\xdb\xe3\xd9\xe8\xdd\x1f");
	kvmi_guest_run_normally(g);
	kvmi_guest_restrict(g, DATA, RX);
	kvmi_guest_park(g, &self->pause);
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, KVMI_VCPU_EVENT_PF, 1), 0);
	allow_bytes(&g->s, DATA, DATA + 0xfff);
	set_one(&g->s, KVMI_VCPU_EVENT_PF, verdict, NULL);
	kvmi_reply(&g->s, &self->pause, KVMI_EVENT_ACTION_ALLOW);
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_PF, &ev);
	TEST_ASSERT_EQ(ev.ev.flags, 0);
	TEST_ASSERT_EQ(ev.pf.flags, KVMI_PF_NOT_EMULATED);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_guest_stop_normally(g);
}

/* An instruction that KVM does not implement is asked about. */
KVMI_TEST(kvmi_rules_bytes, trace_not_emulated)
{
	ask_not_emulated(self, KVMI_RULE_TRACE);
}

int main(int argc, char **argv)
{
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_INTROSPECTION));

	return test_harness_run(argc, argv);
}
