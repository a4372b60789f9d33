// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: KVMI_VCPU_GET_INFO, KVMI_VCPU_GET_REGISTERS,
 * KVMI_VCPU_SET_REGISTERS and KVMI_VCPU_GET_CPUID
 */
#include "kvmi_test_harness.h"

/* What fits in a reply: (8184 - 8 - 472) / 16 */
#define MAX_MSRS	481

/* Not an MSR of any processor. */
#define MSR_NON_EXISTENT	0x474f4f00

FIXTURE(kvmi_registers) {
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpu;
	struct kvmi_session s;
	struct kvmi_runner r;
};

FIXTURE_SETUP(kvmi_registers)
{
	self->vm = vm_create_with_one_vcpu(&self->vcpu, NULL);
	kvmi_hook(&self->s, self->vm);
}

FIXTURE_TEARDOWN(kvmi_registers)
{
	kvmi_unhook(&self->s);
	kvm_vm_free(self->vm);
}

static void guest_code(u64 arg)
{
	for (;;)
		GUEST_SYNC1(arg);
}

static void guest_code_other(u64 arg)
{
	GUEST_SYNC1(~arg);
}

static void guest_code_halt(void)
{
	for (;;)
		asm volatile("cli; hlt");
}

struct msr_list {
	struct kvmi_vcpu_get_registers hdr;
	u32 index[2 * MAX_MSRS];
};

struct msr_values {
	struct kvmi_vcpu_get_registers_reply hdr;
	struct kvm_msr_entry entries[MAX_MSRS];
};

static int get_msrs(struct kvmi_session *s, const struct msr_list *list,
		    int nr_sent, struct msr_values *values)
{
	return kvmi_vcpu_cmd(s, 0, KVMI_VCPU_GET_REGISTERS, list,
			     sizeof(list->hdr) + nr_sent * sizeof(u32), values,
			     sizeof(values->hdr) +
			     list->hdr.nmsrs * sizeof(values->entries[0]));
}

/* Put a different number in every register that does no harm. */
static void set_distinct_regs(struct kvm_vcpu *vcpu, struct kvm_regs *regs)
{
	u64 val = 0x1234567800000001ull;
	__u64 *reg;

	vcpu_regs_get(vcpu, regs);
	for (reg = &regs->rax; reg <= &regs->r15; reg++, val += 0x101) {
		if (reg != &regs->rsp)
			*reg = val;
	}
	vcpu_regs_set(vcpu, regs);
}

KVMI_TEST(kvmi_registers, get_info)
{
	struct kvmi_vcpu_get_info_reply rpl;
	struct kvmi_event ev;
	struct ucall uc;
	u64 tsc_speed = 0;

	if (kvm_has_cap(KVM_CAP_TSC_CONTROL))
		tsc_speed = __vcpu_ioctl(self->vcpu, KVM_GET_TSC_KHZ, NULL) * 1000ull;

	vcpu_arch_set_entry_point(self->vcpu, guest_code);
	kvmi_park(&self->r, &self->s, self->vcpu, &ev);
	TEST_ASSERT_KVMI(kvmi_vcpu_cmd(&self->s, 0, KVMI_VCPU_GET_INFO, NULL, 0,
				       &rpl, sizeof(rpl)), 0);
	TEST_ASSERT_EQ(rpl.tsc_speed, tsc_speed);
	kvmi_unpark(&self->s, &ev);
	kvmi_run_wait_sync(&self->r, &uc);
}

