// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: messages
 *
 * What the kernel makes of messages that are short, long, wrong or not
 * allowed, and where every field of the protocol is.
 */
#include <sys/socket.h>

#include "kvmi_test_harness.h"

/* The layout that tools of version 12 of the patches know. */
#define ASSERT_SIZE(type, size)						\
	kvm_static_assert(sizeof(struct type) == (size))
#define ASSERT_OFFSET(type, field, offset)				\
	kvm_static_assert(offsetof(struct type, field) == (offset))

kvm_static_assert(KVM_INTROSPECTION_HOOK == 0x4080aed6);
kvm_static_assert(KVM_INTROSPECTION_UNHOOK == 0xaed7);
kvm_static_assert(KVM_INTROSPECTION_COMMAND == 0x4008aed8);
kvm_static_assert(KVM_INTROSPECTION_EVENT == 0x4008aed9);
kvm_static_assert(KVM_INTROSPECTION_PREUNHOOK == 0xaeda);
ASSERT_SIZE(kvm_introspection_hook, 128);
ASSERT_OFFSET(kvm_introspection_hook, fd, 0);
ASSERT_OFFSET(kvm_introspection_hook, flags, 4);
ASSERT_OFFSET(kvm_introspection_hook, on_loss, 8);
ASSERT_OFFSET(kvm_introspection_hook, on_timeout, 12);
ASSERT_OFFSET(kvm_introspection_hook, timeout, 16);
ASSERT_OFFSET(kvm_introspection_hook, max_timeout, 20);
ASSERT_OFFSET(kvm_introspection_hook, eventfd, 24);
ASSERT_OFFSET(kvm_introspection_hook, commands, 32);
ASSERT_OFFSET(kvm_introspection_hook, events, 64);
ASSERT_SIZE(kvm_introspection_attach, 8);
ASSERT_OFFSET(kvm_introspection_attach, flags, 4);
ASSERT_SIZE(kvm_introspection_feature, 8);
ASSERT_OFFSET(kvm_introspection_feature, allow, 0);
ASSERT_OFFSET(kvm_introspection_feature, id, 4);

kvm_static_assert(KVMI_VERSION == 1);
kvm_static_assert(KVMI_MAX_MSG_SIZE == 8184);
kvm_static_assert(KVMI_VM_EVENT == 0);
kvm_static_assert(KVMI_GET_VERSION == 2);
kvm_static_assert(KVMI_VM_CHECK_COMMAND == 4);
kvm_static_assert(KVMI_VM_CHECK_EVENT == 6);
kvm_static_assert(KVMI_VM_GET_INFO == 8);
kvm_static_assert(KVMI_VM_CONTROL_EVENTS == 10);
kvm_static_assert(KVMI_VM_READ_PHYSICAL == 12);
kvm_static_assert(KVMI_VM_WRITE_PHYSICAL == 14);
kvm_static_assert(KVMI_VM_PAUSE_VCPU == 16);
kvm_static_assert(KVMI_VM_CONTROL_CLEANUP == 18);
kvm_static_assert(KVMI_VM_SET_PAGE_ACCESS == 20);
kvm_static_assert(KVMI_VM_GET_FEATURES == 64);
kvm_static_assert(KVMI_VM_GET_MAX_GFN == 66);
kvm_static_assert(KVMI_VM_GET_MEMSLOTS == 68);
kvm_static_assert(KVMI_VM_GET_PAGE_ACCESS == 70);
kvm_static_assert(KVMI_VM_PAUSE_ALL == 72);
kvm_static_assert(KVMI_VM_SHUTDOWN == 74);
kvm_static_assert(KVMI_VM_CREATE_VIEW == 76);
kvm_static_assert(KVMI_VM_DESTROY_VIEW == 78);
kvm_static_assert(KVMI_VM_CHANGE_GFN == 80);
kvm_static_assert(KVMI_VM_SET_RULES == 82);
kvm_static_assert(KVMI_VM_GET_RULES == 84);
kvm_static_assert(KVMI_VM_LIST_PAGE_ACCESS == 86);
kvm_static_assert(KVMI_VM_LIST_CHANGED_GFNS == 88);
kvm_static_assert(KVMI_VM_LIST_VIEWS == 90);
kvm_static_assert(KVMI_VM_GET_VCPUS == 92);
kvm_static_assert(KVMI_VCPU_EVENT == 1);
kvm_static_assert(KVMI_VCPU_GET_INFO == 3);
kvm_static_assert(KVMI_VCPU_CONTROL_EVENTS == 5);
kvm_static_assert(KVMI_VCPU_GET_REGISTERS == 7);
kvm_static_assert(KVMI_VCPU_SET_REGISTERS == 9);
kvm_static_assert(KVMI_VCPU_GET_CPUID == 11);
kvm_static_assert(KVMI_VCPU_CONTROL_CR == 13);
kvm_static_assert(KVMI_VCPU_INJECT_EXCEPTION == 15);
kvm_static_assert(KVMI_VCPU_GET_XCR == 17);
kvm_static_assert(KVMI_VCPU_GET_XSAVE == 19);
kvm_static_assert(KVMI_VCPU_SET_XSAVE == 21);
kvm_static_assert(KVMI_VCPU_GET_MTRR_TYPE == 23);
kvm_static_assert(KVMI_VCPU_CONTROL_MSR == 25);
kvm_static_assert(KVMI_VCPU_CONTROL_SINGLESTEP == 27);
kvm_static_assert(KVMI_VCPU_TRANSLATE_GVA == 29);
kvm_static_assert(KVMI_VCPU_SET_VIEW == 65);
kvm_static_assert(KVMI_VCPU_GET_VIEW == 67);
kvm_static_assert(KVMI_VCPU_CONTROL_EVENT_SET == 69);
kvm_static_assert(KVMI_VCPU_GET_XSAVE2 == 71);
kvm_static_assert(KVMI_VCPU_SET_XSAVE2 == 73);
kvm_static_assert(KVMI_VCPU_GET_CONTROL == 75);
kvm_static_assert(KVMI_VCPU_GET_DEBUGREGS == 77);
kvm_static_assert(KVMI_VCPU_SET_DEBUGREGS == 79);
kvm_static_assert(KVMI_VM_EVENT_UNHOOK == 0);
kvm_static_assert(KVMI_VCPU_EVENT_PAUSE == 1);
kvm_static_assert(KVMI_VCPU_EVENT_HYPERCALL == 3);
kvm_static_assert(KVMI_VCPU_EVENT_BREAKPOINT == 5);
kvm_static_assert(KVMI_VCPU_EVENT_CR == 7);
kvm_static_assert(KVMI_VCPU_EVENT_TRAP == 9);
kvm_static_assert(KVMI_VCPU_EVENT_XSETBV == 11);
kvm_static_assert(KVMI_VCPU_EVENT_DESCRIPTOR == 13);
kvm_static_assert(KVMI_VCPU_EVENT_MSR == 15);
kvm_static_assert(KVMI_VCPU_EVENT_PF == 17);
kvm_static_assert(KVMI_VCPU_EVENT_SINGLESTEP == 19);
kvm_static_assert(KVMI_VCPU_EVENT_CPUID == 21);
kvm_static_assert(KVMI_VCPU_EVENT_ACCESS == 23);
kvm_static_assert(KVMI_VCPU_EVENT_CREATE_VCPU == 25);
kvm_static_assert(KVMI_EVENT_ACTION_CONTINUE == 0);
kvm_static_assert(KVMI_EVENT_ACTION_ALLOW == 0);
kvm_static_assert(KVMI_EVENT_ACTION_RETRY == 1);
kvm_static_assert(KVMI_EVENT_ACTION_CRASH == 2);
kvm_static_assert(KVMI_EVENT_ACTION_SKIP == 3);
kvm_static_assert(KVMI_PAGE_ACCESS_R == 1);
kvm_static_assert(KVMI_PAGE_ACCESS_W == 2);
kvm_static_assert(KVMI_PAGE_ACCESS_X == 4);
kvm_static_assert(KVMI_PAGE_ACCESS_XS == 8);
kvm_static_assert(KVMI_PAGE_ACCESS_XU == 16);
kvm_static_assert(KVM_EPERM == 1);
kvm_static_assert(KVM_ENOENT == 2);
kvm_static_assert(KVM_EAGAIN == 11);
kvm_static_assert(KVM_ENOMEM == 12);
kvm_static_assert(KVM_EBUSY == 16);
kvm_static_assert(KVM_EINVAL == 22);
kvm_static_assert(KVM_EOPNOTSUPP == 95);
kvm_static_assert(KVM_ENOSYS == 1000);

