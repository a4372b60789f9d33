// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Commands for the VM.
 */
#include <errno.h>
#include <string.h>
#include "internal.h"

#define PAGE_SIZE 4096

_Static_assert(sizeof(struct kvmi_get_version_reply) == 16, "wire");
_Static_assert(sizeof(struct kvmi_vm_get_info_reply) == 16, "wire");
_Static_assert(sizeof(struct kvmi_vm_read_physical) == 16, "wire");
_Static_assert(sizeof(struct kvmi_vm_pause_vcpu) == 8, "wire");

int kvmi_get_version(struct kvmi_conn *conn, struct kvmi_get_version_reply *version)
{
	struct request req = { .id = KVMI_GET_VERSION };

	return kvmi_command(conn, &req, version, sizeof(*version), NULL);
}

int kvmi_check_command(struct kvmi_conn *conn, uint16_t id)
{
	struct kvmi_vm_check_command msg = { .id = id };
	struct request req = { KVMI_VM_CHECK_COMMAND, { &msg }, { sizeof(msg) } };

	return kvmi_command(conn, &req, NULL, 0, NULL);
}

int kvmi_check_event(struct kvmi_conn *conn, uint16_t id)
{
	struct kvmi_vm_check_event msg = { .id = id };
	struct request req = { KVMI_VM_CHECK_EVENT, { &msg }, { sizeof(msg) } };

	return kvmi_command(conn, &req, NULL, 0, NULL);
}

int kvmi_get_info(struct kvmi_conn *conn, struct kvmi_vm_get_info_reply *info)
{
	struct request req = { .id = KVMI_VM_GET_INFO };

	return kvmi_command(conn, &req, info, sizeof(*info), NULL);
}

int kvmi_control_vm_events(struct kvmi_conn *conn, uint16_t event, bool enable)
{
	struct kvmi_vm_control_events msg = { .event_id = event, .enable = enable };
	struct request req = { KVMI_VM_CONTROL_EVENTS, { &msg }, { sizeof(msg) } };

	return kvmi_wish_update(conn, WISH_VM_EVENT, 0, event, enable,
				kvmi_command(conn, &req, NULL, 0, NULL));
}

static size_t to_page_end(uint64_t gpa, size_t size)
{
	size_t left = PAGE_SIZE - gpa % PAGE_SIZE;

	return size < left ? size : left;
}

int kvmi_read_physical(struct kvmi_conn *conn, uint64_t gpa, void *buf, size_t size)
{
	struct kvmi_vm_read_physical msg = { 0 };
	struct request req = { KVMI_VM_READ_PHYSICAL, { &msg }, { sizeof(msg) } };
	int err;

	for (; size; size -= msg.size, gpa += msg.size, buf = (char *)buf + msg.size) {
		msg.gpa = gpa;
		msg.size = to_page_end(gpa, size);
		err = kvmi_command(conn, &req, buf, msg.size, NULL);
		if (err)
			return err;
	}
	return 0;
}

int kvmi_write_physical(struct kvmi_conn *conn, uint64_t gpa, const void *buf, size_t size)
{
	struct kvmi_vm_write_physical msg = { 0 };
	struct request req = { KVMI_VM_WRITE_PHYSICAL, { &msg }, { sizeof(msg) } };
	int err;

	for (; size; size -= msg.size, gpa += msg.size, buf = (const char *)buf + msg.size) {
		msg.gpa = gpa;
		msg.size = to_page_end(gpa, size);
		req.part[1] = buf;
		req.size[1] = msg.size;
		err = kvmi_command(conn, &req, NULL, 0, NULL);
		if (err)
			return err;
	}
	return 0;
}

int kvmi_read_physical_cookie(struct kvmi_conn *conn, uint16_t as_id, uint64_t gpa, void *buf,
			      size_t size, uint32_t *cookie)
{
	struct kvmi_vm_read_physical msg = { .flags = KVMI_MEM_COOKIE, .as_id = as_id };
	struct request req = { KVMI_VM_READ_PHYSICAL, { &msg }, { sizeof(msg) } };
	struct {
		struct kvmi_mem_cookie cookie;
		unsigned char data[KVMI_MAX_COOKIE_READ];
	} reply;
	bool first = true;
	size_t got;
	int err;

	for (; size; size -= msg.size, gpa += msg.size, buf = (char *)buf + msg.size) {
		msg.gpa = gpa;
		msg.size = size < sizeof(reply.data) ? size : sizeof(reply.data);
		err = kvmi_command(conn, &req, &reply, sizeof(reply), &got);
		if (err)
			return err;
		if (got != sizeof(reply.cookie) + msg.size)
			return kvmi_fail(conn, -EPROTO);
		if (!first && reply.cookie.cookie != *cookie)
			return -EAGAIN;
		first = false;
		*cookie = reply.cookie.cookie;
		memcpy(buf, reply.data, msg.size);
	}
	return 0;
}

int kvmi_write_physical_cookie(struct kvmi_conn *conn, uint16_t as_id, uint64_t gpa,
			       const void *buf, size_t size, uint32_t cookie)
{
	struct kvmi_vm_write_physical msg = { .flags = KVMI_MEM_COOKIE, .as_id = as_id };
	struct kvmi_mem_cookie ck = { .cookie = cookie };
	struct request req = {
		KVMI_VM_WRITE_PHYSICAL, { &msg, &ck }, { sizeof(msg), sizeof(ck) }
	};
	int err;

	for (; size; size -= msg.size, gpa += msg.size, buf = (const char *)buf + msg.size) {
		msg.gpa = gpa;
		msg.size = size < KVMI_MAX_COOKIE_WRITE ? size : KVMI_MAX_COOKIE_WRITE;
		req.part[2] = buf;
		req.size[2] = msg.size;
		err = kvmi_command(conn, &req, NULL, 0, NULL);
		if (err)
			return err;
	}
	return 0;
}

int kvmi_pause_vcpu(struct kvmi_conn *conn, uint16_t vcpu, bool wait)
{
	struct kvmi_vm_pause_vcpu msg = { .vcpu = vcpu, .wait = wait };
	struct request req = { KVMI_VM_PAUSE_VCPU, { &msg }, { sizeof(msg) } };

	return kvmi_command(conn, &req, NULL, 0, NULL);
}