KVMI_TEST(kvmi_registers, get_registers)
{
	struct kvmi_vcpu_get_registers_reply rpl;
	struct kvm_sregs sregs;
	struct kvm_regs regs;
	struct kvmi_event ev;
	struct ucall uc;

	vcpu_arch_set_entry_point(self->vcpu, guest_code);
	set_distinct_regs(self->vcpu, &regs);
	vcpu_sregs_get(self->vcpu, &sregs);

	kvmi_park(&self->r, &self->s, self->vcpu, &ev);
	TEST_ASSERT_KVMI(kvmi_get_registers(&self->s, 0, &rpl), 0);
	TEST_ASSERT_EQ(rpl.mode, KVMI_X86_MODE_64);
	TEST_ASSERT_EQ(rpl.msrs.nmsrs, 0);
	TEST_ASSERT(!memcmp(&rpl.regs, &regs, sizeof(regs)), "Registers differ");
	TEST_ASSERT(!memcmp(&rpl.sregs, &sregs, sizeof(sregs)),
		    "Special registers differ");
	kvmi_unpark(&self->s, &ev);
	kvmi_run_wait_sync(&self->r, &uc);
	TEST_ASSERT_EQ(uc.args[0], regs.rdi);
}

/* What comes with an event is what GET_REGISTERS would say. */
KVMI_TEST(kvmi_registers, event_has_registers)
{
	struct {
		u32 index;
		size_t offset;
	} msrs[] = {
#define MSR(_index, _field)						\
	{ _index, offsetof(struct kvmi_vcpu_event_arch, msrs._field) }
		MSR(MSR_IA32_SYSENTER_CS, sysenter_cs),
		MSR(MSR_IA32_SYSENTER_ESP, sysenter_esp),
		MSR(MSR_IA32_SYSENTER_EIP, sysenter_eip),
		MSR(MSR_EFER, efer),
		MSR(MSR_STAR, star),
		MSR(MSR_LSTAR, lstar),
		MSR(MSR_CSTAR, cstar),
		MSR(MSR_IA32_CR_PAT, pat),
		MSR(MSR_KERNEL_GS_BASE, shadow_gs),
#undef MSR
	};
	struct msr_list list = { .hdr.nmsrs = ARRAY_SIZE(msrs) };
	struct msr_values *values = calloc(1, sizeof(*values));
	struct kvm_vcpu *vcpu = self->vcpu;
	struct kvm_regs regs;
	struct kvmi_event ev;
	struct ucall uc;
	int i;

	vcpu_arch_set_entry_point(vcpu, guest_code);
	set_distinct_regs(vcpu, &regs);
	vcpu_set_msr(vcpu, MSR_IA32_SYSENTER_CS, 0x1230);
	vcpu_set_msr(vcpu, MSR_IA32_SYSENTER_ESP, 0x12340000);
	vcpu_set_msr(vcpu, MSR_IA32_SYSENTER_EIP, 0x12350000);
	vcpu_set_msr(vcpu, MSR_STAR, 0x001b000800000000);
	vcpu_set_msr(vcpu, MSR_LSTAR, 0xffffffff81000000);
	vcpu_set_msr(vcpu, MSR_CSTAR, 0xffffffff82000000);
	vcpu_set_msr(vcpu, MSR_IA32_CR_PAT, 0x0007010600070406);
	vcpu_set_msr(vcpu, MSR_KERNEL_GS_BASE, 0xffff888000000000);

	kvmi_park(&self->r, &self->s, vcpu, &ev);
	for (i = 0; i < ARRAY_SIZE(msrs); i++)
		list.index[i] = msrs[i].index;
	TEST_ASSERT_KVMI(get_msrs(&self->s, &list, list.hdr.nmsrs, values), 0);

	TEST_ASSERT_EQ(ev.common.arch.mode, values->hdr.mode);
	TEST_ASSERT(!memcmp(&ev.common.arch.regs, &values->hdr.regs,
			    sizeof(values->hdr.regs)), "Registers differ");
	TEST_ASSERT(!memcmp(&ev.common.arch.sregs, &values->hdr.sregs,
			    sizeof(values->hdr.sregs)), "Special registers differ");
	for (i = 0; i < ARRAY_SIZE(msrs); i++)
		TEST_ASSERT(*(u64 *)((u8 *)&ev.common.arch + msrs[i].offset) ==
			    values->entries[i].data,
			    "MSR 0x%x differs", msrs[i].index);
	kvmi_unpark(&self->s, &ev);
	kvmi_run_wait_sync(&self->r, &uc);

	for (i = 0; i < ARRAY_SIZE(msrs); i++)
		TEST_ASSERT_EQ(vcpu_get_msr(vcpu, msrs[i].index),
			       values->entries[i].data);
	free(values);
}