ASSERT_SIZE(kvmi_msg_hdr, 8);
ASSERT_OFFSET(kvmi_msg_hdr, id, 0);
ASSERT_OFFSET(kvmi_msg_hdr, size, 2);
ASSERT_OFFSET(kvmi_msg_hdr, seq, 4);
ASSERT_SIZE(kvmi_vcpu_hdr, 8);
ASSERT_OFFSET(kvmi_vcpu_hdr, vcpu, 0);
ASSERT_SIZE(kvmi_error_code, 8);
ASSERT_OFFSET(kvmi_error_code, err, 0);
ASSERT_SIZE(kvmi_get_version_reply, 16);
ASSERT_OFFSET(kvmi_get_version_reply, max_msg_size, 4);
ASSERT_OFFSET(kvmi_get_version_reply, features, 8);
ASSERT_SIZE(kvmi_features, 8);
ASSERT_OFFSET(kvmi_features, singlestep, 0);
ASSERT_SIZE(kvmi_vm_check_command, 8);
ASSERT_SIZE(kvmi_vm_check_event, 8);
ASSERT_SIZE(kvmi_vm_get_info_reply, 16);
ASSERT_OFFSET(kvmi_vm_get_info_reply, arch, 4);
ASSERT_OFFSET(kvmi_vm_get_info_reply, address_spaces, 8);
ASSERT_SIZE(kvmi_vm_control_events, 8);
ASSERT_OFFSET(kvmi_vm_control_events, enable, 2);
ASSERT_SIZE(kvmi_vm_read_physical, 16);
ASSERT_OFFSET(kvmi_vm_read_physical, size, 8);
ASSERT_OFFSET(kvmi_vm_read_physical, flags, 10);
ASSERT_OFFSET(kvmi_vm_read_physical, as_id, 12);
ASSERT_OFFSET(kvmi_vm_write_physical, size, 8);
ASSERT_OFFSET(kvmi_vm_write_physical, flags, 10);
ASSERT_OFFSET(kvmi_vm_write_physical, as_id, 12);
ASSERT_OFFSET(kvmi_vm_write_physical, data, 16);
ASSERT_SIZE(kvmi_mem_cookie, 8);
ASSERT_SIZE(kvmi_vm_pause_vcpu, 8);
ASSERT_OFFSET(kvmi_vm_pause_vcpu, wait, 2);
ASSERT_SIZE(kvmi_vm_control_cleanup, 8);
ASSERT_OFFSET(kvmi_vm_control_cleanup, enable, 0);
ASSERT_SIZE(kvmi_vm_get_features_reply, 56);
ASSERT_OFFSET(kvmi_vm_get_features_reply, events, 32);
ASSERT_OFFSET(kvmi_vm_get_features_reply, access, 40);
ASSERT_OFFSET(kvmi_vm_get_features_reply, actions, 44);
ASSERT_OFFSET(kvmi_vm_get_features_reply, address_spaces, 48);
ASSERT_OFFSET(kvmi_vm_get_features_reply, views, 50);
ASSERT_OFFSET(kvmi_vm_get_features_reply, flags, 52);
ASSERT_SIZE(kvmi_vm_get_max_gfn_reply, 8);
ASSERT_SIZE(kvmi_vm_get_memslots, 8);
ASSERT_OFFSET(kvmi_vm_get_memslots, start, 2);
ASSERT_SIZE(kvmi_memslot, 24);
ASSERT_OFFSET(kvmi_memslot, npages, 8);
ASSERT_OFFSET(kvmi_memslot, flags, 16);
ASSERT_SIZE(kvmi_vm_get_memslots_reply, 8);
ASSERT_OFFSET(kvmi_vm_get_memslots_reply, cookie, 4);
ASSERT_SIZE(kvmi_vm_pause_all, 8);
ASSERT_OFFSET(kvmi_vm_pause_all, wait, 0);
ASSERT_SIZE(kvmi_vm_pause_all_reply, 8);
ASSERT_SIZE(kvmi_vcpu_get_cpuid, 8);
ASSERT_OFFSET(kvmi_vcpu_get_cpuid, index, 4);
ASSERT_SIZE(kvmi_vcpu_get_cpuid_reply, 16);
ASSERT_OFFSET(kvmi_vcpu_get_cpuid_reply, ebx, 4);
ASSERT_SIZE(kvmi_vcpu_inject_exception, 16);
ASSERT_OFFSET(kvmi_vcpu_inject_exception, error_code, 4);
ASSERT_OFFSET(kvmi_vcpu_inject_exception, address, 8);
ASSERT_SIZE(kvmi_vcpu_get_xcr, 8);
ASSERT_SIZE(kvmi_vcpu_get_xcr_reply, 8);
kvm_static_assert(KVMI_XSAVE_SIZE == 4096);
ASSERT_SIZE(kvmi_vcpu_get_xsave2, 8);
ASSERT_OFFSET(kvmi_vcpu_get_xsave2, size, 4);
ASSERT_SIZE(kvmi_vcpu_get_xsave2_reply, 8);
ASSERT_OFFSET(kvmi_vcpu_get_xsave2_reply, data, 8);
ASSERT_SIZE(kvmi_vcpu_set_xsave2, 8);
ASSERT_OFFSET(kvmi_vcpu_set_xsave2, data, 8);
ASSERT_SIZE(kvmi_vcpu_get_mtrr_type, 8);
ASSERT_SIZE(kvmi_vcpu_get_mtrr_type_reply, 8);
ASSERT_SIZE(kvmi_vcpu_translate_gva, 8);
ASSERT_SIZE(kvmi_vcpu_translate_gva_reply, 8);
ASSERT_SIZE(kvmi_vcpu_control_event_set, 16);
ASSERT_OFFSET(kvmi_vcpu_control_event_set, disable, 8);
ASSERT_SIZE(kvmi_vcpu_control_event_set_reply, 8);
ASSERT_SIZE(kvmi_vcpu_event_breakpoint, 16);
ASSERT_OFFSET(kvmi_vcpu_event_breakpoint, insn_len, 8);
ASSERT_SIZE(kvmi_vcpu_event_trap, 16);
ASSERT_OFFSET(kvmi_vcpu_event_trap, error_code, 4);
ASSERT_OFFSET(kvmi_vcpu_event_trap, address, 8);
ASSERT_SIZE(kvmi_vcpu_event_xsetbv, 24);
ASSERT_OFFSET(kvmi_vcpu_event_xsetbv, old_value, 8);
ASSERT_OFFSET(kvmi_vcpu_event_xsetbv, new_value, 16);
ASSERT_SIZE(kvmi_vcpu_event_descriptor, 8);
ASSERT_OFFSET(kvmi_vcpu_event_descriptor, write, 1);
ASSERT_SIZE(kvmi_vcpu_event_cpuid, 16);
ASSERT_OFFSET(kvmi_vcpu_event_cpuid, insn_len, 8);
ASSERT_SIZE(kvmi_vcpu_get_info_reply, 8);
ASSERT_SIZE(kvmi_vcpu_control_events, 8);
ASSERT_OFFSET(kvmi_vcpu_control_events, enable, 2);
ASSERT_SIZE(kvmi_vcpu_get_registers, 8);
ASSERT_OFFSET(kvmi_vcpu_get_registers, msrs_idx, 8);
ASSERT_SIZE(kvmi_vcpu_get_registers_reply, 472);
ASSERT_OFFSET(kvmi_vcpu_get_registers_reply, regs, 8);
ASSERT_OFFSET(kvmi_vcpu_get_registers_reply, sregs, 152);
ASSERT_OFFSET(kvmi_vcpu_get_registers_reply, msrs, 464);
ASSERT_SIZE(kvm_regs, 144);
ASSERT_SIZE(kvm_sregs, 312);
ASSERT_SIZE(kvm_msr_entry, 16);
ASSERT_SIZE(kvmi_vcpu_control_cr, 8);
ASSERT_OFFSET(kvmi_vcpu_control_cr, enable, 1);
ASSERT_SIZE(kvmi_vcpu_control_msr, 8);
ASSERT_OFFSET(kvmi_vcpu_control_msr, msr, 4);
ASSERT_SIZE(kvmi_event_hdr, 8);
ASSERT_SIZE(kvmi_vcpu_event, 544);
ASSERT_OFFSET(kvmi_vcpu_event, vcpu, 2);
ASSERT_OFFSET(kvmi_vcpu_event, cookie, 4);
ASSERT_OFFSET(kvmi_vcpu_event, arch, 8);
ASSERT_SIZE(kvmi_vcpu_event_arch, 536);
ASSERT_OFFSET(kvmi_vcpu_event_arch, regs, 8);
ASSERT_OFFSET(kvmi_vcpu_event_arch, sregs, 152);
ASSERT_OFFSET(kvmi_vcpu_event_arch, msrs.sysenter_cs, 464);
ASSERT_OFFSET(kvmi_vcpu_event_arch, msrs.sysenter_esp, 472);
ASSERT_OFFSET(kvmi_vcpu_event_arch, msrs.sysenter_eip, 480);
ASSERT_OFFSET(kvmi_vcpu_event_arch, msrs.efer, 488);
ASSERT_OFFSET(kvmi_vcpu_event_arch, msrs.star, 496);
ASSERT_OFFSET(kvmi_vcpu_event_arch, msrs.lstar, 504);
ASSERT_OFFSET(kvmi_vcpu_event_arch, msrs.cstar, 512);
ASSERT_OFFSET(kvmi_vcpu_event_arch, msrs.pat, 520);
ASSERT_OFFSET(kvmi_vcpu_event_arch, msrs.shadow_gs, 528);
ASSERT_SIZE(kvmi_vcpu_event_reply, 8);
ASSERT_OFFSET(kvmi_vcpu_event_reply, event, 1);
ASSERT_OFFSET(kvmi_vcpu_event_reply, view, 2);
ASSERT_OFFSET(kvmi_vcpu_event_reply, flags, 4);
ASSERT_OFFSET(kvmi_event_hdr, flags, 2);
ASSERT_SIZE(kvmi_rule, 88);
ASSERT_OFFSET(kvmi_rule, cr3, 16);
ASSERT_OFFSET(kvmi_rule, changed, 80);
ASSERT_SIZE(kvmi_vm_set_rules, 8);
ASSERT_SIZE(kvmi_vm_get_rules, 8);
ASSERT_SIZE(kvmi_rule_info, 96);
ASSERT_SIZE(kvmi_vm_get_rules_reply, 16);
ASSERT_SIZE(kvmi_vcpu_event_cr, 24);
ASSERT_OFFSET(kvmi_vcpu_event_cr, old_value, 8);
ASSERT_OFFSET(kvmi_vcpu_event_cr, new_value, 16);
ASSERT_SIZE(kvmi_vcpu_event_cr_reply, 8);
ASSERT_SIZE(kvmi_vcpu_event_msr, 24);
ASSERT_OFFSET(kvmi_vcpu_event_msr, old_value, 8);
ASSERT_OFFSET(kvmi_vcpu_event_msr, new_value, 16);
ASSERT_SIZE(kvmi_vcpu_event_msr_reply, 8);
ASSERT_SIZE(kvmi_page_access_entry, 16);
ASSERT_OFFSET(kvmi_page_access_entry, access, 8);
ASSERT_OFFSET(kvmi_page_access_entry, npages, 12);
ASSERT_SIZE(kvmi_vm_set_page_access, 8);
ASSERT_OFFSET(kvmi_vm_set_page_access, view, 2);
ASSERT_OFFSET(kvmi_vm_set_page_access, as_id, 4);
ASSERT_OFFSET(kvmi_vm_set_page_access, entries, 8);
ASSERT_SIZE(kvmi_vm_get_page_access, 8);
ASSERT_OFFSET(kvmi_vm_get_page_access, view, 2);
ASSERT_OFFSET(kvmi_vm_get_page_access, as_id, 4);
ASSERT_OFFSET(kvmi_vm_get_page_access, gpa, 8);
ASSERT_SIZE(kvmi_vm_create_view, 8);
ASSERT_SIZE(kvmi_vm_create_view_reply, 8);
ASSERT_SIZE(kvmi_vm_destroy_view, 8);
ASSERT_SIZE(kvmi_vm_change_gfn, 24);
ASSERT_OFFSET(kvmi_vm_change_gfn, as_id, 2);
ASSERT_OFFSET(kvmi_vm_change_gfn, gfn, 8);
ASSERT_OFFSET(kvmi_vm_change_gfn, new_gfn, 16);
ASSERT_SIZE(kvmi_vcpu_control_singlestep, 8);
ASSERT_SIZE(kvmi_vcpu_set_view, 8);
ASSERT_SIZE(kvmi_vcpu_get_view_reply, 8);
ASSERT_SIZE(kvmi_vcpu_event_pf, 24);
ASSERT_OFFSET(kvmi_vcpu_event_pf, gpa, 8);
ASSERT_OFFSET(kvmi_vcpu_event_pf, access, 16);
ASSERT_OFFSET(kvmi_vcpu_event_pf, flags, 17);
ASSERT_OFFSET(kvmi_vcpu_event_pf, view, 18);
ASSERT_SIZE(kvmi_vcpu_event_pf_reply, 8);
ASSERT_SIZE(kvmi_vcpu_event_singlestep, 8);
ASSERT_SIZE(kvmi_vcpu_event_access, 56);
ASSERT_OFFSET(kvmi_vcpu_event_access, gpa, 8);
ASSERT_OFFSET(kvmi_vcpu_event_access, access, 16);
ASSERT_OFFSET(kvmi_vcpu_event_access, size, 17);
ASSERT_OFFSET(kvmi_vcpu_event_access, data, 24);
ASSERT_SIZE(kvmi_vcpu_event_access_reply, 32);
/* The parts above make up an event as it is on the wire. */
ASSERT_OFFSET(kvmi_event, common, 16);
ASSERT_OFFSET(kvmi_event, cr, 560);

