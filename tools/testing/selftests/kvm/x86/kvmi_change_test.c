// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: registers that RSM and task switches load, which are reported
 * by CR, MSR and DESCRIPTOR when it has happened; and RSM into the shadow of a
 * MOV SS, introspection or not
 */
#include "kvmi_test_harness.h"
#include "kvmi_guest.h"
#include "smm.h"

#define SMRAM_GPA	0x1000000
#define DONE_PORT	0xe

/* Not RFLAGS.RF, nor an SMI, makes the guest do anything else. */
#define NOP		"\x90"

/* What the SMI handler flips in the save area, each in one byte */
#define CR0_FLIP	X86_CR0_AM
#define CR3_FLIP	BIT(3)
#define CR4_FLIP	X86_CR4_PSE
#define EFER_FLIP	EFER_SCE
#define LIMIT_FLIP	BIT(7)

#define REAL_MODE_CODE(code)	asm(".code16\n\t" code "\n\t.code64")
#define REAL_MODE_CODE_SIZE	64

static __attribute__((naked)) void smi_handler(void)
{
	REAL_MODE_CODE("in $0xe, %al; rsm");
}

static __attribute__((naked)) void smi_handler_that_flips_cr0(void)
{
	REAL_MODE_CODE("xorb $0x04, %cs:0xff5a\n\t"
		       "in $0xe, %al; rsm");
}

static __attribute__((naked)) void smi_handler_that_flips(void)
{
	REAL_MODE_CODE("xorb $0x04, %cs:0xff5a\n\t"	/* CR0 */
		       "xorb $0x08, %cs:0xff50\n\t"	/* CR3 */
		       "xorb $0x10, %cs:0xff48\n\t"	/* CR4 */
		       "xorb $0x80, %cs:0xfe64\n\t"	/* limits: GDTR */
		       "xorb $0x80, %cs:0xfe84\n\t"	/* IDTR */
		       "xorb $0x80, %cs:0xfe94\n\t"	/* TR */
		       "xorb $0x01, %cs:0xfed0\n\t"	/* EFER */
		       "in $0xe, %al; rsm");
}

static __attribute__((naked)) void smi_handler_that_leaves_long_mode_and_flips(void)
{
	REAL_MODE_CODE("andb $0x7f, %cs:0xff5b\n\t"	/* CR0.PG */
		       "andb $0xdf, %cs:0xff48\n\t"	/* CR4.PAE */
		       "xorb $0x80, %cs:0xfe94\n\t"	/* limit of TR */
		       "in $0xe, %al; rsm");
}

static __attribute__((naked)) void smi_handler_that_leaves_long_mode(void)
{
	REAL_MODE_CODE("andb $0x7f, %cs:0xff5b\n\t"	/* CR0.PG */
		       "andb $0xdf, %cs:0xff48\n\t"	/* CR4.PAE */
		       "in $0xe, %al; rsm");
}

/* Of what an SMI saves, see struct kvm_smram_state_64 */
#define SMRAM_INT_SHADOW	0xfecb
#define SMRAM_RFLAGS		0xff70

enum change {
	CHANGED_CR0,
	CHANGED_CR3,
	CHANGED_CR4,
	CHANGED_GDTR,
	CHANGED_IDTR,
	CHANGED_LDTR,
	CHANGED_TR,
	CHANGED_EFER,
};

static bool descriptors_are_reported(struct kvmi_session *s)
{
	struct kvmi_vm_get_features_reply features;

	kvmi_get_features(s, &features);
	return features.events & BIT_ULL(KVMI_VCPU_EVENT_DESCRIPTOR);
}

static void enable_all(struct kvmi_session *s)
{
	TEST_ASSERT_KVMI(kvmi_control_cr(s, 0, 0, 1), 0);
	TEST_ASSERT_KVMI(kvmi_control_cr(s, 0, 3, 1), 0);
	TEST_ASSERT_KVMI(kvmi_control_cr(s, 0, 4, 1), 0);
	TEST_ASSERT_KVMI(kvmi_control_msr(s, 0, MSR_EFER, 1), 0);
	TEST_ASSERT_KVMI(kvmi_control_event(s, 0, KVMI_VCPU_EVENT_CR, 1), 0);
	TEST_ASSERT_KVMI(kvmi_control_event(s, 0, KVMI_VCPU_EVENT_MSR, 1), 0);
	if (descriptors_are_reported(s))
		TEST_ASSERT_KVMI(kvmi_control_event(s, 0,
						    KVMI_VCPU_EVENT_DESCRIPTOR,
						    1), 0);
}

static void check_cr(const struct kvmi_event *ev, u8 cr, u64 old, u64 new)
{
	TEST_ASSERT_EQ(ev->cr.cr, cr);
	TEST_ASSERT_EQ(ev->cr.flags, KVMI_CHANGE_DONE);
	TEST_ASSERT_EQ(ev->cr.old_value, old);
	TEST_ASSERT_EQ(ev->cr.new_value, new);
}