/* MSRs come in the order of the request, as often as it names them. */
KVMI_TEST(kvmi_registers, msr_list)
{
	static const u32 msrs[] = {
		MSR_LSTAR, MSR_STAR, MSR_LSTAR, MSR_EFER, MSR_IA32_SYSENTER_CS,
	};
	struct msr_values *values = calloc(1, sizeof(*values));
	struct msr_list list = {};
	struct kvmi_event ev;
	struct ucall uc;
	int i;

	vcpu_arch_set_entry_point(self->vcpu, guest_code);
	vcpu_set_msr(self->vcpu, MSR_LSTAR, 0xffffffff81000000);
	vcpu_set_msr(self->vcpu, MSR_STAR, 0x001b000800000000);

	kvmi_park(&self->r, &self->s, self->vcpu, &ev);

	list.hdr.nmsrs = ARRAY_SIZE(msrs);
	memcpy(list.index, msrs, sizeof(msrs));
	TEST_ASSERT_KVMI(get_msrs(&self->s, &list, ARRAY_SIZE(msrs), values), 0);
	TEST_ASSERT_EQ(values->hdr.msrs.nmsrs, ARRAY_SIZE(msrs));
	TEST_ASSERT_EQ(values->hdr.msrs.pad, 0);
	for (i = 0; i < ARRAY_SIZE(msrs); i++) {
		TEST_ASSERT_EQ(values->entries[i].index, msrs[i]);
		TEST_ASSERT_EQ(values->entries[i].reserved, 0);
	}
	TEST_ASSERT_EQ(values->entries[0].data, 0xffffffff81000000);
	TEST_ASSERT_EQ(values->entries[1].data, 0x001b000800000000);
	TEST_ASSERT_EQ(values->entries[2].data, 0xffffffff81000000);
	TEST_ASSERT_EQ(values->entries[3].data, values->hdr.sregs.efer);

	/* More in the message than in the list is no harm. */
	list.hdr.nmsrs = 1;
	TEST_ASSERT_KVMI(get_msrs(&self->s, &list, ARRAY_SIZE(msrs), values), 0);

	/* As many as fit */
	for (i = 0; i < ARRAY_SIZE(list.index); i++)
		list.index[i] = MSR_STAR;
	list.hdr.nmsrs = MAX_MSRS;
	TEST_ASSERT_KVMI(get_msrs(&self->s, &list, MAX_MSRS, values), 0);
	TEST_ASSERT_EQ(values->hdr.msrs.nmsrs, MAX_MSRS);
	TEST_ASSERT_EQ(values->entries[MAX_MSRS - 1].index, MSR_STAR);
	TEST_ASSERT_EQ(values->entries[MAX_MSRS - 1].data, 0x001b000800000000);

	kvmi_unpark(&self->s, &ev);
	kvmi_run_wait_sync(&self->r, &uc);
	free(values);
}

