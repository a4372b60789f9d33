/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __KVMI_COMMAND_H
#define __KVMI_COMMAND_H

#include "message.h"
#include "vcpu.h"

struct kvmi_gfn_range;
struct kvmi_lost_gfns;

/*
 * Returned by a handler that cannot trust the connection any more, e.g. as the
 * message is shorter than it says.
 */
#define KVMI_CLOSE 1

/**
 * struct kvmi_vm_request - a VM-wide command for its handler
 * @session: the session
 * @data: the request; at least as long as the table of commands says
 * @size: bytes that were received
 * @reply: where to put the data of the reply, KVMI_MAX_REPLY_DATA bytes
 * @reply_size: bytes put there; 0 at first
 *
 * Handlers return 0, a negative KVM_E*, or KVMI_CLOSE.
 */
struct kvmi_vm_request {
	struct kvm_introspection *session;
	const void *data;
	size_t size;
	void *reply;
	size_t reply_size;
};

/**
 * struct kvmi_vcpu_request - a command to a vCPU for its handler
 * @vcpu: the vCPU, loaded
 * @vi: its introspection
 * @session: as in struct kvmi_vm_request
 * @in_event: the command came while an event of the vCPU was open
 * @data: as in struct kvmi_vm_request, without struct kvmi_vcpu_hdr
 * @size: as in struct kvmi_vm_request, without struct kvmi_vcpu_hdr
 * @reply: as in struct kvmi_vm_request
 * @reply_size: as in struct kvmi_vm_request
 *
 * Handlers run on the vCPU's thread and return 0 or a negative KVM_E*.
 */
struct kvmi_vcpu_request {
	struct kvm_vcpu *vcpu;
	struct kvm_vcpu_introspection *vi;
	struct kvm_introspection *session;
	bool in_event;
	const void *data;
	size_t size;
	void *reply;
	size_t reply_size;
};

bool kvmi_command_known(u16 id);
bool kvmi_command_always_allowed(u16 id);
int kvmi_command_send_reply(struct kvm_introspection *session);
int kvmi_command_receive(struct kvm_introspection *session);
void kvmi_command_run(struct kvm_vcpu *vcpu, struct kvm_introspection *session,
		      const struct kvmi_command *cmd);

/* vm.c */
int kvmi_vm_get_features(struct kvmi_vm_request *req);
int kvmi_vm_control_cleanup(struct kvmi_vm_request *req);
int kvmi_vm_pause_vcpu(struct kvmi_vm_request *req);
int kvmi_vm_pause_all(struct kvmi_vm_request *req);
int kvmi_vm_shutdown(struct kvmi_vm_request *req);
void kvmi_vm_finish_shutdown(struct kvm_introspection *session);

/* memslots.c */
int kvmi_vm_get_max_gfn(struct kvmi_vm_request *req);
int kvmi_vm_get_memslots(struct kvmi_vm_request *req);

/* memory.c */
int kvmi_vm_read_physical(struct kvmi_vm_request *req);
int kvmi_vm_write_physical(struct kvmi_vm_request *req);
u32 kvmi_memory_cookie(struct kvm_introspection *session, int as_id);

/* view.c */
int kvmi_vm_create_view(struct kvmi_vm_request *req);
int kvmi_vm_destroy_view(struct kvmi_vm_request *req);
int kvmi_vcpu_set_view(struct kvmi_vcpu_request *req);
int kvmi_vcpu_get_view(struct kvmi_vcpu_request *req);

/* page_access.c */
int kvmi_vm_set_page_access(struct kvmi_vm_request *req);
int kvmi_vm_get_page_access(struct kvmi_vm_request *req);
int kvmi_vm_change_gfn(struct kvmi_vm_request *req);
int kvmi_vm_list_page_access(struct kvmi_vm_request *req);
int kvmi_vm_list_changed_gfns(struct kvmi_vm_request *req);
int kvmi_vm_list_views(struct kvmi_vm_request *req);
int kvmi_vm_get_vcpus(struct kvmi_vm_request *req);

/* event.c */
int kvmi_vcpu_control_events(struct kvmi_vcpu_request *req);
int kvmi_vcpu_control_event_set(struct kvmi_vcpu_request *req);

