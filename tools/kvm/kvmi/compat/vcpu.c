// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * vCPUs, those that do not run yet among them.
 *
 * A vCPU that the guest has not started refuses commands with EAGAIN, and those of a
 * VM that is stopped do not answer.  Programs for libkvmi turn on what they want on
 * every vCPU when they begin, and give up if they cannot.  What they want is
 * remembered then, and done at a PAUSE event that comes before the vCPU's first
 * instruction.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "compat.h"

/* How long a vCPU may take that has not carried out any command yet */
#define FIRST_MS 1000

struct vcpu *vcpu_get(struct domain *d, uint16_t vcpu)
{
	struct vcpu *vcpus;

	if (vcpu < d->nvcpus)
		return &d->vcpus[vcpu];
	vcpus = realloc(d->vcpus, (vcpu + 1) * sizeof(*vcpus));
	if (!vcpus)
		return NULL;
	memset(vcpus + d->nvcpus, 0, (vcpu + 1 - d->nvcpus) * sizeof(*vcpus));
	d->vcpus = vcpus;
	d->nvcpus = vcpu + 1;
	return &vcpus[vcpu];
}

static void forget_wishes(struct vcpu *v)
{
	struct wish *wish;

	while (v->wishes) {
		wish = v->wishes;
		v->wishes = wish->next;
		free(wish);
	}
}

void vcpus_free(struct domain *d)
{
	unsigned int i;

	for (i = 0; i < d->nvcpus; i++)
		forget_wishes(&d->vcpus[i]);
	free(d->vcpus);
}

static int remember(struct vcpu *v, enum wish_kind kind, unsigned int id, bool enable)
{
	struct wish **p, *wish;

	for (p = &v->wishes; *p; p = &(*p)->next)
		if ((*p)->kind == kind && ((*p)->id == id || kind == WISH_VIEW))
			break;
	wish = *p;
	if (!wish) {
		wish = calloc(1, sizeof(*wish));
		if (!wish)
			return -ENOMEM;
		*p = wish;
	}
	wish->kind = kind;
	wish->id = id;
	wish->enable = enable;
	return 0;
}

/* An event that the host does not have never comes: it is no error to ask for it */
static int control_event(struct domain *d, uint16_t vcpu, int v7_id, bool enable)
{
	int err = kint_control_events(d->conn, vcpu, event_id_of(v7_id), enable);

	if (err == -EOPNOTSUPP && (v7_id == KVMI_EVENT_PF || v7_id == KVMI_EVENT_SINGLESTEP)) {
		note(KVMI_LOG_LEVEL_WARNING, "the host has no events of kind %d", v7_id);
		return 0;
	}
	/* What an instruction reads instead, see answer_access() */
	if (!err && v7_id == KVMI_EVENT_PF) {
		err = kint_control_events(d->conn, vcpu, KVMI_VCPU_EVENT_ACCESS, enable);
		d->vcpus[vcpu].traces = !err && enable;
		if (err == -EOPNOTSUPP || err == -EPERM || err == -EINVAL)
			err = 0;
	}
	return err;
}

static int fulfil(struct domain *d, uint16_t vcpu, enum wish_kind kind, unsigned int id,
		  bool enable)
{
	switch (kind) {
	case WISH_EVENT:
		return control_event(d, vcpu, id, enable);
	case WISH_CR:
		return kint_control_cr(d->conn, vcpu, id, enable);
	case WISH_MSR:
		return kint_control_msr(d->conn, vcpu, id, enable);
	case WISH_STEP:
		d->vcpus[vcpu].stepped |= enable;
		return kint_control_singlestep(d->conn, vcpu, enable);
	default:
		return kint_set_view(d->conn, vcpu, id);
	}
}

/* The command failed in a way that says that the vCPU does not run: is it so now? */
static bool falls_asleep(struct domain *d, uint16_t vcpu, struct vcpu *v, int err)
{
	if (v->asleep)
		return true;
	if (err != -EAGAIN && (err != -ETIMEDOUT || v->heard))
		return false;
	err = kint_pause_vcpu(d->conn, vcpu, false);
	/* It owes as many as there can be to tools that were lost: there will be one */
	if (err && err != -EBUSY)
		return false;
	v->asleep = true;
	note(KVMI_LOG_LEVEL_INFO, "vCPU %u does not run yet", vcpu);
	return true;
}