KVMI_TEST(kvmi_registers, get_registers_errors)
{
	struct msr_values *values = calloc(1, sizeof(*values));
	struct kvmi_session *s = &self->s;
	struct msr_list list = {};
	struct kvmi_event ev;
	struct ucall uc;
	int i;

	vcpu_arch_set_entry_point(self->vcpu, guest_code);
	kvmi_park(&self->r, s, self->vcpu, &ev);
	for (i = 0; i < ARRAY_SIZE(list.index); i++)
		list.index[i] = MSR_STAR;

	list.hdr.padding1 = 1;
	TEST_ASSERT_KVMI(get_msrs(s, &list, 0, values), -KVM_EINVAL);
	list.hdr.padding1 = 0;
	list.hdr.padding2 = 0x80000000;
	TEST_ASSERT_KVMI(get_msrs(s, &list, 0, values), -KVM_EINVAL);
	list.hdr.padding2 = 0;

	/* The list is not in the message. */
	list.hdr.nmsrs = 1;
	TEST_ASSERT_KVMI(get_msrs(s, &list, 0, values), -KVM_EINVAL);
	list.hdr.nmsrs = 5;
	TEST_ASSERT_KVMI(get_msrs(s, &list, 4, values), -KVM_EINVAL);
	list.hdr.nmsrs = 0xffff;
	TEST_ASSERT_KVMI(get_msrs(s, &list, MAX_MSRS, values), -KVM_EINVAL);

	/* The values would not be in the reply. */
	list.hdr.nmsrs = MAX_MSRS + 1;
	TEST_ASSERT_KVMI(get_msrs(s, &list, MAX_MSRS + 1, values), -KVM_EINVAL);
	list.hdr.nmsrs = 2 * MAX_MSRS;
	TEST_ASSERT_KVMI(get_msrs(s, &list, 2 * MAX_MSRS, values), -KVM_EINVAL);

	/* One that does not exist spoils all. */
	if (!kvm_is_ignore_msrs()) {
		list.hdr.nmsrs = 3;
		list.index[2] = MSR_NON_EXISTENT;
		TEST_ASSERT_KVMI(get_msrs(s, &list, 3, values), -KVM_EINVAL);
		list.hdr.nmsrs = 2;
		TEST_ASSERT_KVMI(get_msrs(s, &list, 3, values), 0);
	}

	kvmi_unpark(s, &ev);
	kvmi_run_wait_sync(&self->r, &uc);
	free(values);
}

FIXTURE(kvmi_mode) {
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpu;
	struct kvmi_session s;
	struct kvmi_runner r;
};

FIXTURE_VARIANT(kvmi_mode) {
	bool long_mode;
	u8 l;
	u8 db;
	u32 mode;
};

FIXTURE_VARIANT_ADD(kvmi_mode, long_64) {
	.long_mode = true, .l = 1, .db = 0, .mode = 8,
};

FIXTURE_VARIANT_ADD(kvmi_mode, long_compat_32) {
	.long_mode = true, .l = 0, .db = 1, .mode = 4,
};

FIXTURE_VARIANT_ADD(kvmi_mode, long_compat_16) {
	.long_mode = true, .l = 0, .db = 0, .mode = 2,
};

FIXTURE_VARIANT_ADD(kvmi_mode, protected_32) {
	.long_mode = false, .l = 0, .db = 1, .mode = 4,
};

FIXTURE_VARIANT_ADD(kvmi_mode, protected_16) {
	.long_mode = false, .l = 0, .db = 0, .mode = 2,
};

FIXTURE_SETUP(kvmi_mode)
{
	self->vm = vm_create_with_one_vcpu(&self->vcpu, guest_code);
	kvmi_hook(&self->s, self->vm);
}

FIXTURE_TEARDOWN(kvmi_mode)
{
	kvmi_unhook(&self->s);
	kvm_vm_free(self->vm);
}

/* The guest does not get to run in the mode: there is no code for it. */
KVMI_TEST(kvmi_mode, mode)
{
	struct kvmi_vcpu_get_registers_reply rpl;
	struct kvm_sregs sregs;
	struct kvmi_event ev;

	vcpu_sregs_get(self->vcpu, &sregs);
	sregs.cs.l = variant->l;
	sregs.cs.db = variant->db;
	if (!variant->long_mode) {
		sregs.cr0 &= ~X86_CR0_PG;
		sregs.efer &= ~(EFER_LME | EFER_LMA);
	}
	vcpu_sregs_set(self->vcpu, &sregs);

	kvmi_park(&self->r, &self->s, self->vcpu, &ev);
	TEST_ASSERT_EQ(ev.common.arch.mode, variant->mode);
	TEST_ASSERT_KVMI(kvmi_get_registers(&self->s, 0, &rpl), 0);
	TEST_ASSERT_EQ(rpl.mode, variant->mode);

	kvmi_run_signal(&self->r);
	kvmi_run_wait_eintr(&self->r);
}