static void check_descriptor(const struct kvmi_event *ev, u8 descriptor)
{
	TEST_ASSERT_EQ(ev->descriptor.descriptor, descriptor);
	TEST_ASSERT_EQ(ev->descriptor.write, 1);
	TEST_ASSERT_EQ(ev->descriptor.flags, KVMI_CHANGE_DONE);
}

/* Wait for the event of one change.  The register has its new value. */
static void wait_change(struct kvmi_guest *g, enum change change,
			struct kvmi_event *ev)
{
	const struct kvm_sregs *old = &g->normal.sregs;
	const struct kvm_sregs *now = &ev->common.arch.sregs;

	switch (change) {
	case CHANGED_CR0:
		kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_CR, ev);
		check_cr(ev, 0, old->cr0, old->cr0 ^ CR0_FLIP);
		TEST_ASSERT_EQ(now->cr0, old->cr0 ^ CR0_FLIP);
		break;
	case CHANGED_CR3:
		kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_CR, ev);
		check_cr(ev, 3, old->cr3, old->cr3 ^ CR3_FLIP);
		TEST_ASSERT_EQ(now->cr3, old->cr3 ^ CR3_FLIP);
		break;
	case CHANGED_CR4:
		kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_CR, ev);
		check_cr(ev, 4, old->cr4, old->cr4 ^ CR4_FLIP);
		TEST_ASSERT_EQ(now->cr4, old->cr4 ^ CR4_FLIP);
		break;
	case CHANGED_GDTR:
		kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_DESCRIPTOR, ev);
		check_descriptor(ev, KVMI_DESC_GDTR);
		TEST_ASSERT_EQ(now->gdt.limit, old->gdt.limit ^ LIMIT_FLIP);
		break;
	case CHANGED_IDTR:
		kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_DESCRIPTOR, ev);
		check_descriptor(ev, KVMI_DESC_IDTR);
		TEST_ASSERT_EQ(now->idt.limit, old->idt.limit ^ LIMIT_FLIP);
		break;
	case CHANGED_LDTR:
		kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_DESCRIPTOR, ev);
		check_descriptor(ev, KVMI_DESC_LDTR);
		break;
	case CHANGED_TR:
		kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_DESCRIPTOR, ev);
		check_descriptor(ev, KVMI_DESC_TR);
		break;
	case CHANGED_EFER:
		kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_MSR, ev);
		TEST_ASSERT_EQ(ev->msr.msr, MSR_EFER);
		TEST_ASSERT_EQ(ev->msr.flags, KVMI_CHANGE_DONE);
		TEST_ASSERT_EQ(ev->msr.old_value, old->efer);
		TEST_ASSERT_EQ(ev->msr.new_value, old->efer ^ EFER_FLIP);
		TEST_ASSERT_EQ(now->efer, old->efer ^ EFER_FLIP);
		break;
	}
}

static bool is_descriptor(enum change change)
{
	return change >= CHANGED_GDTR && change <= CHANGED_TR;
}

FIXTURE(kvmi_rsm) {
	struct kvmi_guest g;
};

static void wait_smi_handler(struct kvmi_guest *g)
{
	kvmi_run_wait_exit(&g->r, KVM_EXIT_IO);
	TEST_ASSERT_EQ(g->vcpu->run->io.port, DONE_PORT);
}

FIXTURE_SETUP(kvmi_rsm)
{
	struct kvmi_guest *g = &self->g;

	if (!kvm_has_cap(KVM_CAP_X86_SMM))
		SKIP(return, "KVM has no SMM");

	kvmi_guest_create(g, KVMI_GUEST_LONG);
	setup_smram(g->vm, g->vcpu, SMRAM_GPA, smi_handler, REAL_MODE_CODE_SIZE);
	kvmi_guest_code(g, NOP);

	/* An SMI handler that changes nothing */
	inject_smi(g->vcpu);
	kvmi_run_start(&g->r, NULL, g->vcpu);
	wait_smi_handler(g);
	kvmi_run_start(&g->r, NULL, g->vcpu);
	TEST_ASSERT_EQ(kvmi_guest_stop(g), KVMI_GUEST_NO_EXCEPTION);
	g->normal = g->state;
	g->normal_vector = KVMI_GUEST_NO_EXCEPTION;
	kvmi_guest_reset(g);
	memcpy(addr_gpa2hva(g->vm, SMRAM_GPA) + 0x8000, smi_handler_that_flips,
	       REAL_MODE_CODE_SIZE);
}

FIXTURE_TEARDOWN(kvmi_rsm)
{
	kvmi_guest_free(&self->g);
}

/* Run until the SMI handler is about to execute RSM. */
static void run_smi_handler(struct kvmi_guest *g)
{
	struct kvmi_event pause;

	inject_smi(g->vcpu);
	kvmi_guest_park(g, &pause);
	enable_all(&g->s);
	kvmi_unpark(&g->s, &pause);
	wait_smi_handler(g);
	kvmi_run_start(&g->r, &g->s, g->vcpu);
}