/*
 * Find out whether a vCPU runs.  An error is one of the connection, or that there is
 * no such vCPU.
 */
int vcpu_contact(struct domain *d, uint16_t vcpu, struct vcpu **out)
{
	bool heard = vcpu < d->nvcpus && d->vcpus[vcpu].heard;
	struct kvmi_vcpu_get_info_reply info;
	struct vcpu *v;
	int err = 0, limit = 0;

	pump(d);
	if (d->gone)
		return -EPIPE;
	if (vcpu >= d->nvcpus || !d->vcpus[vcpu].asleep) {
		if (!heard)
			limit = kint_set_timeout(d->conn, FIRST_MS);
		err = kint_vcpu_get_info(d->conn, vcpu, &info);
		if (!heard)
			kint_set_timeout(d->conn, limit);
	}
	if (err && err != -EAGAIN && err != -ETIMEDOUT)
		return err;
	v = vcpu_get(d, vcpu);
	if (!v)
		return -ENOMEM;
	*out = v;
	if (!err && !v->asleep)
		v->heard = true;
	return err && !falls_asleep(d, vcpu, v, err) ? err : 0;
}

/* For commands that only a vCPU that runs can carry out */
int vcpu_check_awake(struct domain *d, uint16_t vcpu)
{
	struct vcpu *v;
	int err;

	if (vcpu < d->nvcpus && d->vcpus[vcpu].heard && !d->vcpus[vcpu].asleep)
		return d->gone ? -EPIPE : 0;
	err = vcpu_contact(d, vcpu, &v);
	if (err)
		return err;
	return v->asleep ? -EAGAIN : 0;
}

static int wish_for(struct domain *d, uint16_t vcpu, enum wish_kind kind, unsigned int id,
		    bool enable)
{
	int err = vcpu_check_awake(d, vcpu);

	if (!err)
		err = fulfil(d, vcpu, kind, id, enable);
	if (err == -EAGAIN && falls_asleep(d, vcpu, &d->vcpus[vcpu], err))
		err = remember(&d->vcpus[vcpu], kind, id, enable);
	return err;
}

/* The PAUSE event that was ordered for a vCPU that did not run has come */
void vcpu_woken(struct domain *d, const struct kint_event *pause)
{
	uint16_t vcpu = pause->common.vcpu;
	struct vcpu *v = &d->vcpus[vcpu];
	struct wish *wish;
	int err;

	v->asleep = false;
	v->heard = true;
	for (wish = v->wishes; wish; wish = wish->next) {
		err = fulfil(d, vcpu, wish->kind, wish->id, wish->enable);
		if (err)
			note(KVMI_LOG_LEVEL_ERROR, "vCPU %u: what was wanted before it ran: %s",
			     vcpu, strerror(-err));
	}
	forget_wishes(v);
	if (v->made_up) {
		v->held = true;
		v->pause = *pause;
	} else {
		kint_reply(d->conn, pause, KVMI_EVENT_ACTION_ALLOW);
	}
}

/*
 * Views that a tool has left that was lost, where the device manager keeps the session.  To the
 * caller every vCPU is in view 0, where it takes access away.
 */
int views_take_back(struct domain *d)
{
	struct kvmi_vm_get_info_reply info = { 0 };
	unsigned int vcpu;
	int err;

	d->left_views = ~0ull;
	err = kint_clear_views(d->conn, &d->left_views);
	if (err || !d->left_views)
		return err;
	err = kint_get_info(d->conn, &info);
	for (vcpu = 0; vcpu < info.vcpu_count && !err; vcpu++)
		err = wish_for(d, vcpu, WISH_VIEW, 0, true);
	/* What they have stopped for there is known to be that as long as the views are */
	pump(d);
	return err ? err : kint_clear_views(d->conn, &d->left_views);
}

/* ---- What the caller calls ---- */

