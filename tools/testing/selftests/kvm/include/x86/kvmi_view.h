/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Helpers for tests of KVM introspection: the commands about views of guest
 * memory.  Results are 0 or -KVM_E*.
 */
#ifndef SELFTEST_KVM_KVMI_VIEW_H
#define SELFTEST_KVM_KVMI_VIEW_H

#include "kvmi_util.h"

/* As many entries as fit in a message */
#define KVMI_MAX_ENTRIES						\
	((KVMI_MAX_MSG_SIZE - sizeof(struct kvmi_vm_set_page_access)) /	\
	 sizeof(struct kvmi_page_access_entry))

struct kvmi_page_entries {
	struct kvmi_vm_set_page_access hdr;
	struct kvmi_page_access_entry entries[KVMI_MAX_ENTRIES];
};

/* What @msg says, i.e. the first hdr.count entries */
static inline int kvmi_set_page_entries(struct kvmi_session *s,
					const struct kvmi_page_entries *msg)
{
	return kvmi_cmd(s, KVMI_VM_SET_PAGE_ACCESS, msg,
			offsetof(struct kvmi_page_entries,
				 entries[msg->hdr.count]), NULL, 0);
}

static inline int kvmi_create_view(struct kvmi_session *s, u16 copy_of, u16 *view)
{
	struct kvmi_vm_create_view req = { .copy_of = copy_of };
	struct kvmi_vm_create_view_reply rpl = { };
	int err, i;

	err = kvmi_cmd(s, KVMI_VM_CREATE_VIEW, &req, sizeof(req), &rpl,
		       sizeof(rpl));
	for (i = 0; i < ARRAY_SIZE(rpl.padding); i++)
		TEST_ASSERT_EQ(rpl.padding[i], 0);
	*view = rpl.view;
	return err;
}

/* A view that must be possible */
static inline u16 kvmi_new_view(struct kvmi_session *s, u16 copy_of)
{
	u16 view;

	TEST_ASSERT_KVMI(kvmi_create_view(s, copy_of, &view), 0);
	TEST_ASSERT(view, "The new view is view 0");
	return view;
}

static inline int kvmi_destroy_view(struct kvmi_session *s, u16 view)
{
	struct kvmi_vm_destroy_view req = { .view = view };

	return kvmi_cmd(s, KVMI_VM_DESTROY_VIEW, &req, sizeof(req), NULL, 0);
}

static inline int kvmi_change_gfn(struct kvmi_session *s, u16 view, u64 gpa,
				  u64 new_gpa)
{
	struct kvmi_vm_change_gfn req = {
		.view = view,
		.gfn = gpa / 4096,
		.new_gfn = new_gpa / 4096,
	};

	return kvmi_cmd(s, KVMI_VM_CHANGE_GFN, &req, sizeof(req), NULL, 0);
}

static inline int kvmi_set_view(struct kvmi_session *s, u16 vcpu, u16 view)
{
	struct kvmi_vcpu_set_view req = { .view = view };

	return kvmi_vcpu_cmd(s, vcpu, KVMI_VCPU_SET_VIEW, &req, sizeof(req),
			     NULL, 0);
}

static inline int kvmi_get_view(struct kvmi_session *s, u16 vcpu, u16 *view)
{
	struct kvmi_vcpu_get_view_reply rpl = { };
	int err, i;

	err = kvmi_vcpu_cmd(s, vcpu, KVMI_VCPU_GET_VIEW, NULL, 0, &rpl,
			    sizeof(rpl));
	for (i = 0; i < ARRAY_SIZE(rpl.padding); i++)
		TEST_ASSERT_EQ(rpl.padding[i], 0);
	*view = rpl.view;
	return err;
}

/* In which view is the vCPU?  It must be in KVM_RUN. */
static inline u16 kvmi_view_of(struct kvmi_session *s, u16 vcpu)
{
	u16 view;

	TEST_ASSERT_KVMI(kvmi_get_view(s, vcpu, &view), 0);
	return view;
}

#endif /* SELFTEST_KVM_KVMI_VIEW_H */