static void flip(struct kvm_sregs *sregs)
{
	sregs->cr0 ^= CR0_FLIP;
	sregs->cr3 ^= CR3_FLIP;
	sregs->cr4 ^= CR4_FLIP;
	sregs->gdt.limit ^= LIMIT_FLIP;
	sregs->idt.limit ^= LIMIT_FLIP;
	sregs->tr.limit ^= LIMIT_FLIP;
	sregs->efer ^= EFER_FLIP;
}

static const enum change rsm_changes[] = {
	CHANGED_CR0, CHANGED_CR3, CHANGED_CR4, CHANGED_GDTR, CHANGED_IDTR,
	CHANGED_TR, CHANGED_EFER,
};

static void answer_rsm(struct kvmi_guest *g, u8 action)
{
	bool descriptors = descriptors_are_reported(&g->s);
	struct kvmi_event ev;
	int i;

	for (i = 0; i < ARRAY_SIZE(rsm_changes); i++) {
		if (!descriptors && is_descriptor(rsm_changes[i]))
			continue;
		wait_change(g, rsm_changes[i], &ev);
		/* The instruction that was interrupted is yet to come. */
		TEST_ASSERT_EQ(ev.common.arch.regs.rip, KVMI_GUEST_CODE);
		kvmi_reply(&g->s, &ev, action);
	}
}

KVMI_TEST(kvmi_rsm, allow)
{
	struct kvmi_guest *g = &self->g;

	run_smi_handler(g);
	answer_rsm(g, KVMI_EVENT_ACTION_ALLOW);
	flip(&g->normal.sregs);
	kvmi_guest_stop_normally(g);
}

/* What was before the SMI is put back. */
KVMI_TEST(kvmi_rsm, skip)
{
	struct kvmi_guest *g = &self->g;

	run_smi_handler(g);
	if (!descriptors_are_reported(&g->s))
		SKIP(return, "The processor does not intercept descriptor tables");
	answer_rsm(g, KVMI_EVENT_ACTION_SKIP);
	kvmi_guest_stop_normally(g);
}

static void set_smm(struct kvm_vcpu *vcpu, bool smm)
{
	struct kvm_vcpu_events events;

	vcpu_events_get(vcpu, &events);
	events.flags |= KVM_VCPUEVENT_VALID_SMM;
	events.smi.smm = smm;
	vcpu_events_set(vcpu, &events);
}

static void report_cr3(struct kvmi_guest *g)
{
	struct kvmi_event pause;

	kvmi_guest_park(g, &pause);
	TEST_ASSERT_KVMI(kvmi_control_cr(&g->s, 0, 3, 1), 0);
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, KVMI_VCPU_EVENT_CR, 1), 0);
	kvmi_unpark(&g->s, &pause);
}

/* There was no SMI: what counts is what was when the VMM did this. */
KVMI_TEST(kvmi_rsm, entered_by_the_vmm)
{
	struct kvmi_guest *g = &self->g;
	struct kvm_sregs sregs;
	struct kvmi_event ev;
	struct kvm_regs regs;

	inject_smi(g->vcpu);
	kvmi_run_start(&g->r, NULL, g->vcpu);
	wait_smi_handler(g);
	vcpu_run_complete_io(g->vcpu);
	vcpu_sregs_get(g->vcpu, &sregs);
	vcpu_regs_get(g->vcpu, &regs);
	set_smm(g->vcpu, false);
	kvmi_guest_reset(g);
	report_cr3(g);
	TEST_ASSERT_EQ(kvmi_guest_stop(g), KVMI_GUEST_NO_EXCEPTION);

	vcpu_sregs_set(g->vcpu, &sregs);
	vcpu_regs_set(g->vcpu, &regs);
	set_smm(g->vcpu, true);
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	wait_change(g, CHANGED_CR3, &ev);
	TEST_ASSERT_EQ(ev.common.arch.regs.rip, KVMI_GUEST_CODE);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);
	TEST_ASSERT_EQ(kvmi_guest_stop(g), KVMI_GUEST_NO_EXCEPTION);
	TEST_ASSERT_EQ(g->state.sregs.cr3, g->normal.sregs.cr3);
}

/* Not what was before an SMI that the VMM has ended without RSM */
KVMI_TEST(kvmi_rsm, left_and_entered_by_the_vmm)
{
	struct kvmi_guest *g = &self->g;
	struct kvm_sregs sregs;
	struct kvm_regs regs;

	inject_smi(g->vcpu);
	report_cr3(g);
	wait_smi_handler(g);
	vcpu_run_complete_io(g->vcpu);
	vcpu_sregs_get(g->vcpu, &sregs);
	vcpu_regs_get(g->vcpu, &regs);
	set_smm(g->vcpu, false);
	sregs.cr3 ^= CR3_FLIP;
	vcpu_sregs_set(g->vcpu, &sregs);
	vcpu_regs_set(g->vcpu, &regs);
	set_smm(g->vcpu, true);

	/* RSM loads the same. */
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	TEST_ASSERT_EQ(kvmi_guest_stop(g), KVMI_GUEST_NO_EXCEPTION);
	TEST_ASSERT_EQ(g->state.sregs.cr3, g->normal.sregs.cr3 ^ CR3_FLIP);
}

