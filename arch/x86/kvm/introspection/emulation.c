// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: instructions that KVM emulates in the guest's place, as the
 * tool or introspection itself has asked for.
 *
 * KVM's emulator asks here about each access to guest memory.  If the answer is
 * no, or has to be waited for with KVM_RUN returned, the instruction begins anew.
 * A part of what it writes may have been written then, as if another vCPU had
 * looked in the middle of it.
 */

#include <linux/kvm_host.h>

#include "introspection/command.h"
#include "introspection/event.h"
#include "emulation.h"
#include "intercepts.h"
#include "pages.h"
#include "x86.h"

/**
 * kvmi_emulate - emulate the instruction that a vCPU is about to execute
 * @vcpu: the vCPU, with its SRCU lock held; it may be dropped and retaken
 * @mode: what applies to the accesses
 *
 * See struct kvmi_emulation for what has become of it.
 *
 * Return: what to return to the run loop.
 */
int kvmi_emulate(struct kvm_vcpu *vcpu, enum kvmi_emulation_mode mode)
{
	struct kvmi_emulation *emulation = &kvmi_to_vcpu(vcpu)->arch.emulation;
	int r;

	emulation->mode = mode;
	emulation->failed = false;
	emulation->refused = false;
	r = kvm_emulate_instruction(vcpu, 0);

	/* If KVM_RUN returns first, e.g. for MMIO, the rest is yet to come. */
	if (r > 0)
		emulation->mode = KVMI_EMULATE_FREELY;

	/* HLT is left to whoever has called the emulator. */
	if (vcpu->arch.halt_request) {
		vcpu->arch.halt_request = 0;
		return kvm_emulate_halt_noskip(vcpu);
	}

	return r;
}

bool __kvmi_emulation_watched(struct kvm_vcpu *vcpu)
{
	struct kvm_vcpu_introspection *vi = kvmi_to_vcpu(vcpu);

	return vi && vi->arch.emulation.mode != KVMI_EMULATE_FREELY;
}

bool __kvmi_emulation_failed(struct kvm_vcpu *vcpu)
{
	if (!__kvmi_emulation_watched(vcpu))
		return false;

	kvmi_to_vcpu(vcpu)->arch.emulation.failed = true;
	return true;
}

static bool refuse(struct kvmi_emulation *emulation, gva_t gva, gpa_t gpa,
		   u8 access)
{
	emulation->refused = true;
	emulation->access = access;
	emulation->gva = gva;
	emulation->gpa = gpa;

	return false;
}

/*
 * The vCPU sees at @gpa what its view shows there.  With the tool's consent it is
 * the guest's own page, as for an instruction that is stepped.
 */
static bool read_shown(struct kvm_vcpu *vcpu, gpa_t gpa, void *val,
		       unsigned int bytes)
{
	gfn_t gfn = gpa_to_gfn(gpa), shown = __kvmi_shown_gfn(vcpu, gfn);

	return shown == gfn ||
	       !kvm_vcpu_read_guest_page(vcpu, shown, val, offset_in_page(gpa),
					 bytes);
}

static bool check(struct kvm_vcpu *vcpu, gva_t gva, gpa_t gpa, u8 access)
{
	return kvmi_may_access(vcpu, gpa_to_gfn(gpa), access) ||
	       refuse(&kvmi_to_vcpu(vcpu)->arch.emulation, gva, gpa, access);
}

bool __kvmi_emulated_fetch(struct kvm_vcpu *vcpu, gva_t gva, gpa_t gpa,
			   void *val, unsigned int bytes)
{
	if (kvmi_to_vcpu(vcpu)->arch.emulation.mode != KVMI_EMULATE_CHECKED)
		return true;

	return check(vcpu, gva, gpa, KVMI_PAGE_ACCESS_X) &&
	       read_shown(vcpu, gpa, val, bytes);
}

