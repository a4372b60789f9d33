/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __KVMI_ARCH_H
#define __KVMI_ARCH_H

/* What arch/ARCH/kvm/introspection/ provides. */

#include <linux/compiler.h>
#include <linux/types.h>

struct kvm;
struct kvm_regs;
struct kvm_vcpu;
struct kvmi_arch_vcpu;
struct kvmi_context;
struct kvmi_features;
struct kvmi_gfn_range;
struct kvmi_lost_gfns;
struct kvmi_operands;
struct kvmi_place;
struct kvmi_rule;
struct kvmi_vcpu_event_arch;
struct kvmi_vcpu_event_trap;
struct kvmi_vcpu_request;

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
void kvmi_arch_event_get_context(struct kvm_vcpu *vcpu,
				 const struct kvmi_vcpu_event_arch *event,
				 struct kvmi_context *context);
void kvmi_arch_vcpu_set_regs(struct kvm_vcpu *vcpu, struct kvm_regs *regs);
void kvmi_arch_vcpu_shutdown(struct kvm_vcpu *vcpu);
void kvmi_arch_vcpu_stood_still(struct kvm_vcpu *vcpu);
int kvmi_arch_vcpu_send_step(struct kvm_vcpu *vcpu);
void kvmi_arch_vcpu_recheck_step(struct kvm_vcpu *vcpu);
void kvmi_arch_vcpu_policy_changed(struct kvm_vcpu *vcpu);
void kvmi_arch_vcpu_watch_answers(struct kvm_vcpu *vcpu);
bool kvmi_arch_event_supported(u16 id);
int kvmi_arch_vcpu_check_event(struct kvm_vcpu *vcpu, u16 id);
bool kvmi_arch_event_pending(const struct kvmi_arch_vcpu *arch, u16 id);
bool kvmi_arch_vcpu_trap_due(struct kvm_vcpu *vcpu);
bool kvmi_arch_same_trap(const struct kvmi_vcpu_event_trap *before,
			 const struct kvmi_vcpu_event_trap *now);
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
void kvmi_arch_wait_for_accesses(struct kvm *kvm);
void kvmi_arch_end_view(struct kvm *kvm, unsigned int view);
void kvmi_arch_end_views(struct kvm *kvm);
void kvmi_arch_free_views(struct kvm *kvm);
unsigned int kvmi_arch_vcpu_view(const struct kvmi_arch_vcpu *arch);
unsigned int kvmi_arch_vcpu_set_view(struct kvm_vcpu *vcpu, unsigned int view);
unsigned int kvmi_arch_vcpu_step_in_view(struct kvm_vcpu *vcpu, unsigned int view,
					 bool delivery);
void kvmi_arch_vcpu_step_once(struct kvm_vcpu *vcpu);
void kvmi_arch_vcpu_retry(struct kvm_vcpu *vcpu);
void kvmi_arch_vcpu_drop_exception(struct kvm_vcpu *vcpu);
void kvmi_arch_vcpu_get_place(struct kvm_vcpu *vcpu, struct kvmi_place *at);
u16 kvmi_arch_rule_conditions(u16 id);
bool kvmi_arch_check_rule(u16 id, const struct kvmi_rule *rule);
void kvmi_arch_rule_operands(struct kvm_vcpu *vcpu, u16 id, const void *data,
			     struct kvmi_operands *op);
void kvmi_arch_rules_changed(struct kvm *kvm, u16 id, u32 unasked);
int kvmi_arch_try_cmpxchg_user(void __user *to, void *old, const void *new,
			       size_t size);
void kvmi_arch_vcpu_clear(struct kvm_vcpu *vcpu, bool forget);

/* Handlers of commands */
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
#endif /* __KVMI_ARCH_H */
