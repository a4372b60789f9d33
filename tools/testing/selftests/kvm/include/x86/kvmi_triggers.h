/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * KVM introspection: every event that a guest raises itself, with an instruction
 * that is the same code in each mode of the processor, where it is possible.
 */
#ifndef SELFTEST_KVM_KVMI_TRIGGERS_H
#define SELFTEST_KVM_KVMI_TRIGGERS_H

#include <asm/kvm_para.h>

#include "kvmi_guest.h"

#define KVMI_CAN_ALLOW	BIT(KVMI_EVENT_ACTION_ALLOW)
#define KVMI_CAN_RETRY	BIT(KVMI_EVENT_ACTION_RETRY)
#define KVMI_CAN_SKIP	BIT(KVMI_EVENT_ACTION_SKIP)

enum kvmi_trigger_id {
	KVMI_BY_PAUSE,
	KVMI_BY_HYPERCALL,
	KVMI_BY_BREAKPOINT,
	KVMI_BY_CR,
	KVMI_BY_TRAP,
	KVMI_BY_TRAP_INT3,
	KVMI_BY_XSETBV,
	KVMI_BY_DESCRIPTOR,
	KVMI_BY_MSR,
	KVMI_BY_PF,
	KVMI_BY_SINGLESTEP,
	KVMI_BY_CPUID,
	KVMI_BY_ACCESS,
	KVMI_NR_TRIGGERS
};

struct kvmi_trigger {
	u16 event;
	u8 actions;
	u8 size;
	u8 code[3];
	/* At CPL 0 only */
	bool privileged;
	/* With the data page restricted */
	bool restricted;
	u64 rax, rbx, rcx;
};

#define KVMI_TRIGGER(_event, _actions, ...)					\
	.event = KVMI_VCPU_EVENT_##_event, .actions = (_actions),		\
	.code = { __VA_ARGS__ }, .size = sizeof((u8[]){ __VA_ARGS__ })

#define KVMI_INSN_TRIGGER(_event, ...)						\
	KVMI_TRIGGER(_event, KVMI_CAN_ALLOW | KVMI_CAN_RETRY | KVMI_CAN_SKIP,	\
		     __VA_ARGS__)

static const struct kvmi_trigger kvmi_triggers[KVMI_NR_TRIGGERS] = {
	/* NOP */
	[KVMI_BY_PAUSE] = { KVMI_TRIGGER(PAUSE, KVMI_CAN_ALLOW, 0x90) },
	/* VMCALL, or VMMCALL */
	[KVMI_BY_HYPERCALL] = {
		KVMI_INSN_TRIGGER(HYPERCALL, 0x0f, 0x01, 0xc1),
		.rax = KVM_HC_XEN_HVM_OP,
		.rbx = KVM_HC_XEN_HVM_OP_GUEST_REQUEST_VM_EVENT,
	},
	[KVMI_BY_BREAKPOINT] = { KVMI_INSN_TRIGGER(BREAKPOINT, 0xcc) },
	/* MOV to CR4 */
	[KVMI_BY_CR] = {
		KVMI_INSN_TRIGGER(CR, 0x0f, 0x22, 0xe0),
		.privileged = true,
	},
	/* UD2 */
	[KVMI_BY_TRAP] = {
		KVMI_TRIGGER(TRAP, KVMI_CAN_ALLOW | KVMI_CAN_RETRY, 0x0f, 0x0b),
	},
	[KVMI_BY_TRAP_INT3] = { KVMI_TRIGGER(TRAP, KVMI_CAN_ALLOW, 0xcc) },
	[KVMI_BY_XSETBV] = {
		KVMI_INSN_TRIGGER(XSETBV, 0x0f, 0x01, 0xd1),
		.privileged = true,
		.rax = XFEATURE_MASK_FP | XFEATURE_MASK_SSE,
	},
	/* SGDT */
	[KVMI_BY_DESCRIPTOR] = { KVMI_INSN_TRIGGER(DESCRIPTOR, 0x0f, 0x01, 0x07) },
	/* WRMSR */
	[KVMI_BY_MSR] = {
		KVMI_INSN_TRIGGER(MSR, 0x0f, 0x30),
		.privileged = true,
		.rax = 0x1234,
		.rcx = MSR_IA32_SYSENTER_CS,
	},
	/* MOV to memory, from AL */
	[KVMI_BY_PF] = {
		KVMI_INSN_TRIGGER(PF, 0x88, 0x07),
		.restricted = true,
	},
	/* NOP */
	[KVMI_BY_SINGLESTEP] = { KVMI_TRIGGER(SINGLESTEP, KVMI_CAN_ALLOW, 0x90) },
	[KVMI_BY_CPUID] = { KVMI_INSN_TRIGGER(CPUID, 0x0f, 0xa2) },
	/* As for PF */
	[KVMI_BY_ACCESS] = {
		KVMI_TRIGGER(ACCESS, KVMI_CAN_ALLOW | KVMI_CAN_SKIP, 0x88, 0x07),
		.restricted = true,
	},
};