/*
 * While the tool was asked the guest's other vCPUs went on, and may not have waited
 * for this one to flush its TLB.
 */
static bool still_there(struct kvm_vcpu *vcpu, gva_t gva, gpa_t gpa)
{
	return kvm_mmu_gva_to_gpa_system(vcpu, gva, NULL) == gpa;
}

/* Ask about @event; @reply is what the instruction reads or writes if allowed. */
static enum kvmi_verdict ask(struct kvm_vcpu *vcpu,
			     const struct kvmi_vcpu_event_access *event,
			     struct kvmi_vcpu_event_access_reply *reply)
{
	u8 forbidden = 0;
	int action;

	/* There has to be something that is read. */
	if (event->access != KVMI_PAGE_ACCESS_W)
		forbidden = BIT(KVMI_EVENT_ACTION_SKIP);

	action = __kvmi_event(vcpu, KVMI_VCPU_EVENT_ACCESS, forbidden, event,
			      sizeof(*event), reply, sizeof(*reply));
	if (!still_there(vcpu, event->gva, event->gpa))
		return KVMI_RETRY;

	return kvmi_verdict_of(action);
}

static bool traced(struct kvm_vcpu *vcpu, gpa_t gpa, u8 access)
{
	return kvmi_event_wanted(vcpu, KVMI_VCPU_EVENT_ACCESS) &&
	       !kvmi_may_access(vcpu, gpa_to_gfn(gpa), access);
}

bool __kvmi_emulated_read(struct kvm_vcpu *vcpu, gva_t gva, gpa_t gpa,
			  void *val, unsigned int bytes)
{
	struct kvmi_vcpu_event_access_reply reply = { };
	struct kvmi_vcpu_event_access event = {
		.gva = gva,
		.gpa = gpa,
		.access = KVMI_PAGE_ACCESS_R,
		.size = bytes,
	};

	if (kvmi_to_vcpu(vcpu)->arch.emulation.mode == KVMI_EMULATE_CHECKED)
		return check(vcpu, gva, gpa, KVMI_PAGE_ACCESS_R) &&
		       read_shown(vcpu, gpa, val, bytes);

	if (!traced(vcpu, gpa, KVMI_PAGE_ACCESS_R) ||
	    WARN_ON_ONCE(bytes > sizeof(event.data)))
		return true;

	memcpy(event.data, val, bytes);
	memcpy(reply.data, val, bytes);
	if (ask(vcpu, &event, &reply) == KVMI_RETRY)
		return false;
	memcpy(val, reply.data, bytes);

	return true;
}

bool __kvmi_emulated_write(struct kvm_vcpu *vcpu, gva_t gva, gpa_t gpa,
			   const void **val, unsigned int bytes)
{
	struct kvmi_emulation *emulation = &kvmi_to_vcpu(vcpu)->arch.emulation;
	/* The other part is asked about before this one is written. */
	u8 *data = emulation->data[!offset_in_page(gpa)];
	struct kvmi_vcpu_event_access_reply reply = { };
	struct kvmi_vcpu_event_access event = {
		.gva = gva,
		.gpa = gpa,
		.access = KVMI_PAGE_ACCESS_W,
		.size = bytes,
	};

	if (emulation->mode == KVMI_EMULATE_CHECKED)
		return check(vcpu, gva, gpa, KVMI_PAGE_ACCESS_W);

	if (!traced(vcpu, gpa, KVMI_PAGE_ACCESS_W) ||
	    WARN_ON_ONCE(bytes > sizeof(event.data)))
		return true;

	memcpy(event.data, *val, bytes);
	memcpy(reply.data, *val, bytes);
	switch (ask(vcpu, &event, &reply)) {
	case KVMI_ALLOW:
		*val = memcpy(data, reply.data, bytes);
		return true;
	case KVMI_SKIP:
		*val = NULL;
		return true;
	case KVMI_RETRY:
		break;
	}

	return false;
}
