/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __KVMI_VM_H
#define __KVMI_VM_H

struct kvm_introspection;
struct kvm_vcpu;
struct kvmi_vm_request;

int kvmi_get_version(struct kvmi_vm_request *req);
int kvmi_vm_check_command(struct kvmi_vm_request *req);
int kvmi_vm_check_event(struct kvmi_vm_request *req);
int kvmi_vm_get_info(struct kvmi_vm_request *req);
int kvmi_vm_control_events(struct kvmi_vm_request *req);
int kvmi_vm_get_features(struct kvmi_vm_request *req);
int kvmi_vm_get_vcpus(struct kvmi_vm_request *req);
int kvmi_vm_control_cleanup(struct kvmi_vm_request *req);
int kvmi_vm_pause_vcpu(struct kvmi_vm_request *req);
int kvmi_vm_pause_all(struct kvmi_vm_request *req);
int kvmi_vm_shutdown(struct kvmi_vm_request *req);
void kvmi_vm_wait_for_exit(struct kvm_introspection *session, struct kvm_vcpu *vcpu);
void kvmi_vm_finish_shutdown(struct kvm_introspection *session);

#endif /* __KVMI_VM_H */