static void set_shadow(struct kvm_vcpu *vcpu, u8 shadow)
{
	struct kvm_vcpu_events events;

	vcpu_events_get(vcpu, &events);
	events.flags |= KVM_VCPUEVENT_VALID_SHADOW;
	events.interrupt.shadow = shadow;
	vcpu_events_set(vcpu, &events);
}

static void set_rflags(struct kvm_vcpu *vcpu, u64 rflags)
{
	struct kvm_regs regs;

	vcpu_regs_get(vcpu, &regs);
	regs.rflags = rflags;
	vcpu_regs_set(vcpu, &regs);
}

/*
 * Have RSM return to the instruction behind a MOV SS, and give the guest and the
 * SMI handler, which is about to execute RSM, flags.
 */
static void return_to_shadow(struct kvmi_guest *g, u64 rflags,
			     u64 handler_rflags)
{
	u8 *smram = addr_gpa2hva(g->vm, SMRAM_GPA);

	memcpy(smram + 0x8000, smi_handler, REAL_MODE_CODE_SIZE);
	inject_smi(g->vcpu);
	kvmi_run_start(&g->r, NULL, g->vcpu);
	wait_smi_handler(g);
	vcpu_run_complete_io(g->vcpu);
	smram[SMRAM_INT_SHADOW] = KVM_X86_SHADOW_INT_MOV_SS;
	*(u64 *)(smram + SMRAM_RFLAGS) |= rflags;
	set_rflags(g->vcpu, X86_EFLAGS_FIXED | handler_rflags);
	kvmi_run_start(&g->r, NULL, g->vcpu);
}

/* The trap is due when the instruction is done. */
KVMI_TEST(kvmi_rsm, shadow_with_trap_flag)
{
	struct kvmi_guest *g = &self->g;

	return_to_shadow(g, X86_EFLAGS_TF, 0);
	TEST_ASSERT_EQ(kvmi_guest_stop(g), DB_VECTOR);
	TEST_ASSERT_EQ(g->frame.rip, KVMI_GUEST_CODE + 1);
}

/* KVM has RSM trap if it is stepped.  The guest is not. */
KVMI_TEST(kvmi_rsm, shadow_without_trap_flag)
{
	struct kvmi_guest *g = &self->g;

	return_to_shadow(g, 0, X86_EFLAGS_TF);
	TEST_ASSERT_EQ(kvmi_guest_stop(g), DB_VECTOR);
	TEST_ASSERT_EQ(g->frame.rip, KVMI_GUEST_CODE);
	TEST_ASSERT_EQ(g->frame.rflags & X86_EFLAGS_TF, 0);
}

/* Nor does it matter in which order the VMM sets both. */
KVMI_TEST(kvmi_rsm, shadow_set_by_the_vmm)
{
	struct kvmi_guest *g = &self->g;
	u64 rflags = g->start.regs.rflags;
	int i;

	for (i = 0; i < 3; i++) {
		kvmi_guest_reset(g);
		set_shadow(g->vcpu, 0);
		if (i != 1)
			set_rflags(g->vcpu, rflags | X86_EFLAGS_TF);
		set_shadow(g->vcpu, KVM_X86_SHADOW_INT_MOV_SS);
		set_rflags(g->vcpu, i == 2 ? rflags : rflags | X86_EFLAGS_TF);

		kvmi_run_start(&g->r, NULL, g->vcpu);
		if (i == 2) {
			TEST_ASSERT_EQ(kvmi_guest_stop(g),
				       KVMI_GUEST_NO_EXCEPTION);
			continue;
		}
		TEST_ASSERT_EQ(kvmi_guest_stop(g), DB_VECTOR);
		TEST_ASSERT_EQ(g->frame.rip, KVMI_GUEST_CODE + 1);
	}
}

/* Nothing is to be reported without a change. */
KVMI_TEST(kvmi_rsm, no_change)
{
	struct kvmi_guest *g = &self->g;

	memcpy(addr_gpa2hva(g->vm, SMRAM_GPA) + 0x8000, smi_handler,
	       REAL_MODE_CODE_SIZE);
	run_smi_handler(g);
	kvmi_guest_stop_normally(g);
}

/* Nor without the event. */
KVMI_TEST(kvmi_rsm, not_enabled)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event pause;

	inject_smi(g->vcpu);
	kvmi_guest_park(g, &pause);
	kvmi_unpark(&g->s, &pause);
	wait_smi_handler(g);
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	flip(&g->normal.sregs);
	kvmi_guest_stop_normally(g);
}

/* Another value is written on top. */
KVMI_TEST(kvmi_rsm, allow_other_value)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event pause, ev;

	inject_smi(g->vcpu);
	kvmi_guest_park(g, &pause);
	TEST_ASSERT_KVMI(kvmi_control_cr(&g->s, 0, 4, 1), 0);
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, KVMI_VCPU_EVENT_CR, 1), 0);
	kvmi_unpark(&g->s, &pause);
	wait_smi_handler(g);
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	wait_change(g, CHANGED_CR4, &ev);
	kvmi_reply_val(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW,
		       ev.cr.old_value | X86_CR4_MCE);
	flip(&g->normal.sregs);
	g->normal.sregs.cr4 ^= CR4_FLIP;
	g->normal.sregs.cr4 |= X86_CR4_MCE;
	kvmi_guest_stop_normally(g);
}

