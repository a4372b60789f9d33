/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __KVMI_MEMORY_H
#define __KVMI_MEMORY_H

struct kvmi_vm_request;

int kvmi_vm_read_physical(struct kvmi_vm_request *req);
int kvmi_vm_write_physical(struct kvmi_vm_request *req);

#endif /* __KVMI_MEMORY_H */