static const u16 known_commands[] = {
	KVMI_GET_VERSION,
	KVMI_VM_CHECK_COMMAND,
	KVMI_VM_CHECK_EVENT,
	KVMI_VM_GET_INFO,
	KVMI_VM_CONTROL_EVENTS,
	KVMI_VM_READ_PHYSICAL,
	KVMI_VM_WRITE_PHYSICAL,
	KVMI_VM_PAUSE_VCPU,
	KVMI_VM_CONTROL_CLEANUP,
	KVMI_VM_SET_PAGE_ACCESS,
	KVMI_VM_GET_FEATURES,
	KVMI_VM_GET_MAX_GFN,
	KVMI_VM_GET_MEMSLOTS,
	KVMI_VM_GET_PAGE_ACCESS,
	KVMI_VM_PAUSE_ALL,
	KVMI_VM_SHUTDOWN,
	KVMI_VM_CREATE_VIEW,
	KVMI_VM_DESTROY_VIEW,
	KVMI_VM_CHANGE_GFN,
	KVMI_VM_SET_RULES,
	KVMI_VM_GET_RULES,
	KVMI_VM_LIST_PAGE_ACCESS,
	KVMI_VM_LIST_CHANGED_GFNS,
	KVMI_VM_LIST_VIEWS,
	KVMI_VM_GET_VCPUS,
	KVMI_VCPU_GET_INFO,
	KVMI_VCPU_CONTROL_EVENTS,
	KVMI_VCPU_GET_REGISTERS,
	KVMI_VCPU_SET_REGISTERS,
	KVMI_VCPU_GET_CPUID,
	KVMI_VCPU_CONTROL_CR,
	KVMI_VCPU_INJECT_EXCEPTION,
	KVMI_VCPU_GET_XCR,
	KVMI_VCPU_GET_XSAVE,
	KVMI_VCPU_SET_XSAVE,
	KVMI_VCPU_GET_MTRR_TYPE,
	KVMI_VCPU_CONTROL_MSR,
	KVMI_VCPU_CONTROL_SINGLESTEP,
	KVMI_VCPU_TRANSLATE_GVA,
	KVMI_VCPU_SET_VIEW,
	KVMI_VCPU_GET_VIEW,
	KVMI_VCPU_CONTROL_EVENT_SET,
	KVMI_VCPU_GET_XSAVE2,
	KVMI_VCPU_SET_XSAVE2,
	KVMI_VCPU_GET_CONTROL,
	KVMI_VCPU_GET_DEBUGREGS,
	KVMI_VCPU_SET_DEBUGREGS,
};

/* 0 and 1 are for events, the others were never given to anybody. */
static const u16 unknown_commands[] = {
	0, 22, 24, 26, 28, 30, 31, 62, 63, 81, 83, 85, 87, 94, 254, 255, 256, 257,
	0x7ffe, 0x8000, 0xfffe, 0xffff,
};

static const u16 known_events[] = {
	KVMI_VM_EVENT_UNHOOK,
	KVMI_VCPU_EVENT_PAUSE,
	KVMI_VCPU_EVENT_HYPERCALL,
	KVMI_VCPU_EVENT_BREAKPOINT,
	KVMI_VCPU_EVENT_CR,
	KVMI_VCPU_EVENT_TRAP,
	KVMI_VCPU_EVENT_XSETBV,
	KVMI_VCPU_EVENT_DESCRIPTOR,
	KVMI_VCPU_EVENT_MSR,
	KVMI_VCPU_EVENT_PF,
	KVMI_VCPU_EVENT_SINGLESTEP,
	KVMI_VCPU_EVENT_CPUID,
	KVMI_VCPU_EVENT_ACCESS,
	KVMI_VCPU_EVENT_CREATE_VCPU,
};

static const u16 unknown_events[] = {
	2, 4, 16, 18, 20, 22, 24, 26, 27, 62, 63, 64, 65, 0x7fff, 0x8000, 0xffff,
};

static bool is_always_allowed(u16 id)
{
	return id == KVMI_GET_VERSION || id == KVMI_VM_CHECK_COMMAND ||
	       id == KVMI_VM_CHECK_EVENT;
}

static void guest_code(void)
{
	for (;;)
		GUEST_SYNC(0);
}

/* Their replies do not fit in a socket, half of that does. */
#define MANY_COMMANDS	400

FIXTURE(kvmi_message) {
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpu;
	struct kvmi_session s;
	struct kvmi_runner r;
};

FIXTURE_SETUP(kvmi_message)
{
	self->vm = vm_create_with_one_vcpu(&self->vcpu, guest_code);
	kvmi_hook(&self->s, self->vm);
}

FIXTURE_TEARDOWN(kvmi_message)
{
	kvmi_unhook(&self->s);
	kvm_vm_free(self->vm);
}

/* The session is alive, and has nothing else to say. */
static void assert_alive(struct kvmi_session *s)
{
	struct kvmi_get_version_reply rpl;

	TEST_ASSERT_KVMI(kvmi_cmd(s, KVMI_GET_VERSION, NULL, 0, &rpl,
				  sizeof(rpl)), 0);
	TEST_ASSERT_EQ(rpl.version, KVMI_VERSION);
}

KVMI_TEST(kvmi_message, get_version)
{
	struct kvmi_get_version_reply rpl;
	int i;

	TEST_ASSERT_KVMI(kvmi_cmd(&self->s, KVMI_GET_VERSION, NULL, 0, &rpl,
				  sizeof(rpl)), 0);
	TEST_ASSERT_EQ(rpl.version, 1);
	TEST_ASSERT_EQ(rpl.max_msg_size, 8184);
	for (i = 0; i < ARRAY_SIZE(rpl.features.padding); i++)
		TEST_ASSERT_EQ(rpl.features.padding[i], 0);

	/* 27 is the command that turns single-stepping on. */
	TEST_ASSERT(rpl.features.singlestep <= 1, "Not a boolean");
	if (kvmi_check_command(&self->s, 27) == -KVM_ENOENT)
		TEST_ASSERT_EQ(rpl.features.singlestep, 0);
}