static void wait_first_change(struct kvmi_guest *g, u8 cr, struct kvmi_event *ev)
{
	struct kvmi_event pause;

	inject_smi(g->vcpu);
	kvmi_guest_park(g, &pause);
	TEST_ASSERT_KVMI(kvmi_control_cr(&g->s, 0, cr, 1), 0);
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, KVMI_VCPU_EVENT_CR, 1), 0);
	kvmi_unpark(&g->s, &pause);
	wait_smi_handler(g);
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_CR, ev);
	TEST_ASSERT_EQ(ev->cr.cr, cr);
	TEST_ASSERT_EQ(ev->cr.flags, KVMI_CHANGE_DONE);
}

/* One that the processor refuses ends the guest, rather than what the tool refuses. */
KVMI_TEST(kvmi_rsm, allow_illegal_value)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	wait_first_change(g, 4, &ev);
	kvmi_reply_val(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW, BIT(31));
	kvmi_run_wait_exit(&g->r, KVM_EXIT_SHUTDOWN);
}

/* Nor does the processor execute a user's code without protected mode. */
FIXTURE(kvmi_rsm_user) {
	struct kvmi_guest g;
};

FIXTURE_SETUP(kvmi_rsm_user)
{
	struct kvmi_guest *g = &self->g;

	if (!kvm_has_cap(KVM_CAP_X86_SMM))
		SKIP(return, "KVM has no SMM");

	kvmi_guest_create(g, KVMI_GUEST_PROT_USER);
	setup_smram(g->vm, g->vcpu, SMRAM_GPA, smi_handler_that_flips_cr0,
		    REAL_MODE_CODE_SIZE);
	kvmi_guest_code(g, NOP);
	kvmi_guest_reset(g);
}

FIXTURE_TEARDOWN(kvmi_rsm_user)
{
	kvmi_guest_free(&self->g);
}

KVMI_TEST(kvmi_rsm_user, allow_real_mode)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	wait_first_change(g, 0, &ev);
	kvmi_reply_val(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW, X86_CR0_ET);
	kvmi_run_wait_exit(&g->r, KVM_EXIT_SHUTDOWN);
}

/* PG cannot be put back without PAE, which is gone as well. */
KVMI_TEST(kvmi_rsm, skip_of_what_cannot_be_undone)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	memcpy(addr_gpa2hva(g->vm, SMRAM_GPA) + 0x8000,
	       smi_handler_that_leaves_long_mode, REAL_MODE_CODE_SIZE);
	wait_first_change(g, 0, &ev);
	TEST_ASSERT(ev.cr.old_value & X86_CR0_PG && !(ev.cr.new_value & X86_CR0_PG),
		    "Paging is still on");
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);
	kvmi_run_wait_exit(&g->r, KVM_EXIT_SHUTDOWN);
}

/* The same for a segment, which the other mode may not have */
KVMI_TEST(kvmi_rsm, skip_of_segment_of_other_mode)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event pause, ev;

	memcpy(addr_gpa2hva(g->vm, SMRAM_GPA) + 0x8000,
	       smi_handler_that_leaves_long_mode_and_flips, REAL_MODE_CODE_SIZE);
	inject_smi(g->vcpu);
	kvmi_guest_park(g, &pause);
	if (!descriptors_are_reported(&g->s)) {
		kvmi_unpark(&g->s, &pause);
		SKIP(return, "The processor does not intercept descriptor tables");
	}
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, KVMI_VCPU_EVENT_DESCRIPTOR, 1), 0);
	kvmi_unpark(&g->s, &pause);
	wait_smi_handler(g);
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_DESCRIPTOR, &ev);
	check_descriptor(&ev, KVMI_DESC_TR);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);
	kvmi_run_wait_exit(&g->r, KVM_EXIT_SHUTDOWN);
}

static void set_rules(struct kvmi_session *s, u16 event, const struct kvmi_rule *rules,
		      u16 nr)
{
	struct {
		struct kvmi_vm_set_rules hdr;
		struct kvmi_rule rules[2];
	} req = {
		.hdr = { .event = event, .count = nr },
	};

	memcpy(req.rules, rules, nr * sizeof(*rules));
	TEST_ASSERT_KVMI(kvmi_cmd(s, KVMI_VM_SET_RULES, &req,
				  sizeof(req.hdr) + nr * sizeof(*rules), NULL, 0), 0);
}

/*
 * The guest is not at the instruction any more that has changed the registers: a rule
 * about the place decides nothing, others do.
 */