/* Can the guest, which is hooked, raise it? */
static inline bool kvmi_trigger_is_possible(struct kvmi_guest *g,
					    enum kvmi_trigger_id n)
{
	struct kvmi_vm_get_features_reply features;

	if (kvmi_triggers[n].privileged && kvmi_guest_is_user(g))
		return false;

	kvmi_get_features(&g->s, &features);
	if (!(features.events & BIT_ULL(kvmi_triggers[n].event)))
		return false;

	switch (n) {
	case KVMI_BY_BREAKPOINT:
	case KVMI_BY_TRAP_INT3:
		return kvmi_guest_int3_is_intercepted();
	case KVMI_BY_XSETBV:
		return vcpu_cpuid_has(g->vcpu, X86_FEATURE_XSAVE);
	default:
		return true;
	}
}

/* What the instruction is right behind of. */
enum kvmi_shadow {
	KVMI_NO_SHADOW,
	KVMI_STI,
	KVMI_MOV_SS,
	KVMI_NR_SHADOWS
};

/* Put the instruction into the starting state, with NOPs behind it; where is it? */
static inline u64 kvmi_trigger_load(struct kvmi_guest *g, enum kvmi_trigger_id n,
				    enum kvmi_shadow shadow)
{
	/* STI, and MOV SS, BP */
	static const u8 before[KVMI_NR_SHADOWS][2] = { { }, { 0xfb }, { 0x8e, 0xd5 } };
	static const u8 size[KVMI_NR_SHADOWS] = { 0, 1, 2 };
	const struct kvmi_trigger *t = &kvmi_triggers[n];
	struct kvm_regs *regs = &g->start.regs;
	u8 code[16];

	memset(code, 0x90, sizeof(code));
	memcpy(code, before[shadow], size[shadow]);
	memcpy(code + size[shadow], t->code, t->size);
	if (n == KVMI_BY_HYPERCALL && host_cpu_is_amd_compatible)
		code[size[shadow] + 2] = 0xd9;

	regs->rax = t->rax;
	regs->rbx = t->rbx ?: KVMI_GUEST_DATA;
	regs->rcx = t->rcx;
	regs->rdx = 0;
	regs->rdi = KVMI_GUEST_DATA;
	regs->rsi = 0;
	regs->rbp = g->start.sregs.ss.selector;
	if (n == KVMI_BY_MSR)
		vcpu_set_msr(g->vcpu, MSR_IA32_SYSENTER_CS, 0);
	if (n == KVMI_BY_CR)
		regs->rax = g->start.sregs.cr4 ^ X86_CR4_TSD;
	if (n == KVMI_BY_HYPERCALL && kvmi_guest_is_64bit(g))
		regs->rdi = t->rbx;

	__kvmi_guest_code(g, code, size[shadow] + t->size + 2);
	if (kvmi_has_page_access())
		kvmi_guest_restrict(g, KVMI_GUEST_DATA,
				    t->restricted ? KVMI_PAGE_ACCESS_R | KVMI_PAGE_ACCESS_X :
						    KVMI_PAGE_ACCESS_RWX);

	return KVMI_GUEST_CODE + size[shadow];
}

/* While another event is open, turn on what it needs, or off again. */
static inline void kvmi_trigger_control(struct kvmi_guest *g, enum kvmi_trigger_id n,
					u8 enable)
{
	struct kvmi_vcpu_control_singlestep step = { .enable = enable };
	int err;

	switch (n) {
	case KVMI_BY_PAUSE:
		return;
	case KVMI_BY_SINGLESTEP:
		err = kvmi_vcpu_cmd(&g->s, 0, KVMI_VCPU_CONTROL_SINGLESTEP, &step,
				    sizeof(step), NULL, 0);
		TEST_ASSERT_KVMI(err, 0);
		return;
	case KVMI_BY_CR:
		TEST_ASSERT_KVMI(kvmi_control_cr(&g->s, 0, 4, enable), 0);
		break;
	case KVMI_BY_MSR:
		TEST_ASSERT_KVMI(kvmi_control_msr(&g->s, 0, MSR_IA32_SYSENTER_CS, enable), 0);
		break;
	case KVMI_BY_ACCESS:
		TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, KVMI_VCPU_EVENT_PF, enable), 0);
		break;
	default:
		break;
	}
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, kvmi_triggers[n].event, enable), 0);
}

/* Run until the event is there. */
static inline void kvmi_trigger_start(struct kvmi_guest *g, enum kvmi_trigger_id n,
				      struct kvmi_event *ev)
{
	struct kvmi_vcpu_event_pf_reply trap = { .flags = KVMI_PF_TRAP_ACCESS };

	kvmi_guest_park(g, ev);
	if (n == KVMI_BY_PAUSE)
		return;

	kvmi_trigger_control(g, n, 1);
	kvmi_unpark(&g->s, ev);
	if (n == KVMI_BY_ACCESS) {
		kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_PF, ev);
		kvmi_reply_data(&g->s, ev, KVMI_EVENT_ACTION_ALLOW, &trap, sizeof(trap));
	}
	kvmi_wait_event(&g->s, kvmi_triggers[n].event, ev);
}

#endif /* SELFTEST_KVM_KVMI_TRIGGERS_H */