KVMI_TEST(kvmi_message, vm_get_info)
{
	int address_spaces = vm_check_cap(self->vm, KVM_CAP_MULTI_ADDRESS_SPACE);
	struct kvmi_vm_get_info_reply rpl;

	TEST_ASSERT_KVMI(kvmi_cmd(&self->s, KVMI_VM_GET_INFO, NULL, 0, &rpl,
				  sizeof(rpl)), 0);
	TEST_ASSERT_EQ(rpl.vcpu_count, 1);
	TEST_ASSERT_EQ(rpl.arch, KVMI_ARCH_X86);
	TEST_ASSERT_EQ(rpl.address_spaces, max(address_spaces, 1));
	TEST_ASSERT_EQ(rpl.padding, 0);

	vm_vcpu_add(self->vm, 1, guest_code);
	TEST_ASSERT_KVMI(kvmi_cmd(&self->s, KVMI_VM_GET_INFO, NULL, 0, &rpl,
				  sizeof(rpl)), 0);
	TEST_ASSERT_EQ(rpl.vcpu_count, 2);
}

KVMI_TEST(kvmi_message, check_command)
{
	struct kvmi_vm_check_command req = {};
	int i;

	for (i = 0; i < ARRAY_SIZE(known_commands); i++) {
		u16 id = known_commands[i];

		TEST_ASSERT_KVMI(kvmi_check_command(&self->s, id), 0);
		if (is_always_allowed(id))
			continue;
		TEST_ASSERT_EQ(__kvmi_command(self->vm, 0, id), 0);
		TEST_ASSERT_KVMI(kvmi_check_command(&self->s, id), -KVM_EPERM);
		TEST_ASSERT_EQ(__kvmi_command(self->vm, 1, id), 0);
		TEST_ASSERT_KVMI(kvmi_check_command(&self->s, id), 0);
	}

	for (i = 1; i < ARRAY_SIZE(unknown_commands); i++)
		TEST_ASSERT_KVMI(kvmi_check_command(&self->s, unknown_commands[i]),
				 -KVM_ENOENT);

	/* Padding is looked at before the id. */
	for (i = 0; i < 2; i++) {
		req.id = i ? KVMI_GET_VERSION : 0xffff;
		req.padding1 = 1;
		req.padding2 = 0;
		TEST_ASSERT_KVMI(kvmi_cmd(&self->s, KVMI_VM_CHECK_COMMAND, &req,
					  sizeof(req), NULL, 0), -KVM_EINVAL);
		req.padding1 = 0;
		req.padding2 = 0x80000000;
		TEST_ASSERT_KVMI(kvmi_cmd(&self->s, KVMI_VM_CHECK_COMMAND, &req,
					  sizeof(req), NULL, 0), -KVM_EINVAL);
	}
}

KVMI_TEST(kvmi_message, check_event)
{
	struct kvmi_vm_check_event req = {};
	int i;

	for (i = 0; i < ARRAY_SIZE(known_events); i++) {
		u16 id = known_events[i];

		TEST_ASSERT_KVMI(kvmi_check_event(&self->s, id), 0);
		TEST_ASSERT_EQ(__kvmi_event(self->vm, 0, id), 0);
		TEST_ASSERT_KVMI(kvmi_check_event(&self->s, id), -KVM_EPERM);
		TEST_ASSERT_EQ(__kvmi_event(self->vm, 1, id), 0);
		TEST_ASSERT_KVMI(kvmi_check_event(&self->s, id), 0);
	}

	for (i = 0; i < ARRAY_SIZE(unknown_events); i++)
		TEST_ASSERT_KVMI(kvmi_check_event(&self->s, unknown_events[i]),
				 -KVM_ENOENT);

	for (i = 0; i < 2; i++) {
		req.id = i ? KVMI_VCPU_EVENT_CR : 0xffff;
		req.padding1 = 1;
		req.padding2 = 0;
		TEST_ASSERT_KVMI(kvmi_cmd(&self->s, KVMI_VM_CHECK_EVENT, &req,
					  sizeof(req), NULL, 0), -KVM_EINVAL);
		req.padding1 = 0;
		req.padding2 = 0x80000000;
		TEST_ASSERT_KVMI(kvmi_cmd(&self->s, KVMI_VM_CHECK_EVENT, &req,
					  sizeof(req), NULL, 0), -KVM_EINVAL);
	}
}

KVMI_TEST(kvmi_message, control_vm_events)
{
	struct kvmi_vm_control_events bad[] = {
		{ .padding1 = 1 },
		{ .padding2 = 1 },
		{ .enable = 2 },
		{ .enable = 0xff },
		/* Not events of the VM, or not events at all. */
		{ .event_id = KVMI_VCPU_EVENT_PAUSE },
		{ .event_id = KVMI_VCPU_EVENT_CR, .enable = 1 },
		{ .event_id = 2 },
		{ .event_id = 0xffff },
	};
	struct kvmi_session *s = &self->s;
	int i;

	for (i = 0; i < ARRAY_SIZE(bad); i++)
		TEST_ASSERT_KVMI(kvmi_cmd(s, KVMI_VM_CONTROL_EVENTS, &bad[i],
					  sizeof(bad[i]), NULL, 0), -KVM_EINVAL);

	TEST_ASSERT_KVMI(kvmi_control_vm_event(s, KVMI_VM_EVENT_UNHOOK, 1), 0);
	TEST_ASSERT_KVMI(kvmi_control_vm_event(s, KVMI_VM_EVENT_UNHOOK, 0), 0);

	/* What is wrong is wrong whether or not it is allowed. */
	TEST_ASSERT_EQ(__kvmi_event(self->vm, 0, -1), 0);
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		TEST_ASSERT_KVMI(kvmi_cmd(s, KVMI_VM_CONTROL_EVENTS, &bad[i],
					  sizeof(bad[i]), NULL, 0), -KVM_EINVAL);
	TEST_ASSERT_KVMI(kvmi_control_vm_event(s, KVMI_VM_EVENT_UNHOOK, 1),
			 -KVM_EPERM);
	TEST_ASSERT_KVMI(kvmi_control_vm_event(s, KVMI_VM_EVENT_UNHOOK, 0),
			 -KVM_EPERM);
}

/* Whoever asks picks the number of the answer. */
KVMI_TEST(kvmi_message, sequence_is_echoed)
{
	static const u32 seqs[] = { 0, 0xffffffff, 7, 7, 6, 0x80000000 };
	struct kvmi_get_version_reply rpl;
	int i;

	for (i = 0; i < ARRAY_SIZE(seqs); i++) {
		self->s.seq = seqs[i] - 1;
		TEST_ASSERT_KVMI(kvmi_cmd(&self->s, KVMI_GET_VERSION, NULL, 0,
					  &rpl, sizeof(rpl)), 0);
		TEST_ASSERT_EQ(self->s.seq, seqs[i]);
	}
}

/* Events are numbered from 1. */
KVMI_TEST(kvmi_message, sequence_of_events)
{
	struct kvmi_event ev;
	struct ucall uc;
	int i;

	for (i = 1; i <= 3; i++) {
		kvmi_park(&self->r, &self->s, self->vcpu, &ev);
		TEST_ASSERT_EQ(ev.hdr.seq, i);
		kvmi_unpark(&self->s, &ev);
		kvmi_run_wait_sync(&self->r, &uc);
	}
}