KVMI_TEST(kvmi_registers, set_registers_needs_an_event)
{
	struct kvm_regs regs = {};
	struct kvmi_vcpu_get_registers_reply rpl;

	vcpu_arch_set_entry_point(self->vcpu, guest_code_halt);
	kvmi_run_start(&self->r, &self->s, self->vcpu);
	TEST_ASSERT_KVMI(kvmi_set_registers(&self->s, 0, &regs),
			 -KVM_EOPNOTSUPP);
	TEST_ASSERT_KVMI(kvmi_get_registers(&self->s, 0, &rpl), 0);
	TEST_ASSERT(rpl.regs.rsp, "The registers were set");

	kvmi_run_signal(&self->r);
	kvmi_run_wait_eintr(&self->r);
}

KVMI_TEST(kvmi_registers, set_registers)
{
	struct kvmi_vcpu_get_registers_reply rpl;
	struct kvm_regs regs;
	struct kvmi_event ev;
	struct ucall uc;
	u8 buf[sizeof(regs) + 8] = {};
	__u64 *reg;

	vcpu_arch_set_entry_point(self->vcpu, guest_code);
	vcpu_args_set(self->vcpu, 1, 1ull);
	kvmi_park(&self->r, &self->s, self->vcpu, &ev);

	/* The last one wins, and shows when the guest goes on. */
	regs = ev.common.arch.regs;
	regs.rdi = 2;
	TEST_ASSERT_KVMI(kvmi_set_registers(&self->s, 0, &regs), 0);
	for (reg = &regs.rax; reg <= &regs.r15; reg++) {
		if (reg != &regs.rsp)
			*reg ^= 0xabcdef0123456789ull;
	}
	regs.rdi = 3;
	memcpy(buf, &regs, sizeof(regs));
	memset(buf + sizeof(regs), 0xff, 8);
	TEST_ASSERT_KVMI(kvmi_vcpu_cmd(&self->s, 0, KVMI_VCPU_SET_REGISTERS,
				       buf, sizeof(buf), NULL, 0), 0);
	TEST_ASSERT_KVMI(kvmi_get_registers(&self->s, 0, &rpl), 0);
	TEST_ASSERT_EQ(rpl.regs.rdi, 1);

	/* One that is refused changes nothing. */
	memset(buf, 0xff, sizeof(buf));
	TEST_ASSERT_KVMI(kvmi_vcpu_cmd(&self->s, 0, KVMI_VCPU_SET_REGISTERS,
				       buf, sizeof(regs) - 1, NULL, 0),
			 -KVM_EINVAL);
	TEST_ASSERT_KVMI(kvmi_vcpu_cmd(&self->s, 0, KVMI_VCPU_SET_REGISTERS,
				       NULL, 0, NULL, 0), -KVM_EINVAL);
	kvmi_unpark(&self->s, &ev);
	kvmi_run_wait_sync(&self->r, &uc);
	TEST_ASSERT_EQ(uc.args[0], 3);

	/* Once only: the next event starts afresh. */
	kvmi_park(&self->r, &self->s, self->vcpu, &ev);
	TEST_ASSERT(ev.common.arch.regs.rip != regs.rip, "RIP was set again");
	kvmi_unpark(&self->s, &ev);
	kvmi_run_wait_sync(&self->r, &uc);
	TEST_ASSERT_EQ(uc.args[0], 3);
}

