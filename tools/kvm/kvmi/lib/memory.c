// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Guest memory.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>
#include "internal.h"

#define PAGE_SIZE 4096

static_assert(sizeof(struct kvmi_mem_cookie) == 8, "wire");
static_assert(sizeof(struct kvmi_vm_read_physical) == 16, "wire");
static_assert(sizeof(struct kvmi_vm_write_physical) == 16, "wire");

static size_t to_page_end(uint64_t gpa, size_t size)
{
	size_t left = PAGE_SIZE - gpa % PAGE_SIZE;

	return size < left ? size : left;
}

/* Up to MAX_RUN pages: *@done is set to the bytes that were read */
static int read_pages(struct kint_conn *conn, uint64_t gpa, char *buf, size_t size, size_t *done)
{
	struct kvmi_vm_read_physical msg[MAX_RUN] = { 0 };
	struct command run[MAX_RUN] = { 0 };
	unsigned int n, i;
	size_t sent = 0;
	int err;

	for (n = 0; n < MAX_RUN && sent < size; n++) {
		msg[n].gpa = gpa + sent;
		msg[n].size = to_page_end(gpa + sent, size - sent);
		run[n].req.id = KVMI_VM_READ_PHYSICAL;
		run[n].req.part[0] = &msg[n];
		run[n].req.size[0] = sizeof(msg[n]);
		run[n].data = buf + sent;
		run[n].size = msg[n].size;
		sent += msg[n].size;
	}
	*done = 0;
	err = kint_run(conn, run, n);
	for (i = 0; i < n && !err; i++) {
		err = run[i].err;
		if (!err)
			*done += msg[i].size;
	}
	return err;
}

int kint_read_physical(struct kint_conn *conn, uint64_t gpa, void *buf, size_t size)
{
	struct kvmi_vm_read_physical msg = { 0 };
	struct request req = { KVMI_VM_READ_PHYSICAL, { &msg }, { sizeof(msg) } };
	size_t done;
	int err;

	if (!size)
		return 0;
	/* The first alone: it may have to be sent again, see kint_command() */
	msg.gpa = gpa;
	msg.size = to_page_end(gpa, size);
	err = kint_command(conn, &req, buf, msg.size, NULL);
	for (done = msg.size; !err && size > done; ) {
		size -= done;
		gpa += done;
		buf = (char *)buf + done;
		err = read_pages(conn, gpa, buf, size, &done);
	}
	return err;
}

int kint_write_physical(struct kint_conn *conn, uint64_t gpa, const void *buf, size_t size)
{
	struct kvmi_vm_write_physical msg = { 0 };
	struct request req = { KVMI_VM_WRITE_PHYSICAL, { &msg }, { sizeof(msg) } };
	int err;

	for (; size; size -= msg.size, gpa += msg.size, buf = (const char *)buf + msg.size) {
		msg.gpa = gpa;
		msg.size = to_page_end(gpa, size);
		req.part[1] = buf;
		req.size[1] = msg.size;
		err = kint_command(conn, &req, NULL, 0, NULL);
		if (err)
			return err;
	}
	return 0;
}

int kint_read_physical_cookie(struct kint_conn *conn, uint16_t as_id, uint64_t gpa, void *buf,
			      size_t size, uint32_t *cookie)
{
	struct kvmi_vm_read_physical msg = { .flags = KVMI_MEM_COOKIE, .as_id = as_id };
	struct request req = { KVMI_VM_READ_PHYSICAL, { &msg }, { sizeof(msg) } };
	struct {
		struct kvmi_mem_cookie cookie;
		unsigned char data[KINT_MAX_COOKIE_READ];
	} reply;
	bool first = true;
	size_t got;
	int err;

	for (; size; size -= msg.size, gpa += msg.size, buf = (char *)buf + msg.size) {
		msg.gpa = gpa;
		msg.size = size < sizeof(reply.data) ? size : sizeof(reply.data);
		err = kint_command(conn, &req, &reply, sizeof(reply), &got);
		if (err)
			return err;
		if (got != sizeof(reply.cookie) + msg.size)
			return kint_fail(conn, -EPROTO);
		if (!first && reply.cookie.cookie != *cookie)
			return -EAGAIN;
		first = false;
		*cookie = reply.cookie.cookie;
		memcpy(buf, reply.data, msg.size);
	}
	return 0;
}

int kint_write_physical_cookie(struct kint_conn *conn, uint16_t as_id, uint64_t gpa,
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
		msg.size = size < KINT_MAX_COOKIE_WRITE ? size : KINT_MAX_COOKIE_WRITE;
		req.part[2] = buf;
		req.size[2] = msg.size;
		err = kint_command(conn, &req, NULL, 0, NULL);
		if (err)
			return err;
	}
	return 0;
}

int kint_write_physical_compare(struct kint_conn *conn, uint16_t as_id, uint64_t gpa,
				const void *expected, const void *buf, size_t size,
				const uint32_t *cookie)
{
	struct kvmi_vm_write_physical msg = {
		.gpa = gpa, .size = size, .flags = KVMI_MEM_COMPARE, .as_id = as_id,
	};
	struct kvmi_mem_cookie ck = { 0 };
	unsigned char both[2 * 8];
	struct request req = {
		KVMI_VM_WRITE_PHYSICAL, { &msg, &ck, both }, { sizeof(msg), 0, 2 * size }
	};

	/* Larger ones would not fit in @both; the kernel tells the rest */
	if (size > 8)
		return -EINVAL;
	memcpy(both, expected, size);
	memcpy(both + size, buf, size);
	if (cookie) {
		msg.flags |= KVMI_MEM_COOKIE;
		ck.cookie = *cookie;
		req.size[1] = sizeof(ck);
	}
	return kint_command(conn, &req, NULL, 0, NULL);
}