/* What an older tool does not send is zero. */
KVMI_TEST(kvmi_message, short_command)
{
	struct kvmi_vm_control_events control = {
		.event_id = KVMI_VM_EVENT_UNHOOK,
		.enable = 1,
	};
	struct kvmi_vcpu_hdr vcpu = {};
	struct kvmi_vcpu_get_registers_reply registers;
	struct kvmi_vcpu_translate_gva_reply gva;
	struct kvmi_vcpu_get_cpuid_reply cpuid;
	struct kvmi_vcpu_get_info_reply info;
	struct kvmi_vcpu_get_xcr_reply xcr;
	struct kvmi_vm_pause_all_reply all;
	struct kvmi_session *s = &self->s;
	struct kvmi_event ev;
	struct ucall uc;
	int i;
	u32 seq;

	/* Event 0 */
	TEST_ASSERT_KVMI(kvmi_cmd(s, KVMI_VM_CHECK_EVENT, NULL, 0, NULL, 0), 0);
	TEST_ASSERT_EQ(__kvmi_event(self->vm, 0, 0), 0);
	TEST_ASSERT_KVMI(kvmi_cmd(s, KVMI_VM_CHECK_EVENT, NULL, 0, NULL, 0),
			 -KVM_EPERM);
	TEST_ASSERT_EQ(__kvmi_event(self->vm, 1, 0), 0);

	/* The event id without, and with, the byte that enables it. */
	TEST_ASSERT_KVMI(kvmi_cmd(s, KVMI_VM_CONTROL_EVENTS, &control, 3,
				  NULL, 0), 0);
	TEST_ASSERT_KVMI(kvmi_cmd(s, KVMI_VM_CONTROL_EVENTS, &control, 2,
				  NULL, 0), 0);
	TEST_ASSERT_ERRNO(__kvmi_preunhook(self->vm), ENOENT);

	/* What was sent before does not show through. */
	memset(&control, 0xff, sizeof(control));
	TEST_ASSERT_KVMI(kvmi_cmd(s, KVMI_VM_CHECK_EVENT, &control,
				  sizeof(control), NULL, 0), -KVM_EINVAL);
	TEST_ASSERT_KVMI(kvmi_cmd(s, KVMI_VM_CHECK_EVENT, NULL, 0, NULL, 0), 0);

	/* The size that READ_PHYSICAL then has is not a good one. */
	TEST_ASSERT_KVMI(kvmi_cmd(s, KVMI_VM_READ_PHYSICAL, NULL, 0, NULL, 0),
			 -KVM_EINVAL);

	/* The same for commands to a vCPU: all of the header, part, none. */
	TEST_ASSERT_KVMI(kvmi_cmd(s, KVMI_VM_PAUSE_ALL, NULL, 0, &all,
				  sizeof(all)), 0);
	TEST_ASSERT_EQ(all.count, 1);
	kvmi_run_start(&self->r, s, self->vcpu);
	kvmi_wait_event(s, KVMI_VCPU_EVENT_PAUSE, &ev);
	for (i = sizeof(vcpu); i >= 0; i--) {
		seq = kvmi_send_cmd(s, KVMI_VCPU_GET_INFO, &vcpu, i);
		TEST_ASSERT_KVMI(kvmi_recv_reply(s, KVMI_VCPU_GET_INFO, seq,
						 &info, sizeof(info)), 0);
	}
	/* A list of no MSRs */
	TEST_ASSERT_KVMI(kvmi_vcpu_cmd(s, 0, KVMI_VCPU_GET_REGISTERS, NULL, 0,
				       &registers, sizeof(registers)), 0);
	TEST_ASSERT_EQ(registers.regs.rip, ev.common.arch.regs.rip);
	/* CONTROL_CR: CR0, off */
	TEST_ASSERT_KVMI(kvmi_vcpu_cmd(s, 0, KVMI_VCPU_CONTROL_CR, NULL, 0,
				       NULL, 0), 0);
	/* The addresses and leaves with number 0 */
	TEST_ASSERT_KVMI(kvmi_vcpu_cmd(s, 0, KVMI_VCPU_TRANSLATE_GVA, NULL, 0,
				       &gva, sizeof(gva)), 0);
	TEST_ASSERT_EQ(gva.gpa, ~0ull);
	TEST_ASSERT_KVMI(kvmi_vcpu_cmd(s, 0, KVMI_VCPU_GET_CPUID, NULL, 0,
				       &cpuid, sizeof(cpuid)), 0);
	TEST_ASSERT_EQ(cpuid.eax, get_cpuid_entry(self->vcpu->cpuid, 0, 0)->eax);
	TEST_ASSERT_KVMI(kvmi_vcpu_cmd(s, 0, KVMI_VCPU_GET_XCR, NULL, 0, &xcr,
				       sizeof(xcr)), 0);
	TEST_ASSERT(xcr.value & 1, "XCR0 is %llx", xcr.value);
	/* CONTROL_EVENTS: event 0 is not a vCPU's */
	TEST_ASSERT_KVMI(kvmi_vcpu_cmd(s, 0, KVMI_VCPU_CONTROL_EVENTS, NULL, 0,
				       NULL, 0), -KVM_EINVAL);
	kvmi_unpark(s, &ev);
	kvmi_run_wait_sync(&self->r, &uc);
}

/* What a newer tool sends beyond the fields known is not looked at. */
KVMI_TEST(kvmi_message, long_command)
{
	struct kvmi_vm_check_event *check;
	struct kvmi_get_version_reply rpl;
	struct kvmi_vcpu_get_info_reply info;
	struct kvmi_session *s = &self->s;
	struct kvmi_event ev;
	struct ucall uc;
	u8 buf[KVMI_MAX_MSG_SIZE];

	memset(buf, 0xff, sizeof(buf));
	TEST_ASSERT_KVMI(kvmi_cmd(s, KVMI_GET_VERSION, buf, 1, &rpl,
				  sizeof(rpl)), 0);
	TEST_ASSERT_KVMI(kvmi_cmd(s, KVMI_GET_VERSION, buf, sizeof(buf), &rpl,
				  sizeof(rpl)), 0);

	check = (void *)buf;
	*check = (struct kvmi_vm_check_event) { .id = KVMI_VCPU_EVENT_CR };
	TEST_ASSERT_KVMI(kvmi_cmd(s, KVMI_VM_CHECK_EVENT, buf, sizeof(buf),
				  NULL, 0), 0);

	memset(buf, 0xff, sizeof(buf));
	kvmi_park(&self->r, s, self->vcpu, &ev);
	TEST_ASSERT_KVMI(kvmi_vcpu_cmd(s, 0, KVMI_VCPU_GET_INFO, buf,
				       sizeof(buf) - sizeof(struct kvmi_vcpu_hdr),
				       &info, sizeof(info)), 0);
	kvmi_unpark(s, &ev);
	kvmi_run_wait_sync(&self->r, &uc);
}

/* Do the bytes after a request's fields belong to it? */
static bool is_list(u16 id)
{
	return id == KVMI_VM_GET_PAGE_ACCESS || id == KVMI_VCPU_SET_XSAVE2;
}

/*
 * Commands that came later do not: what a newer tool wants is not half done.
 * Zeroes mean nothing.
 */
KVMI_TEST(kvmi_message, long_command_of_ours)
{
	struct kvmi_vm_get_page_access list = {};
	struct kvmi_vm_get_features_reply features;
	struct kvmi_session *s = &self->s;
	struct kvmi_vm_get_max_gfn_reply max;
	u8 buf[128] = {};
	int nr = 0;
	u16 id;

	kvmi_get_features(s, &features);
	for (id = 64; id < KVMI_NUM_COMMANDS; id++) {
		if (!(features.commands[id / 64] & BIT_ULL(id % 64)) || is_list(id))
			continue;
		nr++;
		buf[sizeof(buf) - 1] = 1;
		TEST_ASSERT_KVMI(kvmi_cmd(s, id, buf, sizeof(buf), NULL, 0),
				 -KVM_E2BIG);
		/* Nor is a vCPU looked for that does not exist. */
		buf[sizeof(buf) - 1] = 0x80;
		buf[0] = 0xff;
		TEST_ASSERT_KVMI(kvmi_cmd(s, id, buf, sizeof(buf), NULL, 0),
				 -KVM_E2BIG);
		buf[0] = 0;
	}
	TEST_ASSERT(nr >= 12, "%d commands", nr);

	buf[sizeof(buf) - 1] = 0;
	TEST_ASSERT_KVMI(kvmi_cmd(s, KVMI_VM_GET_MAX_GFN, buf, sizeof(buf), &max,
				  sizeof(max)), 0);

	/* A list may be followed by as little. */
	if (!kvmi_has_page_access())
		return;
	memcpy(buf, &list, sizeof(list));
	TEST_ASSERT_KVMI(kvmi_cmd(s, KVMI_VM_GET_PAGE_ACCESS, buf, sizeof(buf),
				  NULL, 0), 0);
	buf[sizeof(buf) - 1] = 1;
	TEST_ASSERT_KVMI(kvmi_cmd(s, KVMI_VM_GET_PAGE_ACCESS, buf, sizeof(buf),
				  NULL, 0), -KVM_E2BIG);
}

/* Nobody has to wait for an answer before the next question. */
KVMI_TEST(kvmi_message, several_commands_in_one_write)
{
	struct {
		struct kvmi_msg_hdr version;
		struct kvmi_msg_hdr unknown;
		struct kvmi_msg_hdr info;
		struct kvmi_vm_check_event rest_of_info;
	} msg = {
		.version = { .id = KVMI_GET_VERSION, .seq = 100 },
		.unknown = { .id = 0xfffe, .seq = 50 },
		.info = {
			.id = KVMI_VM_GET_INFO,
			.size = sizeof(msg.rest_of_info),
			.seq = 0,
		},
	};
	struct kvmi_get_version_reply version;
	struct kvmi_vm_get_info_reply info;
	struct kvmi_session *s = &self->s;

	kvmi_send(s, &msg, sizeof(msg));
	TEST_ASSERT_KVMI(kvmi_recv_reply(s, KVMI_GET_VERSION, 100, &version,
					 sizeof(version)), 0);
	TEST_ASSERT_KVMI(kvmi_recv_reply(s, 0xfffe, 50, NULL, 0), -KVM_ENOSYS);
	TEST_ASSERT_KVMI(kvmi_recv_reply(s, KVMI_VM_GET_INFO, 0, &info,
					 sizeof(info)), 0);
}

#define BATCH		64
/* The replies are longer than a message. */
#define LONG_BATCH	700
/* Of this size READ_PHYSICAL has a reply of which two make a message. */
#define BATCH_READ	4096

static void add_versions(struct kvmi_batch *batch, u32 count)
{
	u32 i;

	for (i = 0; i < count; i++)
		kvmi_batch_add(batch, KVMI_GET_VERSION, i, NULL, 0);
}

static void assert_versions(struct kvmi_session *s, u32 first, u32 count)
{
	struct kvmi_get_version_reply rpl;
	u32 i;

	for (i = 0; i < count; i++)
		TEST_ASSERT_KVMI(kvmi_recv_reply(s, KVMI_GET_VERSION, first + i, &rpl,
						 sizeof(rpl)), 0);
}

/* There is one reply for each, and all that a message has room for come at once. */
KVMI_TEST(kvmi_message, batch)
{
	size_t size = sizeof(struct kvmi_msg_hdr) + sizeof(struct kvmi_error_code) +
		      sizeof(struct kvmi_get_version_reply);
	struct kvmi_session *s = &self->s;
	struct kvmi_batch batch = { };
	u8 buf[BATCH * 64];

	add_versions(&batch, BATCH);
	kvmi_send(s, batch.data, batch.size);
	/* The rest of what was written together is there, too. */
	TEST_ASSERT_EQ(recv(s->fd, buf, 1, MSG_PEEK), 1);
	TEST_ASSERT_EQ(kvmi_bytes_to_read(s), BATCH * size);
	assert_versions(s, 0, BATCH);
	assert_alive(s);
}