KVMI_TEST(kvmi_rsm, rules_about_place)
{
	const struct kvmi_rule rules[] = {
		{
			.verdict = KVMI_RULE_ALLOW,
			.match = KVMI_MATCH_NUMBER,
		}, {
			.verdict = KVMI_RULE_ALLOW,
			.match = KVMI_MATCH_RIP | KVMI_MATCH_CPL,
			.rip_first = KVMI_GUEST_CODE,
			.rip_last = KVMI_GUEST_CODE,
			.cpls = BIT(0),
		},
	};
	bool descriptors;
	struct kvmi_guest *g = &self->g;
	struct kvmi_event pause, ev;
	int i;

	inject_smi(g->vcpu);
	kvmi_guest_park(g, &pause);
	enable_all(&g->s);
	descriptors = descriptors_are_reported(&g->s);
	/* CR0 in any case */
	set_rules(&g->s, KVMI_VCPU_EVENT_CR, rules, 2);
	set_rules(&g->s, KVMI_VCPU_EVENT_MSR, &rules[1], 1);
	if (descriptors)
		set_rules(&g->s, KVMI_VCPU_EVENT_DESCRIPTOR, &rules[1], 1);
	kvmi_unpark(&g->s, &pause);
	wait_smi_handler(g);
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	for (i = 0; i < ARRAY_SIZE(rsm_changes); i++) {
		if (rsm_changes[i] == CHANGED_CR0 ||
		    (!descriptors && is_descriptor(rsm_changes[i])))
			continue;
		wait_change(g, rsm_changes[i], &ev);
		kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	}
	flip(&g->normal.sregs);
	kvmi_guest_stop_normally(g);
}

KVMI_TEST(kvmi_rsm, crash)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;
	int i;

	run_smi_handler(g);
	wait_change(g, CHANGED_CR0, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_CRASH);
	kvmi_run_wait_exit(&g->r, KVM_EXIT_INTROSPECTION);
	for (i = 0; i < 3; i++) {
		kvmi_run_start(&g->r, &g->s, g->vcpu);
		kvmi_run_wait_exit(&g->r, KVM_EXIT_INTROSPECTION);
	}
}

/* The reply ends KVM_RUN, and is not asked for again. */
KVMI_TEST(kvmi_rsm, crash_after_signal)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	run_smi_handler(g);
	wait_change(g, CHANGED_CR0, &ev);
	kvmi_run_signal(&g->r);
	kvmi_run_wait_eintr(&g->r);
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_CRASH);
	kvmi_run_wait_exit(&g->r, KVM_EXIT_INTROSPECTION);
}

/* It has happened. */
KVMI_TEST(kvmi_rsm, retry_is_no_action)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	run_smi_handler(g);
	wait_change(g, CHANGED_CR0, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_RETRY);
	kvmi_expect_closed(&g->s);
	flip(&g->normal.sregs);
	kvmi_guest_stop_normally(g);
}

KVMI_TEST(kvmi_rsm, tool_closes)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	run_smi_handler(g);
	wait_change(g, CHANGED_CR0, &ev);
	kvmi_close(&g->s);
	flip(&g->normal.sregs);
	kvmi_guest_stop_normally(g);
}

/* Each is asked about once, with the VMM coming and going. */
KVMI_TEST(kvmi_rsm, signal)
{
	struct kvmi_guest *g = &self->g;
	bool descriptors;
	struct kvmi_event ev;
	int i;

	run_smi_handler(g);
	descriptors = descriptors_are_reported(&g->s);
	for (i = 0; i < ARRAY_SIZE(rsm_changes); i++) {
		if (!descriptors && is_descriptor(rsm_changes[i]))
			continue;
		wait_change(g, rsm_changes[i], &ev);
		kvmi_run_signal(&g->r);
		kvmi_run_wait_eintr(&g->r);
		kvmi_reply(&g->s, &ev, i & 1 ? KVMI_EVENT_ACTION_ALLOW :
					       KVMI_EVENT_ACTION_SKIP);
		kvmi_run_start(&g->r, &g->s, g->vcpu);
	}
	g->normal.sregs.cr3 ^= CR3_FLIP;
	if (descriptors) {
		g->normal.sregs.gdt.limit ^= LIMIT_FLIP;
		g->normal.sregs.tr.limit ^= LIMIT_FLIP;
		kvmi_guest_stop_normally(g);
	} else {
		TEST_ASSERT_EQ(kvmi_guest_stop(g), KVMI_GUEST_NO_EXCEPTION);
		TEST_ASSERT_EQ(g->state.sregs.cr4, g->normal.sregs.cr4);
	}
}

/* Task switches of 32-bit code */
FIXTURE(kvmi_task_switch) {
	struct kvmi_guest g;
};

FIXTURE_VARIANT(kvmi_task_switch) {
	/* #UD, by way of a task gate */
	bool gate;
};

FIXTURE_VARIANT_ADD(kvmi_task_switch, jmp) {
	.gate = false,
};

FIXTURE_VARIANT_ADD(kvmi_task_switch, exception) {
	.gate = true,
};

/* JMP FAR 0x50:0 */
#define JMP_TASK	"\xea\x00\x00\x00\x00\x50\x00"
#define UD2		"\x0f\x0b"

static void put(struct kvmi_guest *g, u64 gpa, u64 val, int size)
{
	memcpy(g->start.mem + gpa, &val, size);
}

