/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __KVMI_PAGE_ACCESS_H
#define __KVMI_PAGE_ACCESS_H

struct kvmi_vm_request;

int kvmi_vm_set_page_access(struct kvmi_vm_request *req);
int kvmi_vm_get_page_access(struct kvmi_vm_request *req);
int kvmi_vm_list_page_access(struct kvmi_vm_request *req);

#endif /* __KVMI_PAGE_ACCESS_H */