KVMI_TEST(kvmi_message, batch_with_more_than_a_message)
{
	struct kvmi_session *s = &self->s;
	struct kvmi_batch batch = { };

	add_versions(&batch, LONG_BATCH);
	kvmi_send(s, batch.data, batch.size);
	assert_versions(s, 0, LONG_BATCH);
	assert_alive(s);
}

KVMI_TEST(kvmi_message, batch_with_long_replies)
{
	struct kvmi_vm_read_physical req = { .size = BATCH_READ };
	static u8 data[BATCH_READ];
	struct kvmi_session *s = &self->s;
	struct kvmi_batch batch = { };
	u32 i;

	for (i = 0; i < BATCH; i++) {
		if (i % 3)
			kvmi_batch_add(&batch, KVMI_GET_VERSION, i, NULL, 0);
		else
			kvmi_batch_add(&batch, KVMI_VM_READ_PHYSICAL, i, &req,
				       sizeof(req));
	}
	kvmi_send(s, batch.data, batch.size);
	for (i = 0; i < BATCH; i++) {
		if (i % 3)
			assert_versions(s, i, 1);
		else
			TEST_ASSERT_KVMI(kvmi_recv_reply(s, KVMI_VM_READ_PHYSICAL, i,
							 data, sizeof(data)), 0);
	}
	assert_alive(s);
}

/* The tool does not read until the socket is full. */
KVMI_TEST(kvmi_message, batches_without_reading)
{
	struct kvmi_session *s = &self->s;
	struct kvmi_batch batch = { };
	u32 i, sent = 0;
	int tries;

	for (i = 0; i < BATCH; i++)
		kvmi_batch_add(&batch, KVMI_GET_VERSION, 0, NULL, 0);
	/* Wait until the receiver waits, too. */
	for (tries = 0; tries < 100; tries++) {
		if (send(s->fd, batch.data, batch.size, MSG_DONTWAIT) < 0) {
			TEST_ASSERT_EQ(errno, EAGAIN);
			usleep(1000);
			continue;
		}
		sent += BATCH;
		tries = 0;
	}
	for (i = 0; i < sent; i++)
		assert_versions(s, 0, 1);
	assert_alive(s);
}

/* All that precedes what ends the session has its reply. */
KVMI_TEST(kvmi_message, batch_that_ends_the_session)
{
	struct kvmi_session *s = &self->s;
	struct kvmi_batch batch = { };

	add_versions(&batch, BATCH);
	/* It lacks the data. */
	kvmi_batch_add(&batch, KVMI_VM_WRITE_PHYSICAL, BATCH,
		       &(struct kvmi_vm_write_physical) { .size = 8 },
		       sizeof(struct kvmi_vm_write_physical));
	kvmi_batch_add(&batch, KVMI_GET_VERSION, 0, NULL, 0);
	kvmi_send(s, batch.data, batch.size);
	assert_versions(s, 0, BATCH);
	kvmi_expect_closed(s);
}

/* So has what precedes a message that is too long. */
KVMI_TEST(kvmi_message, batch_before_oversize)
{
	struct kvmi_msg_hdr hdr = { .size = KVMI_MAX_MSG_SIZE + 1 };
	struct kvmi_session *s = &self->s;
	struct kvmi_batch batch = { };

	add_versions(&batch, BATCH);
	memcpy(batch.data + batch.size, &hdr, sizeof(hdr));
	kvmi_send(s, batch.data, batch.size + sizeof(hdr));
	assert_versions(s, 0, BATCH);
	kvmi_expect_closed(s);
}

/* Only replies to what was sent as a whole wait for each other. */
KVMI_TEST(kvmi_message, batch_and_a_part)
{
	struct kvmi_session *s = &self->s;
	struct kvmi_batch batch = { };

	add_versions(&batch, BATCH + 1);
	kvmi_send(s, batch.data, batch.size - 1);
	assert_versions(s, 0, BATCH);
	TEST_ASSERT_EQ(kvmi_bytes_to_read(s), 0);
	kvmi_send(s, batch.data + batch.size - 1, 1);
	assert_versions(s, BATCH, 1);
}

/* Commands to a vCPU and replies to events may be among them. */
KVMI_TEST(kvmi_message, batch_of_all_kinds)
{
	struct {
		struct kvmi_vcpu_hdr vcpu;
		struct kvmi_vcpu_event_reply reply;
	} allow = {
		.reply.action = KVMI_EVENT_ACTION_ALLOW,
		.reply.event = KVMI_VCPU_EVENT_PAUSE,
	};
	struct kvmi_vcpu_hdr vcpu = { }, no_vcpu = { .vcpu = 0xffff };
	struct kvmi_session *s = &self->s;
	struct kvmi_event pause;
	struct kvmi_batch batch = { };
	unsigned int seen = 0;
	struct kvmi_msg msg;
	struct ucall uc;
	int i;

	kvmi_park(&self->r, s, self->vcpu, &pause);
	/* The receiver's, and so are all that follow. */
	kvmi_batch_add(&batch, KVMI_VM_CONTROL_CLEANUP, 0, NULL, 0);
	kvmi_batch_add(&batch, KVMI_VCPU_GET_INFO, 1, &vcpu, sizeof(vcpu));
	kvmi_batch_add(&batch, KVMI_GET_VERSION, 2, NULL, 0);
	kvmi_batch_add(&batch, KVMI_VCPU_GET_INFO, 3, &no_vcpu, sizeof(no_vcpu));
	kvmi_batch_add(&batch, KVMI_VCPU_EVENT, pause.hdr.seq, &allow, sizeof(allow));
	kvmi_batch_add(&batch, KVMI_GET_VERSION, 4, NULL, 0);
	kvmi_send(s, batch.data, batch.size);
	for (i = 0; i < 5; i++) {
		kvmi_recv(s, &msg);
		TEST_ASSERT(msg.hdr.seq < 5 && !(seen & BIT(msg.hdr.seq)),
			    "A reply with seq %u", msg.hdr.seq);
		/* Those to VM commands, and to what is refused, are in order. */
		TEST_ASSERT(msg.hdr.seq == 1 || !((seen & ~BIT(1)) >> msg.hdr.seq),
			    "Reply %u is late", msg.hdr.seq);
		seen |= BIT(msg.hdr.seq);
	}
	kvmi_run_wait_sync(&self->r, &uc);
}

/* As many as a vCPU has in its queue */
#define VCPU_BATCH	32

static void add_vcpu_commands(struct kvmi_batch *batch, u16 id)
{
	struct kvmi_vcpu_hdr vcpu = { };
	u32 i;

	for (i = 0; i < VCPU_BATCH; i++)
		kvmi_batch_add(batch, id, i, &vcpu, sizeof(vcpu));
}

static void assert_vcpu_replies(struct kvmi_session *s, u16 id, u32 count)
{
	struct kvmi_error_code *ec;
	struct kvmi_msg msg;
	u32 i;

	for (i = 0; i < count; i++) {
		kvmi_recv(s, &msg);
		TEST_ASSERT(msg.hdr.id == id && msg.hdr.seq == i,
			    "Message %u with seq %u in place of reply %u", msg.hdr.id,
			    msg.hdr.seq, i);
		ec = (void *)msg.data;
		TEST_ASSERT_KVMI(ec->err, 0);
	}
}

/* A vCPU in an event runs what was sent together, and replies to all at once. */
KVMI_TEST(kvmi_message, batch_for_vcpu)
{
	size_t size = sizeof(struct kvmi_msg_hdr) + sizeof(struct kvmi_error_code) +
		      sizeof(struct kvmi_vcpu_get_info_reply);
	struct kvmi_session *s = &self->s;
	struct kvmi_batch batch = { };
	struct kvmi_event pause;
	bool together = false;
	struct ucall uc;
	int tries;
	u8 buf;

	kvmi_park(&self->r, s, self->vcpu, &pause);
	add_vcpu_commands(&batch, KVMI_VCPU_GET_INFO);
	/* Until the vCPU waits it may get one after the other. */
	for (tries = 0; tries < 20 && !together; tries++) {
		kvmi_send(s, batch.data, batch.size);
		TEST_ASSERT_EQ(recv(s->fd, &buf, 1, MSG_PEEK), 1);
		together = kvmi_bytes_to_read(s) == VCPU_BATCH * size;
		assert_vcpu_replies(s, KVMI_VCPU_GET_INFO, VCPU_BATCH);
	}
	TEST_ASSERT(together, "Each time the replies have come one by one");
	kvmi_unpark(s, &pause);
	kvmi_run_wait_sync(&self->r, &uc);
}

/* Two such replies fill the buffer. */
KVMI_TEST(kvmi_message, batch_for_vcpu_with_long_replies)
{
	struct kvmi_session *s = &self->s;
	struct kvmi_batch batch = { };
	struct kvmi_event pause;
	struct ucall uc;

	kvmi_park(&self->r, s, self->vcpu, &pause);
	add_vcpu_commands(&batch, KVMI_VCPU_GET_XSAVE);
	kvmi_send(s, batch.data, batch.size);
	assert_vcpu_replies(s, KVMI_VCPU_GET_XSAVE, VCPU_BATCH);
	kvmi_unpark(s, &pause);
	kvmi_run_wait_sync(&self->r, &uc);
}