static void make_task(struct kvmi_guest *g)
{
	u64 tss = KVMI_GUEST_TSS2;
	int i;

	put(g, tss + 0x1c, KVMI_GUEST_PAGE_TABLES | CR3_FLIP, 4);
	put(g, tss + 0x20, g->end, 4);
	put(g, tss + 0x24, X86_EFLAGS_FIXED, 4);
	put(g, tss + 0x38, KVMI_GUEST_STACK, 4);
	for (i = 0x48; i <= 0x5c; i += 4)
		put(g, tss + i, KVMI_GUEST_KERNEL_DS, 2);
	put(g, tss + 0x4c, KVMI_GUEST_KERNEL_CS, 2);
	put(g, tss + 0x60, KVMI_GUEST_LDTR, 2);
	/* A task gate: type 5, present */
	put(g, KVMI_GUEST_IDT + UD_VECTOR * 8,
	    (u64)0x8500 << 32 | KVMI_GUEST_TR2 << 16, 8);
}

/* The OUT at the end is one exit.  Others come by chance, so try more than once. */
static bool task_switches_are_intercepted(struct kvmi_guest *g)
{
	u64 exits, least = ~0ull;
	int i;

	for (i = 0; i < 5; i++) {
		exits = vcpu_get_stat(g->vcpu, exits);
		kvmi_guest_run_normally(g);
		exits = vcpu_get_stat(g->vcpu, exits) - exits;
		if (exits < least)
			least = exits;
	}

	return least > 1;
}

FIXTURE_SETUP(kvmi_task_switch)
{
	struct kvmi_guest *g = &self->g;

	kvmi_guest_create(g, KVMI_GUEST_PROT);
	kvmi_guest_code(g, JMP_TASK);
	make_task(g);
	kvmi_guest_reset(g);
	if (!task_switches_are_intercepted(g))
		SKIP(return, "The (emulated) processor does not intercept them");
	/* KVM intercepts #UD as well, so this would not tell. */
	if (variant->gate) {
		kvmi_guest_code(g, UD2);
		make_task(g);
		kvmi_guest_reset(g);
		kvmi_guest_run_normally(g);
	}
	TEST_ASSERT_EQ(g->normal_vector, KVMI_GUEST_NO_EXCEPTION);
	TEST_ASSERT_EQ(g->normal.sregs.cr3, KVMI_GUEST_PAGE_TABLES | CR3_FLIP);
	TEST_ASSERT_EQ(g->normal.sregs.tr.selector, KVMI_GUEST_TR2);
	TEST_ASSERT_EQ(g->normal.sregs.ldt.selector, KVMI_GUEST_LDTR);
}

FIXTURE_TEARDOWN(kvmi_task_switch)
{
	kvmi_guest_free(&self->g);
}

static void start_switch(struct kvmi_guest *g)
{
	struct kvmi_event pause;

	kvmi_guest_park(g, &pause);
	enable_all(&g->s);
	kvmi_unpark(&g->s, &pause);
}

static void answer_switch(struct kvmi_guest *g, u8 action)
{
	struct kvmi_event ev;

	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_CR, &ev);
	check_cr(&ev, 3, KVMI_GUEST_PAGE_TABLES, KVMI_GUEST_PAGE_TABLES | CR3_FLIP);
	/* The new task is about to begin. */
	TEST_ASSERT_EQ(ev.common.arch.regs.rip, g->end);
	TEST_ASSERT_EQ(ev.common.arch.sregs.tr.selector, KVMI_GUEST_TR2);
	kvmi_reply(&g->s, &ev, action);
	if (!descriptors_are_reported(&g->s))
		return;
	wait_change(g, CHANGED_LDTR, &ev);
	kvmi_reply(&g->s, &ev, action);
	wait_change(g, CHANGED_TR, &ev);
	kvmi_reply(&g->s, &ev, action);
}

KVMI_TEST(kvmi_task_switch, allow)
{
	struct kvmi_guest *g = &self->g;

	start_switch(g);
	answer_switch(g, KVMI_EVENT_ACTION_ALLOW);
	kvmi_guest_stop_normally(g);
}

/* The new task goes on with these registers of the old one. */
KVMI_TEST(kvmi_task_switch, skip)
{
	struct kvmi_guest *g = &self->g;

	start_switch(g);
	if (!descriptors_are_reported(&g->s))
		SKIP(return, "The processor does not intercept descriptor tables");
	answer_switch(g, KVMI_EVENT_ACTION_SKIP);
	TEST_ASSERT_EQ(kvmi_guest_stop(g), KVMI_GUEST_NO_EXCEPTION);
	TEST_ASSERT_EQ(g->state.sregs.cr3, KVMI_GUEST_PAGE_TABLES);
	TEST_ASSERT_EQ(g->state.sregs.tr.selector, KVMI_GUEST_TR);
	TEST_ASSERT(g->state.sregs.ldt.unusable, "There is an LDT");
}