int kvmi_control_events(void *dom, unsigned short vcpu, int id, bool enable)
{
	struct domain *d = domain_enter(dom);
	int err = -EINVAL;

	if (!d)
		return -1;
	if (id > KVMI_EVENT_UNHOOK && event_id_of(id) >= 0)
		err = wish_for(d, vcpu, WISH_EVENT, id, enable);
	if (!err && enable)
		d->vcpus[vcpu].events |= 1u << id;
	else if (!err)
		d->vcpus[vcpu].events &= ~(1u << id);
	return domain_leave(d, err);
}

int kvmi_control_cr(void *dom, unsigned short vcpu, unsigned int cr, bool enable)
{
	struct domain *d = domain_enter(dom);

	if (!d)
		return -1;
	return domain_leave(d, cr > 255 ? -EINVAL : wish_for(d, vcpu, WISH_CR, cr, enable));
}

int kvmi_control_msr(void *dom, unsigned short vcpu, unsigned int msr, bool enable)
{
	struct domain *d = domain_enter(dom);

	return d ? domain_leave(d, wish_for(d, vcpu, WISH_MSR, msr, enable)) : -1;
}

int kvmi_control_singlestep(void *dom, unsigned short vcpu, bool enable)
{
	struct domain *d = domain_enter(dom);

	return d ? domain_leave(d, wish_for(d, vcpu, WISH_STEP, 0, enable)) : -1;
}

int kvmi_switch_ept_view(void *dom, unsigned short vcpu, unsigned short view)
{
	struct domain *d = domain_enter(dom);
	int err;

	if (!d)
		return -1;
	err = wish_for(d, vcpu, WISH_VIEW, view, true);
	if (!err)
		d->vcpus[vcpu].view = view;
	return domain_leave(d, err);
}

int kvmi_get_ept_view(void *dom, unsigned short vcpu, unsigned short *view)
{
	struct domain *d = domain_enter(dom);
	int err;

	if (!d)
		return -1;
	err = vcpu_check_awake(d, vcpu);
	if (err == -EAGAIN) {
		*view = d->vcpus[vcpu].view;
		err = 0;
	} else if (!err) {
		err = kint_get_view(d->conn, vcpu, view);
	}
	return domain_leave(d, err);
}

static int pause(struct domain *d, uint16_t vcpu)
{
	struct vcpu *v;
	int err = vcpu_contact(d, vcpu, &v);

	if (err)
		return err;
	return v->asleep ? make_up_pause(d, vcpu) : kint_pause_vcpu(d->conn, vcpu, true);
}

int kvmi_pause_vcpu(void *dom, unsigned short vcpu)
{
	struct domain *d = domain_enter(dom);

	return d ? domain_leave(d, pause(d, vcpu)) : -1;
}

int kvmi_pause_all_vcpus(void *dom, unsigned int count)
{
	struct domain *d = domain_enter(dom);
	unsigned int i;
	int err = 0;

	if (!d)
		return -1;
	for (i = 0; i < count && !err; i++)
		err = pause(d, i);
	return domain_leave(d, err);
}

int kvmi_get_registers(void *dom, unsigned short vcpu, struct kvm_regs *regs,
		       struct kvm_sregs *sregs, struct kvm_msrs *msrs, unsigned int *mode)
{
	unsigned int nmsrs = msrs ? msrs->nmsrs : 0, i;
	struct domain *d = domain_enter(dom);
	uint32_t index[KVMI_MSG_SIZE / sizeof(struct kvm_msr_entry)];
	uint64_t values[KVMI_MSG_SIZE / sizeof(struct kvm_msr_entry)];
	struct kint_registers r;
	int err;

	if (!d)
		return -1;
	if (nmsrs > sizeof(index) / sizeof(index[0]))
		return domain_leave(d, -EINVAL);
	for (i = 0; i < nmsrs; i++)
		index[i] = msrs->entries[i].index;
	err = vcpu_check_awake(d, vcpu);
	if (!err)
		err = kint_get_registers(d->conn, vcpu, &r, index, values, nmsrs);
	if (!err) {
		*regs = r.regs;
		*sregs = r.sregs;
		*mode = r.mode;
		for (i = 0; i < nmsrs; i++)
			msrs->entries[i].data = values[i];
	}
	return domain_leave(d, err);
}