/* All of the registers are set, from one PAUSE to the next. */
KVMI_TEST(kvmi_registers, set_every_register)
{
	struct kvmi_vcpu_get_registers_reply rpl;
	struct kvm_regs regs;
	struct kvmi_event ev;
	u64 val = 0x8877665544332211ull;
	__u64 *reg;

	vcpu_arch_set_entry_point(self->vcpu, guest_code_halt);
	TEST_ASSERT_KVMI(kvmi_pause(&self->s, 0, 0), 0);
	kvmi_park(&self->r, &self->s, self->vcpu, &ev);

	regs = ev.common.arch.regs;
	for (reg = &regs.rax; reg <= &regs.r15; reg++, val += 0x0101)
		*reg = val;
	regs.rip = 0xffffffff81234567;
	regs.rflags ^= X86_EFLAGS_CF | X86_EFLAGS_DF;
	TEST_ASSERT_KVMI(kvmi_set_registers(&self->s, 0, &regs), 0);
	kvmi_unpark(&self->s, &ev);

	kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_PAUSE, &ev);
	TEST_ASSERT(!memcmp(&ev.common.arch.regs, &regs, sizeof(regs)),
		    "Registers are not as they were set");
	TEST_ASSERT_KVMI(kvmi_get_registers(&self->s, 0, &rpl), 0);
	TEST_ASSERT(!memcmp(&rpl.regs, &regs, sizeof(regs)),
		    "Registers are not as they were set");

	/* The guest could not go on like that. */
	kvmi_run_signal(&self->r);
	kvmi_run_wait_eintr(&self->r);
	vcpu_regs_get(self->vcpu, &regs);
	TEST_ASSERT(!memcmp(&rpl.regs, &regs, sizeof(regs)),
		    "Userspace sees other registers than the tool");
}

KVMI_TEST(kvmi_registers, set_rip)
{
	struct kvm_regs regs;
	struct kvmi_event ev;
	struct ucall uc;

	vcpu_arch_set_entry_point(self->vcpu, guest_code);
	vcpu_args_set(self->vcpu, 1, 5ull);
	kvmi_park(&self->r, &self->s, self->vcpu, &ev);
	regs = ev.common.arch.regs;
	regs.rip = (u64)guest_code_other;
	TEST_ASSERT_KVMI(kvmi_set_registers(&self->s, 0, &regs), 0);
	kvmi_unpark(&self->s, &ev);
	kvmi_run_wait_sync(&self->r, &uc);
	TEST_ASSERT_EQ(uc.args[0], ~5ull);
}

/* Values that wait for a reply which does not come are lost with the session. */
KVMI_TEST(kvmi_registers, set_registers_then_close)
{
	struct kvm_regs regs;
	struct kvmi_event ev;
	struct ucall uc;

	vcpu_arch_set_entry_point(self->vcpu, guest_code);
	vcpu_args_set(self->vcpu, 1, 5ull);
	kvmi_park(&self->r, &self->s, self->vcpu, &ev);
	regs = ev.common.arch.regs;
	regs.rdi = 6;
	TEST_ASSERT_KVMI(kvmi_set_registers(&self->s, 0, &regs), 0);
	kvmi_close(&self->s);
	kvmi_run_wait_sync(&self->r, &uc);
	TEST_ASSERT_EQ(uc.args[0], 5);
}

struct leaf {
	u32 function;
	u32 index;
	struct kvmi_vcpu_get_cpuid_reply regs;
};

#define MAX_LEAVES	256

/* What CPUID tells the guest */
static struct leaf guest_leaves[MAX_LEAVES];
static u64 guest_nr_leaves;

static void guest_code_cpuid(void)
{
	struct leaf *leaf;

	for (;;) {
		for (leaf = guest_leaves; leaf < guest_leaves + guest_nr_leaves; leaf++)
			__cpuid(leaf->function, leaf->index, &leaf->regs.eax,
				&leaf->regs.ebx, &leaf->regs.ecx,
				&leaf->regs.edx);
		GUEST_SYNC(0);
	}
}

static int get_cpuid(struct kvmi_session *s, u32 function, u32 index,
		     struct kvmi_vcpu_get_cpuid_reply *rpl)
{
	struct kvmi_vcpu_get_cpuid req = { .function = function, .index = index };

	return kvmi_vcpu_cmd(s, 0, KVMI_VCPU_GET_CPUID, &req, sizeof(req), rpl,
			     sizeof(*rpl));
}

