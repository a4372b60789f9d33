// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Commands for the state of a vCPU other than its registers.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>
#include "internal.h"

static_assert(sizeof(struct kvmi_vcpu_get_cpuid) == 8, "wire");
static_assert(sizeof(struct kvmi_vcpu_get_cpuid_reply) == 16, "wire");
static_assert(sizeof(struct kvmi_vcpu_inject_exception) == 16, "wire");
static_assert(sizeof(struct kvmi_vcpu_get_xcr) == 8, "wire");
static_assert(sizeof(struct kvmi_vcpu_get_xsave2) == 8, "wire");
static_assert(sizeof(struct kvmi_vcpu_get_xsave2_reply) == 8, "wire");
static_assert(sizeof(struct kvmi_vcpu_set_xsave2) == 8, "wire");
static_assert(sizeof(struct kvmi_vcpu_get_mtrr_type_reply) == 8, "wire");
static_assert(sizeof(struct kvmi_vcpu_translate_gva_reply) == 8, "wire");

#define UNMAPPED_GPA (~0ull)

int kint_get_cpuid(struct kint_conn *conn, uint16_t vcpu, uint32_t function, uint32_t index,
		   struct kvmi_vcpu_get_cpuid_reply *cpuid)
{
	struct kvmi_vcpu_get_cpuid msg = { .function = function, .index = index };

	return kint_vcpu_command(conn, KVMI_VCPU_GET_CPUID, vcpu, &msg, sizeof(msg),
				 cpuid, sizeof(*cpuid));
}

int kint_inject_exception(struct kint_conn *conn, uint16_t vcpu, uint8_t nr,
			  uint32_t error_code, uint64_t address)
{
	struct kvmi_vcpu_inject_exception msg = {
		.nr = nr, .error_code = error_code, .address = address,
	};

	int ret = kint_vcpu_command(conn, KVMI_VCPU_INJECT_EXCEPTION, vcpu, &msg, sizeof(msg),
				    NULL, 0);

	return kint_wish_update(conn, WISH_TRAP, vcpu, 0, true, ret);
}

int kint_get_xcr(struct kint_conn *conn, uint16_t vcpu, uint8_t xcr, uint64_t *value)
{
	struct kvmi_vcpu_get_xcr_reply reply;
	struct kvmi_vcpu_get_xcr msg = { .xcr = xcr };
	int err = kint_vcpu_command(conn, KVMI_VCPU_GET_XCR, vcpu, &msg, sizeof(msg),
				    &reply, sizeof(reply));

	if (!err)
		*value = reply.value;
	return err;
}

int kint_get_xsave(struct kint_conn *conn, uint16_t vcpu, void *data)
{
	return kint_vcpu_command(conn, KVMI_VCPU_GET_XSAVE, vcpu, NULL, 0, data, KVMI_XSAVE_SIZE);
}

int kint_set_xsave(struct kint_conn *conn, uint16_t vcpu, const void *data)
{
	return kint_vcpu_command(conn, KVMI_VCPU_SET_XSAVE, vcpu, data, KVMI_XSAVE_SIZE, NULL, 0);
}

int kint_get_xsave2(struct kint_conn *conn, uint16_t vcpu, void *data, size_t size,
		    size_t *total)
{
	struct kvmi_vcpu_hdr hdr = { .vcpu = vcpu };
	struct kvmi_vcpu_get_xsave2 msg = { 0 };
	struct request req = {
		KVMI_VCPU_GET_XSAVE2, { &hdr, &msg }, { sizeof(hdr), sizeof(msg) }
	};
	struct {
		struct kvmi_vcpu_get_xsave2_reply hdr;
		unsigned char data[KINT_MAX_XSAVE_READ];
	} reply;
	size_t got, left;
	int err;

	do {
		/* At least a byte, to be told how much there is */
		left = size - msg.offset;
		msg.size = !left ? 1 : left < sizeof(reply.data) ? left : sizeof(reply.data);
		err = kint_command(conn, &req, &reply, sizeof(reply), &got);
		if (err)
			return err;
		if (got < sizeof(reply.hdr) || reply.hdr.total <= msg.offset ||
		    (msg.offset && reply.hdr.total != *total))
			return kint_fail(conn, -EPROTO);
		err = kint_bounded(conn, reply.hdr.total, MAX_XSAVE);
		if (err)
			return err;
		left = reply.hdr.total - msg.offset;
		got -= sizeof(reply.hdr);
		if (got != (left < msg.size ? left : msg.size))
			return kint_fail(conn, -EPROTO);
		*total = reply.hdr.total;
		if (size > *total)
			size = *total;
		if (size)
			memcpy((char *)data + msg.offset, reply.data, got);
		msg.offset += got;
	} while (msg.offset < size);
	return 0;
}

int kint_set_xsave2(struct kint_conn *conn, uint16_t vcpu, uint32_t offset, const void *data,
		    size_t size)
{
	struct kvmi_vcpu_set_xsave2 msg = { .offset = offset };
	struct kvmi_vcpu_hdr hdr = { .vcpu = vcpu };
	struct request req = {
		KVMI_VCPU_SET_XSAVE2, { &hdr, &msg, data }, { sizeof(hdr), sizeof(msg) }
	};
	int err;

	do {
		req.size[2] = size < KINT_MAX_XSAVE_WRITE ? size : KINT_MAX_XSAVE_WRITE;
		err = kint_command(conn, &req, NULL, 0, NULL);
		size -= req.size[2];
		msg.offset += req.size[2];
		req.part[2] = (const char *)req.part[2] + req.size[2];
	} while (!err && size);
	return err;
}

int kint_get_mtrr_type(struct kint_conn *conn, uint16_t vcpu, uint64_t gpa, uint8_t *type)
{
	struct kvmi_vcpu_get_mtrr_type msg = { .gpa = gpa };
	struct kvmi_vcpu_get_mtrr_type_reply reply;
	int err = kint_vcpu_command(conn, KVMI_VCPU_GET_MTRR_TYPE, vcpu, &msg, sizeof(msg),
				    &reply, sizeof(reply));

	if (!err)
		*type = reply.type;
	return err;
}

int kint_translate_gva(struct kint_conn *conn, uint16_t vcpu, uint64_t gva, uint64_t *gpa)
{
	struct kvmi_vcpu_translate_gva_reply reply;
	struct kvmi_vcpu_translate_gva msg = { .gva = gva };
	int err = kint_vcpu_command(conn, KVMI_VCPU_TRANSLATE_GVA, vcpu, &msg, sizeof(msg),
				    &reply, sizeof(reply));

	if (err)
		return err;
	if (reply.gpa == UNMAPPED_GPA)
		return -EFAULT;
	*gpa = reply.gpa;
	return 0;
}