int kvmi_set_registers(void *dom, unsigned short vcpu, const struct kvm_regs *regs)
{
	struct domain *d = domain_enter(dom);
	int err;

	if (!d)
		return -1;
	err = vcpu_check_awake(d, vcpu);
	if (!err)
		err = kint_set_registers(d->conn, vcpu, regs);
	if (!err)
		registers_set(d, vcpu, regs);
	return domain_leave(d, err);
}

int kvmi_get_tsc_speed(void *dom, unsigned long long *speed)
{
	struct domain *d = domain_enter(dom);
	struct kvmi_vcpu_get_info_reply info;
	int err;

	if (!d)
		return -1;
	err = vcpu_check_awake(d, 0);
	if (!err)
		err = kint_vcpu_get_info(d->conn, 0, &info);
	if (!err)
		*speed = info.tsc_speed;
	return domain_leave(d, err);
}

int kvmi_get_cpuid(void *dom, unsigned short vcpu, unsigned int function, unsigned int index,
		   unsigned int *eax, unsigned int *ebx, unsigned int *ecx, unsigned int *edx)
{
	struct domain *d = domain_enter(dom);
	struct kvmi_vcpu_get_cpuid_reply r;
	int err;

	if (!d)
		return -1;
	err = vcpu_check_awake(d, vcpu);
	if (!err)
		err = kint_get_cpuid(d->conn, vcpu, function, index, &r);
	if (!err) {
		*eax = r.eax;
		*ebx = r.ebx;
		*ecx = r.ecx;
		*edx = r.edx;
	}
	return domain_leave(d, err);
}

int kvmi_get_mtrr_type(void *dom, unsigned long long gpa, unsigned char *type)
{
	struct domain *d = domain_enter(dom);
	int err;

	if (!d)
		return -1;
	err = vcpu_check_awake(d, 0);
	return domain_leave(d, err ? err : kint_get_mtrr_type(d->conn, 0, gpa, type));
}

int kvmi_get_xcr(void *dom, unsigned short vcpu, __u8 xcr, __u64 *value)
{
	struct domain *d = domain_enter(dom);
	uint64_t got;
	int err;

	if (!d)
		return -1;
	err = vcpu_check_awake(d, vcpu);
	if (!err)
		err = kint_get_xcr(d->conn, vcpu, xcr, &got);
	if (!err)
		*value = got;
	return domain_leave(d, err);
}

int kvmi_get_xsave(void *dom, unsigned short vcpu, void *buffer, size_t size)
{
	struct domain *d = domain_enter(dom);
	size_t total;
	int err;

	if (!d)
		return -1;
	err = vcpu_check_awake(d, vcpu);
	if (!err)
		err = kint_get_xsave2(d->conn, vcpu, buffer, size, &total);
	if (!err && size > total)
		memset((char *)buffer + total, 0, size - total);
	return domain_leave(d, err);
}

int kvmi_set_xsave(void *dom, unsigned short vcpu, const void *buffer, size_t size)
{
	struct domain *d = domain_enter(dom);
	int err;

	if (!d)
		return -1;
	err = vcpu_check_awake(d, vcpu);
	return domain_leave(d, err ? err : kint_set_xsave2(d->conn, vcpu, 0, buffer, size));
}

int kvmi_translate_gva(void *dom, unsigned short vcpu, __u64 gva, __u64 *gpa)
{
	struct domain *d = domain_enter(dom);
	uint64_t got = ~0ull;
	int err;

	if (!d)
		return -1;
	err = vcpu_check_awake(d, vcpu);
	if (!err)
		err = kint_translate_gva(d->conn, vcpu, gva, &got);
	/* An address that is not mapped is no error here */
	if (err == -EFAULT) {
		got = ~0ull;
		err = 0;
	}
	if (!err)
		*gpa = got;
	return domain_leave(d, err);
}

int kvmi_inject_exception(void *dom, unsigned short vcpu, unsigned long long gva,
			  unsigned int error, unsigned char vector)
{
	struct domain *d = domain_enter(dom);
	int err;

	if (!d)
		return -1;
	err = vcpu_check_awake(d, vcpu);
	if (!err)
		err = kint_inject_exception(d->conn, vcpu, vector, error, gva);
	return domain_leave(d, err);
}
