// SPDX-License-Identifier: GPL-2.0-only
/*
 * Events in words.
 */
#include "tool.h"

#define NAME "%-12s  "
#define PF_VECTOR 14
#define DB_VECTOR 1

/* By kvmi_vcpu_event_descriptor.descriptor and .write */
static const char *const descriptor_insns[][2] = {
	[KVMI_DESC_IDTR] = { "SIDT", "LIDT" },
	[KVMI_DESC_GDTR] = { "SGDT", "LGDT" },
	[KVMI_DESC_LDTR] = { "SLDT", "LLDT" },
	[KVMI_DESC_TR] = { "STR", "LTR" },
};

const char *descriptor_insn(const struct kvmi_vcpu_event_descriptor *d)
{
	if (d->descriptor < KVMI_DESC_IDTR || d->descriptor > KVMI_DESC_TR || d->write > 1)
		return "descriptor";
	return descriptor_insns[d->descriptor][d->write];
}

static void print_where(FILE *out, const struct kint_event *event)
{
	const struct kvmi_vcpu_event_arch *arch = &event->common.arch;

	fprintf(out, "at %#llx, CPL %u", ull(arch->regs.rip), arch->sregs.ss.dpl);
}

const char *access_name(uint8_t access)
{
	return access & KVMI_PAGE_ACCESS_W ? "write" :
	       access & KVMI_PAGE_ACCESS_R ? "read" : "execution";
}

static void print_pf(FILE *out, const struct kint_event *event)
{
	const struct kvmi_vcpu_event_pf *pf = &event->pf;

	fprintf(out, NAME "%s of %#llx", "PAGE", access_name(pf->access), ull(pf->gpa));
	if (pf->gva != UNMAPPED)
		fprintf(out, " (virtual %#llx)", ull(pf->gva));
	fprintf(out, ", ");
	print_where(out, event);
	if (pf->view)
		fprintf(out, ", view %u", pf->view);
	if (pf->flags & KVMI_PF_AGAIN)
		fprintf(out, ", same instruction");
	if (pf->flags & KVMI_PF_DELIVERY)
		fprintf(out, ", delivering an exception or interrupt");
	if (pf->flags & KVMI_PF_NOT_EMULATED)
		fprintf(out, ", cannot be emulated");
}

static void print_access(FILE *out, const struct kint_event *event)
{
	const struct kvmi_vcpu_event_access *a = &event->access;
	unsigned int i;

	fprintf(out, NAME "%s of %#llx, ", "ACCESS", access_name(a->access), ull(a->gpa));
	print_where(out, event);
	fprintf(out, ":");
	for (i = 0; i < a->size && i < sizeof(a->data); i++)
		fprintf(out, " %02x", a->data[i]);
}

static void print_trap(FILE *out, const struct kint_event *event)
{
	const struct kvmi_vcpu_event_trap *t = &event->trap;
	char buf[16];

	fprintf(out, NAME, exception_name(t->nr, buf));
	print_where(out, event);
	if (exception_has_code(t->nr))
		fprintf(out, ", error code %#x", t->error_code);
	if (t->nr == PF_VECTOR)
		fprintf(out, " (%s, %s, %s), address %#llx",
			t->error_code & 16 ? "fetch" : t->error_code & 2 ? "write" : "read",
			t->error_code & 4 ? "user" : "kernel",
			t->error_code & 1 ? "no right" : "not mapped", ull(t->address));
	if (t->nr == DB_VECTOR)
		fprintf(out, ", DR6 bits %#llx", ull(t->address));
}

static void print_hypercall(FILE *out, const struct kint_event *event)
{
	const struct kvm_regs *r = &event->common.arch.regs;

	fprintf(out, NAME, "HYPERCALL");
	print_where(out, event);
	fprintf(out, ", rcx %#llx, rdx %#llx, rsi %#llx, r8 %#llx", ull(r->rcx), ull(r->rdx),
		ull(r->rsi), ull(r->r8));
}

static void print_descriptor(FILE *out, const struct kint_event *event)
{
	const struct kvmi_vcpu_event_descriptor *d = &event->descriptor;
	const struct kvm_sregs *s = &event->common.arch.sregs;

	fprintf(out, NAME, descriptor_insn(d));
	print_where(out, event);
	if (d->descriptor == KVMI_DESC_IDTR)
		fprintf(out, ", IDT %s %#llx", d->write ? "was at" : "is at", ull(s->idt.base));
	else if (d->descriptor == KVMI_DESC_GDTR)
		fprintf(out, ", GDT %s %#llx", d->write ? "was at" : "is at", ull(s->gdt.base));
	else if (d->descriptor == KVMI_DESC_LDTR)
		fprintf(out, ", LDTR %s %#x", d->write ? "was" : "is", s->ldt.selector);
	else
		fprintf(out, ", TR %s %#x", d->write ? "was" : "is", s->tr.selector);
}

/* What the event is about, without a line end */
void print_event(FILE *out, const struct kint_event *event)
{
	switch (event->id) {
	case KVMI_VCPU_EVENT_CR:
	case KVMI_VCPU_EVENT_MSR:
	case KVMI_VCPU_EVENT_XSETBV:
		print_change(out, event);
		return;
	case KVMI_VCPU_EVENT_TRAP:
		print_trap(out, event);
		return;
	case KVMI_VCPU_EVENT_HYPERCALL:
		print_hypercall(out, event);
		return;
	case KVMI_VCPU_EVENT_DESCRIPTOR:
		print_descriptor(out, event);
		return;
	case KVMI_VCPU_EVENT_BREAKPOINT:
		fprintf(out, NAME, "INT3");
		print_where(out, event);
		if (event->breakpoint.gpa != UNMAPPED)
			fprintf(out, ", physical %#llx", ull(event->breakpoint.gpa));
		if (event->breakpoint.insn_len != 1)
			fprintf(out, ", %u bytes", event->breakpoint.insn_len);
		return;
	case KVMI_VCPU_EVENT_CPUID:
		fprintf(out, NAME "leaf %#x, ", "CPUID", event->cpuid.function);
		if (leaf_has_subleaves(event->cpuid.function))
			fprintf(out, "subleaf %#x, ", event->cpuid.index);
		print_where(out, event);
		return;
	case KVMI_VCPU_EVENT_PF:
		print_pf(out, event);
		return;
	case KVMI_VCPU_EVENT_ACCESS:
		print_access(out, event);
		return;
	case KVMI_VCPU_EVENT_SINGLESTEP:
		fprintf(out, NAME, "STEP");
		print_where(out, event);
		if (event->singlestep.failed)
			fprintf(out, ", KVM had to do something in its place");
		return;
	case KVMI_VCPU_EVENT_CREATE_VCPU:
		fprintf(out, NAME "about to run for the first time", "NEW VCPU");
		return;
	default:
		fprintf(out, NAME "a kind that this tool does not know", event_name(event->id));
	}
}