KVMI_TEST(kvmi_task_switch, crash)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start_switch(g);
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_CR, &ev);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_CRASH);
	kvmi_run_wait_exit(&g->r, KVM_EXIT_INTROSPECTION);
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	kvmi_run_wait_exit(&g->r, KVM_EXIT_INTROSPECTION);
}

KVMI_TEST(kvmi_task_switch, signal)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	start_switch(g);
	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_CR, &ev);
	kvmi_run_signal(&g->r);
	kvmi_run_wait_eintr(&g->r);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_SKIP);
	kvmi_run_start(&g->r, &g->s, g->vcpu);
	if (descriptors_are_reported(&g->s)) {
		wait_change(g, CHANGED_LDTR, &ev);
		kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
		wait_change(g, CHANGED_TR, &ev);
		kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	}
	g->normal.sregs.cr3 ^= CR3_FLIP;
	kvmi_guest_stop_normally(g);
}

/*
 * To a task that executes the same instruction with the same registers: JMP to a task
 * that is busy by then.
 */
static void jump_to_the_same(struct kvmi_guest *g, u64 cr3)
{
	const struct kvm_regs *regs = &g->start.regs;
	const u64 in_order[] = {
		regs->rax, regs->rcx, regs->rdx, regs->rbx,
		regs->rsp, regs->rbp, regs->rsi, regs->rdi,
	};
	int i;

	put(g, KVMI_GUEST_TSS2 + 0x1c, cr3, 4);
	put(g, KVMI_GUEST_TSS2 + 0x20, KVMI_GUEST_CODE, 4);
	put(g, KVMI_GUEST_TSS2 + 0x24, regs->rflags, 4);
	for (i = 0; i < ARRAY_SIZE(in_order); i++)
		put(g, KVMI_GUEST_TSS2 + 0x28 + i * 4, in_order[i], 4);
	kvmi_guest_reset(g);
	kvmi_guest_run_normally(g);
	TEST_ASSERT_EQ(g->normal_vector, GP_VECTOR);
	TEST_ASSERT_EQ(g->normal.sregs.tr.selector, KVMI_GUEST_TR2);
}

/* A step is for one of them. */
KVMI_TEST(kvmi_task_switch, same_context)
{
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;

	if (!kvmi_has_page_access())
		SKIP(return, "Needs the TDP MMU");
	if (variant->gate)
		SKIP(return, "The exception is delivered in the other task");

	jump_to_the_same(g, KVMI_GUEST_PAGE_TABLES);
	kvmi_guest_restrict(g, KVMI_GUEST_CODE, KVMI_PAGE_ACCESS_R | KVMI_PAGE_ACCESS_W);
	kvmi_guest_start(g, KVMI_VCPU_EVENT_PF, &ev);
	TEST_ASSERT_EQ(ev.common.arch.sregs.tr.selector, KVMI_GUEST_TR);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);

	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_PF, &ev);
	TEST_ASSERT_EQ(ev.common.arch.regs.rip, KVMI_GUEST_CODE);
	TEST_ASSERT_EQ(ev.common.arch.sregs.tr.selector, KVMI_GUEST_TR2);
	TEST_ASSERT_EQ(ev.pf.flags, 0);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_guest_stop_normally(g);
}

/* Nor is one of them lost. */
KVMI_TEST(kvmi_task_switch, step_to_the_same_rip)
{
	struct kvmi_vcpu_control_singlestep step = { .enable = 1 };
	struct kvmi_guest *g = &self->g;
	struct kvmi_event ev;
	int err;

	if (variant->gate)
		SKIP(return, "The exception is delivered in the other task");

	jump_to_the_same(g, KVMI_GUEST_PAGE_TABLES | CR3_FLIP);
	kvmi_guest_park(g, &ev);
	err = kvmi_vcpu_cmd(&g->s, 0, KVMI_VCPU_CONTROL_SINGLESTEP, &step, sizeof(step),
			    NULL, 0);
	if (err == -KVM_EOPNOTSUPP) {
		kvmi_unpark(&g->s, &ev);
		kvmi_guest_stop_normally(g);
		SKIP(return, "KVM cannot single-step");
	}
	TEST_ASSERT_KVMI(err, 0);
	TEST_ASSERT_KVMI(kvmi_control_event(&g->s, 0, KVMI_VCPU_EVENT_SINGLESTEP, 1), 0);
	kvmi_unpark(&g->s, &ev);

	kvmi_wait_event(&g->s, KVMI_VCPU_EVENT_SINGLESTEP, &ev);
	TEST_ASSERT_EQ(ev.common.arch.regs.rip, KVMI_GUEST_CODE);
	TEST_ASSERT_EQ(ev.common.arch.sregs.tr.selector, KVMI_GUEST_TR2);
	step.enable = 0;
	TEST_ASSERT_KVMI(kvmi_vcpu_cmd(&g->s, 0, KVMI_VCPU_CONTROL_SINGLESTEP, &step,
				       sizeof(step), NULL, 0), 0);
	kvmi_reply(&g->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_guest_stop_normally(g);
}

int main(int argc, char **argv)
{
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_INTROSPECTION));

	return test_harness_run(argc, argv);
}
