// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Commands for a vCPU.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>
#include "internal.h"

static_assert(sizeof(struct kvmi_vcpu_hdr) == 8, "wire");
static_assert(sizeof(struct kvm_regs) == 144, "wire");
static_assert(sizeof(struct kvm_sregs) == 312, "wire");
static_assert(sizeof(struct kvmi_vcpu_get_registers_reply) == 472, "wire");
static_assert(sizeof(struct kvmi_vcpu_debugregs) == 48, "wire");

#define MAX_MSRS \
	((KVMI_MAX_MSG_SIZE - sizeof(struct kvmi_error_code) - \
	  sizeof(struct kvmi_vcpu_get_registers_reply)) / sizeof(struct kvm_msr_entry))

/* A command with @msg after the vCPU's index, and a reply of a fixed size */
int kint_vcpu_command(struct kint_conn *conn, uint16_t id, uint16_t vcpu, const void *msg,
		      size_t size, void *data, size_t data_size)
{
	struct kvmi_vcpu_hdr hdr = { .vcpu = vcpu };
	struct request req = { id, { &hdr, msg }, { sizeof(hdr), size } };

	return kint_command(conn, &req, data, data_size, NULL);
}

int kint_vcpu_get_info(struct kint_conn *conn, uint16_t vcpu,
		       struct kvmi_vcpu_get_info_reply *info)
{
	return kint_vcpu_command(conn, KVMI_VCPU_GET_INFO, vcpu, NULL, 0, info, sizeof(*info));
}

int kint_control_events(struct kint_conn *conn, uint16_t vcpu, uint16_t event, bool enable)
{
	struct kvmi_vcpu_control_events msg = { .event_id = event, .enable = enable };
	int ret = kint_vcpu_command(conn, KVMI_VCPU_CONTROL_EVENTS, vcpu, &msg, sizeof(msg),
				    NULL, 0);

	return kint_wish_update(conn, WISH_EVENT, vcpu, event, enable, ret);
}

int kint_control_event_set(struct kint_conn *conn, uint16_t vcpu, uint64_t enable,
			   uint64_t disable, uint64_t *enabled)
{
	struct kvmi_vcpu_control_event_set msg = { .enable = enable, .disable = disable };
	struct kvmi_vcpu_control_event_set_reply reply;
	int ret = kint_vcpu_command(conn, KVMI_VCPU_CONTROL_EVENT_SET, vcpu, &msg, sizeof(msg),
				    &reply, sizeof(reply));
	unsigned int id;

	for (id = 0; id < 64; id++)
		if ((enable | disable) >> id & 1)
			ret = kint_wish_update(conn, WISH_EVENT, vcpu, id, enable >> id & 1, ret);
	if (!ret && enabled)
		*enabled = reply.enabled;
	return ret;
}

int kint_get_registers(struct kint_conn *conn, uint16_t vcpu, struct kint_registers *regs,
		       const uint32_t *msrs, uint64_t *values, uint16_t nmsrs)
{
	struct kvmi_vcpu_hdr hdr = { .vcpu = vcpu };
	struct kvmi_vcpu_get_registers msg = { .nmsrs = nmsrs };
	struct request req = {
		KVMI_VCPU_GET_REGISTERS,
		{ &hdr, &msg, msrs },
		{ sizeof(hdr), sizeof(msg), nmsrs * sizeof(*msrs) },
	};
	struct kvmi_vcpu_get_registers_reply reply;
	unsigned char buf[KVMI_MAX_MSG_SIZE];
	struct kvm_msr_entry entry;
	size_t got;
	int i, err;

	if (nmsrs > MAX_MSRS)
		return -EINVAL;
	err = kint_command(conn, &req, buf, sizeof(buf), &got);
	if (err)
		return err;
	if (got < sizeof(reply) + nmsrs * sizeof(entry))
		return kint_fail(conn, -EPROTO);
	memcpy(&reply, buf, sizeof(reply));
	if (reply.msrs.nmsrs != nmsrs)
		return kint_fail(conn, -EPROTO);
	for (i = 0; i < nmsrs; i++) {
		memcpy(&entry, buf + sizeof(reply) + i * sizeof(entry), sizeof(entry));
		if (entry.index != msrs[i])
			return kint_fail(conn, -EPROTO);
		values[i] = entry.data;
	}
	regs->mode = reply.mode;
	regs->regs = reply.regs;
	regs->sregs = reply.sregs;
	return 0;
}

int kint_set_registers(struct kint_conn *conn, uint16_t vcpu, const struct kvm_regs *regs)
{
	return kint_vcpu_command(conn, KVMI_VCPU_SET_REGISTERS, vcpu, regs, sizeof(*regs), NULL, 0);
}

int kint_get_debugregs(struct kint_conn *conn, uint16_t vcpu, struct kvmi_vcpu_debugregs *regs)
{
	return kint_vcpu_command(conn, KVMI_VCPU_GET_DEBUGREGS, vcpu, NULL, 0, regs, sizeof(*regs));
}

int kint_set_debugregs(struct kint_conn *conn, uint16_t vcpu,
		       const struct kvmi_vcpu_debugregs *regs)
{
	return kint_vcpu_command(conn, KVMI_VCPU_SET_DEBUGREGS, vcpu, regs, sizeof(*regs), NULL, 0);
}

int kint_control_cr(struct kint_conn *conn, uint16_t vcpu, uint8_t cr, bool enable)
{
	struct kvmi_vcpu_control_cr msg = { .cr = cr, .enable = enable };
	int ret = kint_vcpu_command(conn, KVMI_VCPU_CONTROL_CR, vcpu, &msg, sizeof(msg), NULL, 0);

	return kint_wish_update(conn, WISH_CR, vcpu, cr, enable, ret);
}

int kint_control_msr(struct kint_conn *conn, uint16_t vcpu, uint32_t msr, bool enable)
{
	struct kvmi_vcpu_control_msr msg = { .msr = msr, .enable = enable };
	int ret = kint_vcpu_command(conn, KVMI_VCPU_CONTROL_MSR, vcpu, &msg, sizeof(msg), NULL, 0);

	return kint_wish_update(conn, WISH_MSR, vcpu, msr, enable, ret);
}