/* The reply to the event follows: all that precedes it has its reply first. */
KVMI_TEST(kvmi_message, batch_for_vcpu_that_goes_on)
{
	struct {
		struct kvmi_vcpu_hdr vcpu;
		struct kvmi_vcpu_event_reply reply;
	} allow = {
		.reply.action = KVMI_EVENT_ACTION_ALLOW,
		.reply.event = KVMI_VCPU_EVENT_PAUSE,
	};
	struct kvmi_session *s = &self->s;
	struct kvmi_batch batch = { };
	struct kvmi_event pause;
	struct ucall uc;

	kvmi_park(&self->r, s, self->vcpu, &pause);
	add_vcpu_commands(&batch, KVMI_VCPU_GET_INFO);
	kvmi_batch_add(&batch, KVMI_VCPU_EVENT, pause.hdr.seq, &allow, sizeof(allow));
	kvmi_send(s, batch.data, batch.size);
	assert_vcpu_replies(s, KVMI_VCPU_GET_INFO, VCPU_BATCH);
	kvmi_run_wait_sync(&self->r, &uc);
}

/* A tool that is gone gets no reply, and the next one not that of another. */
KVMI_TEST(kvmi_message, batch_for_vcpu_of_lost_tool)
{
	struct kvmi_session *s = &self->s;
	struct kvmi_batch batch = { };
	struct kvmi_event pause;
	struct ucall uc;

	kvmi_park(&self->r, s, self->vcpu, &pause);
	add_vcpu_commands(&batch, KVMI_VCPU_GET_INFO);
	kvmi_send(s, batch.data, batch.size);
	kvmi_close(s);
	kvmi_run_wait_sync(&self->r, &uc);
	kvmi_attach_when_lost(s, self->vm);
	assert_alive(s);
	TEST_ASSERT_EQ(kvmi_bytes_to_read(s), 0);
}

/*
 * While a vCPU waits for a reply, its thread runs such commands; the receiver sends
 * what the socket has no room for.  Each reply comes once.
 */
KVMI_TEST(kvmi_message, many_commands_in_event)
{
	struct kvmi_session *s = &self->s;
	struct kvmi_event pause;
	struct kvmi_msg msg;
	u32 first = 0, i;
	struct ucall uc;

	kvmi_park(&self->r, s, self->vcpu, &pause);
	for (i = 0; i < MANY_COMMANDS; i++) {
		u32 seq = kvmi_send_cmd(s, i % 16 ? KVMI_GET_VERSION :
						    KVMI_VM_CONTROL_CLEANUP, NULL, 0);

		if (!i)
			first = seq;
	}
	for (i = 0; i < MANY_COMMANDS; i++) {
		kvmi_recv(s, &msg);
		TEST_ASSERT(msg.hdr.id == (i % 16 ? KVMI_GET_VERSION :
						    KVMI_VM_CONTROL_CLEANUP) &&
			    msg.hdr.seq == first + i,
			    "Message %u with seq %u in place of reply %u", msg.hdr.id,
			    msg.hdr.seq, i);
	}
	kvmi_unpark(s, &pause);
	kvmi_run_wait_sync(&self->r, &uc);
}

/* A command may come in as many pieces as it has bytes. */
KVMI_TEST(kvmi_message, command_byte_by_byte)
{
	struct {
		struct kvmi_msg_hdr hdr;
		struct kvmi_vm_check_event check;
	} msg = {
		.hdr = {
			.id = KVMI_VM_CHECK_EVENT,
			.size = sizeof(msg.check),
			.seq = 1234,
		},
		.check.id = 0xffff,
	};
	int i;

	for (i = 0; i < sizeof(msg); i++)
		kvmi_send(&self->s, (u8 *)&msg + i, 1);
	TEST_ASSERT_KVMI(kvmi_recv_reply(&self->s, KVMI_VM_CHECK_EVENT, 1234,
					 NULL, 0), -KVM_ENOENT);
}

/* An unknown command is told so before anything else is looked at. */
KVMI_TEST(kvmi_message, unknown_command)
{
	struct kvmi_session *s = &self->s;
	u64 junk[4];
	int allow, i;

	memset(junk, 0xff, sizeof(junk));
	for (allow = 1; allow >= 0; allow--) {
		TEST_ASSERT_EQ(__kvmi_command(self->vm, allow, -1), 0);
		for (i = 0; i < ARRAY_SIZE(unknown_commands); i++) {
			u16 id = unknown_commands[i];

			TEST_ASSERT_KVMI(kvmi_cmd(s, id, NULL, 0, NULL, 0),
					 -KVM_ENOSYS);
			TEST_ASSERT_KVMI(kvmi_cmd(s, id, junk, sizeof(junk),
						  NULL, 0), -KVM_ENOSYS);
		}
	}
	assert_alive(s);
}

/* Permission comes before the padding, the vCPU and the command's own rules. */
KVMI_TEST(kvmi_message, disallowed_command)
{
	struct kvmi_session *s = &self->s;
	u64 junk[4];
	int i;

	memset(junk, 0xff, sizeof(junk));
	for (i = 0; i < ARRAY_SIZE(known_commands); i++) {
		u16 id = known_commands[i];

		if (is_always_allowed(id))
			continue;
		TEST_ASSERT_EQ(__kvmi_command(self->vm, 0, id), 0);
		TEST_ASSERT_KVMI(kvmi_cmd(s, id, NULL, 0, NULL, 0), -KVM_EPERM);
		TEST_ASSERT_KVMI(kvmi_cmd(s, id, junk, sizeof(junk), NULL, 0),
				 -KVM_EPERM);
		TEST_ASSERT_EQ(__kvmi_command(self->vm, 1, id), 0);
	}

	/* Nothing allowed: what is always allowed remains so. */
	TEST_ASSERT_EQ(__kvmi_command(self->vm, 0, -1), 0);
	for (i = 0; i < ARRAY_SIZE(known_commands); i++)
		TEST_ASSERT_KVMI(kvmi_check_command(s, known_commands[i]),
				 is_always_allowed(known_commands[i]) ?
				 0 : -KVM_EPERM);
	assert_alive(s);
}

/* None of these needs the vCPU to run: it does not. */
KVMI_TEST(kvmi_message, vcpu_header)
{
	static const struct kvmi_vcpu_hdr bad[] = {
		{ .padding1 = 1 },
		{ .padding2 = 1 },
		{ .vcpu = 1 },
		{ .vcpu = 0xffff },
		{ .vcpu = 1, .padding1 = 0x8000 },
	};
	struct kvmi_session *s = &self->s;
	int i, j;
	u32 seq;

	for (i = 0; i < ARRAY_SIZE(known_commands); i++) {
		u16 id = known_commands[i];

		if (!(id & 1))
			continue;
		for (j = 0; j < ARRAY_SIZE(bad); j++) {
			seq = kvmi_send_cmd(s, id, &bad[j], sizeof(bad[j]));
			TEST_ASSERT_KVMI(kvmi_recv_reply(s, id, seq, NULL, 0),
					 -KVM_EINVAL);
		}
	}
}

/* A vCPU that the guest has not started yet has no thread to ask. */
KVMI_TEST(kvmi_message, uninitialized_vcpu)
{
	struct kvm_mp_state mp = { .mp_state = KVM_MP_STATE_UNINITIALIZED };
	struct kvmi_session *s = &self->s;
	struct kvmi_vcpu_hdr bad = { .vcpu = 1, .padding1 = 1 };
	struct kvm_vcpu *ap;
	u32 seq;
	int i;

	ap = vm_vcpu_add(self->vm, 1, guest_code);
	vcpu_mp_state_set(ap, &mp);

	for (i = 0; i < ARRAY_SIZE(known_commands); i++) {
		u16 id = known_commands[i];

		if (!(id & 1))
			continue;
		TEST_ASSERT_KVMI(kvmi_vcpu_cmd(s, 1, id, NULL, 0, NULL, 0),
				 -KVM_EAGAIN);
		seq = kvmi_send_cmd(s, id, &bad, sizeof(bad));
		TEST_ASSERT_KVMI(kvmi_recv_reply(s, id, seq, NULL, 0),
				 -KVM_EINVAL);
	}

	vcpu_mp_state_get(ap, &mp);
	TEST_ASSERT_EQ(mp.mp_state, KVM_MP_STATE_UNINITIALIZED);
}

/*
 * Commands wait for a vCPU that is not in KVM_RUN, and are answered in order.
 * How many may wait has a limit.
 */
KVMI_TEST(kvmi_message, commands_wait_for_the_vcpu)
{
	struct kvmi_vcpu_get_info_reply info;
	struct kvmi_session *s = &self->s;
	u32 first, seq, refused;
	struct ucall uc;
	int nr;

	first = kvmi_send_vcpu_cmd(s, 0, KVMI_VCPU_GET_INFO, NULL, 0);
	for (nr = 1; nr < 10000; nr++) {
		struct pollfd pfd = { .fd = s->fd, .events = POLLIN };
		struct kvmi_get_version_reply rpl;
		struct kvmi_msg msg;
		u32 fence;

		seq = kvmi_send_vcpu_cmd(s, 0, KVMI_VCPU_GET_INFO, NULL, 0);
		fence = kvmi_send_cmd(s, KVMI_GET_VERSION, NULL, 0);
		kvmi_recv(s, &msg);
		if (msg.hdr.id == KVMI_GET_VERSION) {
			TEST_ASSERT_EQ(msg.hdr.seq, fence);
			continue;
		}

		/* The surplus is refused at once. */
		refused = *(s32 *)msg.data;
		TEST_ASSERT_EQ(msg.hdr.id, KVMI_VCPU_GET_INFO);
		TEST_ASSERT_EQ(msg.hdr.seq, seq);
		TEST_ASSERT_EQ(refused, -KVM_EBUSY);
		TEST_ASSERT_KVMI(kvmi_recv_reply(s, KVMI_GET_VERSION, fence,
						 &rpl, sizeof(rpl)), 0);
		TEST_ASSERT_EQ(poll(&pfd, 1, 0), 0);
		break;
	}
	TEST_ASSERT(nr < 10000, "No limit after %d commands", nr);

	kvmi_run_start(&self->r, s, self->vcpu);
	for (seq = first; nr; nr--) {
		TEST_ASSERT_KVMI(kvmi_recv_reply(s, KVMI_VCPU_GET_INFO, seq,
						 &info, sizeof(info)), 0);
		/* There was a GET_VERSION between two of them. */
		seq += seq == first ? 1 : 2;
	}
	kvmi_run_wait_sync(&self->r, &uc);
}