/* Of the architecture, see arch/ARCH/kvm/introspection/. */
void kvmi_arch_features(struct kvmi_features *features);
bool kvmi_arch_vm_supported(struct kvm *kvm);
bool kvmi_arch_vcpu_supported(struct kvm_vcpu *vcpu);
bool kvmi_arch_vcpu_in_nested_operation(struct kvm_vcpu *vcpu);
bool kvmi_arch_vcpu_ready(struct kvm_vcpu *vcpu);
int kvmi_arch_vcpu_address_space(struct kvm_vcpu *vcpu);
void kvmi_arch_vcpu_get_context(struct kvm_vcpu *vcpu,
				struct kvmi_context *context);
void kvmi_arch_vcpu_fill_event(struct kvm_vcpu *vcpu,
			       struct kvmi_vcpu_event_arch *arch);
void kvmi_arch_vcpu_set_regs(struct kvm_vcpu *vcpu, struct kvm_regs *regs);
void kvmi_arch_vcpu_shutdown(struct kvm_vcpu *vcpu);
void kvmi_arch_vcpu_stood_still(struct kvm_vcpu *vcpu);
int kvmi_arch_vcpu_send_step(struct kvm_vcpu *vcpu);
void kvmi_arch_vcpu_recheck_step(struct kvm_vcpu *vcpu);
bool kvmi_arch_event_supported(u16 id);
int kvmi_arch_vcpu_check_event(struct kvm_vcpu *vcpu, u16 id);
bool kvmi_arch_event_owed(const struct kvmi_arch_vcpu *arch, u16 id);
bool kvmi_arch_vcpu_trap_due(struct kvm_vcpu *vcpu);
void kvmi_arch_vcpu_recalc(struct kvm_vcpu *vcpu);
void kvmi_arch_vm_recalc(struct kvm *kvm);
u32 kvmi_arch_page_access(void);
u32 kvmi_arch_feature_flags(void);
bool kvmi_arch_check_access(u8 access);
bool kvmi_arch_zap_gfns(struct kvm *kvm, unsigned int view, int as_id,
			const struct kvmi_gfn_range *range, bool can_yield,
			bool flush);
bool kvmi_arch_zap_lost(struct kvm *kvm, unsigned int view, int as_id,
			const struct kvmi_lost_gfns *lost, bool flush);
void kvmi_arch_end_view(struct kvm *kvm, unsigned int view);
void kvmi_arch_end_views(struct kvm *kvm);
void kvmi_arch_free_views(struct kvm *kvm);
unsigned int kvmi_arch_vcpu_view(const struct kvmi_arch_vcpu *arch);
void kvmi_arch_vcpu_set_view(struct kvm_vcpu *vcpu, unsigned int view);
int kvmi_arch_try_cmpxchg_user(void __user *to, void *old, const void *new,
			       size_t size);
void kvmi_arch_vcpu_clear(struct kvm_vcpu *vcpu, bool forget);

int kvmi_vcpu_get_info(struct kvmi_vcpu_request *req);
int kvmi_vcpu_get_registers(struct kvmi_vcpu_request *req);
int kvmi_vcpu_set_registers(struct kvmi_vcpu_request *req);
int kvmi_vcpu_get_control(struct kvmi_vcpu_request *req);
int kvmi_vcpu_get_debugregs(struct kvmi_vcpu_request *req);
int kvmi_vcpu_set_debugregs(struct kvmi_vcpu_request *req);
int kvmi_vcpu_get_cpuid(struct kvmi_vcpu_request *req);
int kvmi_vcpu_get_xcr(struct kvmi_vcpu_request *req);
int kvmi_vcpu_get_xsave(struct kvmi_vcpu_request *req);
int kvmi_vcpu_set_xsave(struct kvmi_vcpu_request *req);
int kvmi_vcpu_get_xsave2(struct kvmi_vcpu_request *req);
int kvmi_vcpu_set_xsave2(struct kvmi_vcpu_request *req);
int kvmi_vcpu_get_mtrr_type(struct kvmi_vcpu_request *req);
int kvmi_vcpu_translate_gva(struct kvmi_vcpu_request *req);
int kvmi_vcpu_control_cr(struct kvmi_vcpu_request *req);
int kvmi_vcpu_control_msr(struct kvmi_vcpu_request *req);
int kvmi_vcpu_inject_exception(struct kvmi_vcpu_request *req);
int kvmi_vcpu_control_singlestep(struct kvmi_vcpu_request *req);

#endif /* __KVMI_COMMAND_H */