/* Every leaf there is, with bits that follow CR4, and in a guest of its own */
KVMI_TEST(kvmi_registers, get_cpuid)
{
	struct kvmi_vcpu_get_cpuid_reply rpl;
	struct kvmi_session *s = &self->s;
	struct kvm_sregs sregs;
	struct leaf *leaves;
	struct kvmi_event ev;
	struct ucall uc;
	u64 nr, round;
	int i;

	vcpu_set_cpuid_property(self->vcpu, X86_PROPERTY_MAX_PHY_ADDR, 36);
	vcpu_arch_set_entry_point(self->vcpu, guest_code_cpuid);
	leaves = addr_gva2hva(self->vm, (gva_t)guest_leaves);
	for (nr = 0; nr < self->vcpu->cpuid->nent; nr++) {
		TEST_ASSERT(nr < MAX_LEAVES, "Too many leaves");
		leaves[nr].function = self->vcpu->cpuid->entries[nr].function;
		leaves[nr].index = self->vcpu->cpuid->entries[nr].index;
	}
	write_guest_global(self->vm, guest_nr_leaves, nr);

	for (round = 0; round < 2; round++) {
		kvmi_run_to_sync(s, self->vcpu, &uc);
		kvmi_park(&self->r, s, self->vcpu, &ev);
		for (i = 0; i < nr; i++) {
			TEST_ASSERT_KVMI(get_cpuid(s, leaves[i].function,
						   leaves[i].index, &rpl), 0);
			TEST_ASSERT(!memcmp(&rpl, &leaves[i].regs, sizeof(rpl)),
				    "Leaf %x.%x: %x %x %x %x, the guest has %x %x %x %x",
				    leaves[i].function, leaves[i].index, rpl.eax,
				    rpl.ebx, rpl.ecx, rpl.edx, leaves[i].regs.eax,
				    leaves[i].regs.ebx, leaves[i].regs.ecx,
				    leaves[i].regs.edx);
		}
		kvmi_unpark(s, &ev);
		kvmi_run_wait_sync(&self->r, &uc);

		vcpu_sregs_get(self->vcpu, &sregs);
		sregs.cr4 ^= X86_CR4_OSXSAVE;
		vcpu_sregs_set(self->vcpu, &sregs);
	}
}

KVMI_TEST(kvmi_registers, get_cpuid_index)
{
	struct kvmi_vcpu_get_cpuid_reply rpl, other;
	struct kvmi_session *s = &self->s;
	const struct kvm_cpuid_entry2 *e;
	struct kvmi_event ev;
	struct ucall uc;
	int i;

	vcpu_arch_set_entry_point(self->vcpu, guest_code);
	kvmi_park(&self->r, s, self->vcpu, &ev);

	/* There are no subleaves: any will do. */
	TEST_ASSERT_KVMI(get_cpuid(s, 0, 0, &rpl), 0);
	TEST_ASSERT_KVMI(get_cpuid(s, 0, 0xffffffff, &other), 0);
	TEST_ASSERT(!memcmp(&rpl, &other, sizeof(rpl)), "Leaf 0 has subleaves");

	/* There is no such leaf, also where CPUID tells of another. */
	TEST_ASSERT_KVMI(get_cpuid(s, 0x12345678, 0, &rpl), -KVM_ENOENT);
	TEST_ASSERT_KVMI(get_cpuid(s, 0x7fffffff, 0, &rpl), -KVM_ENOENT);
	TEST_ASSERT_KVMI(get_cpuid(s, 0xffffffff, 0, &rpl), -KVM_ENOENT);

	/* There is no such subleaf. */
	for (i = 0; i < self->vcpu->cpuid->nent; i++) {
		e = &self->vcpu->cpuid->entries[i];
		if (e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX)
			TEST_ASSERT_KVMI(get_cpuid(s, e->function, 0x12345678,
						   &rpl), -KVM_ENOENT);
	}
	kvmi_unpark(s, &ev);
	kvmi_run_wait_sync(&self->r, &uc);
}

int main(int argc, char **argv)
{
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_INTROSPECTION));

	return test_harness_run(argc, argv);
}