/* What follows kills the session: the fixture's UNHOOK must do nonetheless. */

KVMI_TEST(kvmi_message, oversize_closes)
{
	struct kvmi_msg_hdr hdr = {
		.id = KVMI_GET_VERSION,
		.size = KVMI_MAX_MSG_SIZE + 1,
	};

	/* The kernel does not wait for what it would not take. */
	kvmi_send(&self->s, &hdr, sizeof(hdr));
	kvmi_expect_closed(&self->s);
}

KVMI_TEST(kvmi_message, oversize_unknown_command_closes)
{
	struct kvmi_msg_hdr hdr = { .id = 0xffff, .size = 0xffff };

	kvmi_send(&self->s, &hdr, sizeof(hdr));
	kvmi_expect_closed(&self->s);
}

KVMI_TEST(kvmi_message, truncated_header_then_closed)
{
	struct kvmi_msg_hdr hdr = { .id = KVMI_GET_VERSION };
	struct ucall uc;

	kvmi_send(&self->s, &hdr, sizeof(hdr) - 1);
	shutdown(self->s.fd, SHUT_WR);
	kvmi_expect_closed(&self->s);
	kvmi_run_to_sync(&self->s, self->vcpu, &uc);
}

KVMI_TEST(kvmi_message, truncated_payload_then_closed)
{
	struct kvmi_msg_hdr hdr = { .id = KVMI_GET_VERSION, .size = 100 };
	struct ucall uc;

	kvmi_send(&self->s, &hdr, sizeof(hdr));
	kvmi_send(&self->s, &hdr, sizeof(hdr));
	shutdown(self->s.fd, SHUT_WR);
	kvmi_expect_closed(&self->s);
	kvmi_run_to_sync(&self->s, self->vcpu, &uc);
}

KVMI_TEST(kvmi_message, reply_without_event_closes)
{
	struct kvmi_event ev = { .ev.event = KVMI_VCPU_EVENT_PAUSE };
	struct ucall uc;

	kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	kvmi_expect_closed(&self->s);
	kvmi_run_to_sync(&self->s, self->vcpu, &uc);
}

KVMI_TEST(kvmi_message, second_reply_closes)
{
	struct kvmi_event ev;
	struct ucall uc;

	kvmi_park(&self->r, &self->s, self->vcpu, &ev);
	kvmi_unpark(&self->s, &ev);
	kvmi_run_wait_sync(&self->r, &uc);
	kvmi_unpark(&self->s, &ev);
	kvmi_expect_closed(&self->s);
}

/* Replies that are wrong in one way each: what the vCPU waits for is over. */
FIXTURE(kvmi_bad_reply) {
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpu;
	struct kvmi_session s;
	struct kvmi_runner r;
};

struct event_reply {
	struct kvmi_msg_hdr hdr;
	struct kvmi_vcpu_hdr vcpu;
	struct kvmi_vcpu_event_reply rpl;
	u64 surplus[2];
};

FIXTURE_VARIANT(kvmi_bad_reply) {
	s32 seq;
	s32 size;
	bool no_event;
	struct event_reply set;
};

FIXTURE_VARIANT_ADD(kvmi_bad_reply, sequence_before) { .seq = -1 };
FIXTURE_VARIANT_ADD(kvmi_bad_reply, sequence_after) { .seq = 1 };
FIXTURE_VARIANT_ADD(kvmi_bad_reply, short_by_one) { .size = -1 };
FIXTURE_VARIANT_ADD(kvmi_bad_reply, without_action) { .size = -8 };
FIXTURE_VARIANT_ADD(kvmi_bad_reply, empty) { .size = -16 };
FIXTURE_VARIANT_ADD(kvmi_bad_reply, long_by_one) { .size = 1 };
FIXTURE_VARIANT_ADD(kvmi_bad_reply, long_by_16) { .size = 16 };
FIXTURE_VARIANT_ADD(kvmi_bad_reply, view) { .set.rpl.view = 0x8000 };
FIXTURE_VARIANT_ADD(kvmi_bad_reply, flags) { .set.rpl.flags = 0x8000 };
FIXTURE_VARIANT_ADD(kvmi_bad_reply, another_event) {
	.set.rpl.event = KVMI_VCPU_EVENT_MSR,
};

FIXTURE_VARIANT_ADD(kvmi_bad_reply, no_event) { .no_event = true };
FIXTURE_VARIANT_ADD(kvmi_bad_reply, action_retry) {
	.set.rpl.action = KVMI_EVENT_ACTION_RETRY,
};

FIXTURE_VARIANT_ADD(kvmi_bad_reply, action_skip) {
	.set.rpl.action = KVMI_EVENT_ACTION_SKIP,
};

FIXTURE_VARIANT_ADD(kvmi_bad_reply, action_4) { .set.rpl.action = 4 };
FIXTURE_VARIANT_ADD(kvmi_bad_reply, action_255) { .set.rpl.action = 255 };

FIXTURE_SETUP(kvmi_bad_reply)
{
	self->vm = vm_create_with_one_vcpu(&self->vcpu, guest_code);
	kvmi_hook(&self->s, self->vm);
}

FIXTURE_TEARDOWN(kvmi_bad_reply)
{
	kvmi_unhook(&self->s);
	kvm_vm_free(self->vm);
}

KVMI_TEST(kvmi_bad_reply, closes)
{
	struct event_reply msg = variant->set;
	struct kvmi_event ev;
	struct ucall uc;

	kvmi_park(&self->r, &self->s, self->vcpu, &ev);

	msg.hdr.id = KVMI_VCPU_EVENT;
	msg.hdr.seq = ev.hdr.seq + variant->seq;
	msg.hdr.size = sizeof(msg.vcpu) + sizeof(msg.rpl) + variant->size;
	if (!msg.rpl.event && !variant->no_event)
		msg.rpl.event = KVMI_VCPU_EVENT_PAUSE;
	kvmi_send(&self->s, &msg, sizeof(msg.hdr) + msg.hdr.size);

	kvmi_expect_closed(&self->s);
	kvmi_run_wait_sync(&self->r, &uc);

	/* Closed is not unhooked. */
	TEST_ASSERT_ERRNO(__kvmi_hook_dead(self->vm), EEXIST);
}

/* It is for no vCPU: that is told, and the event stays open. */
KVMI_TEST(kvmi_message, reply_with_a_bad_vcpu_header)
{
	static const struct kvmi_vcpu_hdr bad[] = {
		{ .padding1 = 1 },
		{ .padding2 = 0x80000000 },
		{ .vcpu = 1 },
		{ .vcpu = 0xffff },
	};
	struct event_reply reply = {
		.hdr.id = KVMI_VCPU_EVENT,
		.hdr.size = sizeof(reply.vcpu) + sizeof(reply.rpl),
		.rpl.event = KVMI_VCPU_EVENT_PAUSE,
	};
	struct kvmi_session *s = &self->s;
	struct kvmi_error_code ec;
	struct kvmi_event ev;
	struct kvmi_msg msg;
	struct ucall uc;
	int i;

	kvmi_park(&self->r, s, self->vcpu, &ev);
	reply.hdr.seq = ev.hdr.seq;
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		reply.vcpu = bad[i];
		kvmi_send(s, &reply, sizeof(reply.hdr) + reply.hdr.size);
		kvmi_recv(s, &msg);
		TEST_ASSERT_EQ(msg.hdr.id, KVMI_VCPU_EVENT);
		TEST_ASSERT_EQ(msg.hdr.seq, ev.hdr.seq);
		TEST_ASSERT_EQ(msg.hdr.size, sizeof(ec));
		memcpy(&ec, msg.data, sizeof(ec));
		TEST_ASSERT_EQ(ec.err, -KVM_EINVAL);
		TEST_ASSERT_EQ(ec.padding, 0);
	}
	assert_alive(s);
	kvmi_unpark(s, &ev);
	kvmi_run_wait_sync(&self->r, &uc);
}

/* Replies need no permission. */
KVMI_TEST(kvmi_message, reply_with_every_command_disallowed)
{
	struct kvmi_event ev;
	struct ucall uc;

	kvmi_park(&self->r, &self->s, self->vcpu, &ev);
	TEST_ASSERT_EQ(__kvmi_command(self->vm, 0, -1), 0);
	kvmi_unpark(&self->s, &ev);
	kvmi_run_wait_sync(&self->r, &uc);
	assert_alive(&self->s);
}

int main(int argc, char **argv)
{
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_INTROSPECTION));

	return test_harness_run(argc, argv);
}
