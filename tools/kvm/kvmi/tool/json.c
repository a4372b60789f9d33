// SPDX-License-Identifier: GPL-2.0-only
/*
 * JSON lines: one object for each line, numbers that may exceed 2^53 as
 * hexadecimal strings.
 */
#include "tool.h"

/* ,"key":["PG","PE"] */
void json_bits(FILE *out, const char *key, const struct bit_name *bits, uint64_t value)
{
	const char *comma = "";

	fprintf(out, ",\"%s\":[", key);
	for (; bits->name; bits++) {
		if (!(value >> bits->bit & 1))
			continue;
		fprintf(out, "%s\"%s\"", comma, bits->name);
		comma = ",";
	}
	fputc(']', out);
}

void json_session(FILE *out, const struct tool *tool)
{
	const struct kint_peer *peer = kint_peer_info(tool->conn);
	int i;

	fprintf(out, "{\"event\":\"session\",\"name\":");
	json_string(out, peer->name);
	fprintf(out, ",\"uuid\":\"");
	for (i = 0; i < 16; i++)
		fprintf(out, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "",
			peer->uuid[i]);
	fprintf(out, "\",\"start_time\":%lld,\"max_gpa\":\"%#llx\",\"vcpus\":%u}\n",
		(long long)peer->start_time, (unsigned long long)peer->max_gpa, tool->vcpus);
}

/* Of a Linux guest, without braces */
void json_process(FILE *out, const struct process *p)
{
	fprintf(out, "\"pid\":%u,\"tid\":%u,\"comm\":", p->pid, p->tid);
	json_string(out, p->comm);
}

static void json_change(FILE *out, const struct kint_event *event)
{
	struct change c;

	/* Of a newer kernel */
	if (!decode_change(event, &c)) {
		fprintf(out, ",\"event\":\"unknown\",\"id\":%u", event->id);
		return;
	}
	if (event->id == KVMI_VCPU_EVENT_CR) {
		fprintf(out, ",\"event\":\"cr\",\"cr\":%u", event->cr.cr);
	} else if (event->id == KVMI_VCPU_EVENT_XSETBV) {
		fprintf(out, ",\"event\":\"xsetbv\",\"xcr\":%u", event->xsetbv.xcr);
	} else {
		fprintf(out, ",\"event\":\"msr\",\"msr\":\"%#x\",\"name\":", event->msr.msr);
		json_string(out, c.name);
	}
	fprintf(out, ",\"old\":\"%#llx\",\"new\":\"%#llx\"", ull(c.old), ull(c.new));
	if (c.bits) {
		json_bits(out, "set", c.bits, c.new & ~c.old);
		json_bits(out, "cleared", c.bits, c.old & ~c.new);
	}
}

static void json_data(FILE *out, const struct kint_event *event)
{
	const struct kvm_regs *r = &event->common.arch.regs;
	unsigned int i;
	char buf[16];

	switch (event->id) {
	case KVMI_VCPU_EVENT_PAUSE:
		fprintf(out, ",\"event\":\"pause\"");
		return;
	case KVMI_VCPU_EVENT_HYPERCALL:
		fprintf(out, ",\"event\":\"hypercall\",\"rax\":\"%#llx\",\"rcx\":\"%#llx\"",
			ull(r->rax), ull(r->rcx));
		fprintf(out, ",\"rdx\":\"%#llx\",\"rsi\":\"%#llx\",\"r8\":\"%#llx\"",
			ull(r->rdx), ull(r->rsi), ull(r->r8));
		return;
	case KVMI_VCPU_EVENT_BREAKPOINT:
		fprintf(out, ",\"event\":\"breakpoint\",\"length\":%u",
			event->breakpoint.insn_len);
		if (event->breakpoint.gpa != UNMAPPED)
			fprintf(out, ",\"gpa\":\"%#llx\"", ull(event->breakpoint.gpa));
		return;
	case KVMI_VCPU_EVENT_TRAP:
		fprintf(out, ",\"event\":\"trap\",\"vector\":%u,\"name\":", event->trap.nr);
		json_string(out, exception_name(event->trap.nr, buf));
		fprintf(out, ",\"error_code\":%u,\"address\":\"%#llx\",\"fault\":%s",
			event->trap.error_code, ull(event->trap.address),
			event->trap.flags & KVMI_TRAP_RETRY ? "true" : "false");
		return;
	case KVMI_VCPU_EVENT_DESCRIPTOR:
		fprintf(out, ",\"event\":\"descriptor\",\"instruction\":\"%s\",\"write\":%s",
			descriptor_insn(&event->descriptor),
			event->descriptor.write ? "true" : "false");
		return;
	case KVMI_VCPU_EVENT_CPUID:
		fprintf(out, ",\"event\":\"cpuid\",\"leaf\":\"%#x\",\"subleaf\":\"%#x\"",
			event->cpuid.function, event->cpuid.index);
		return;
	case KVMI_VCPU_EVENT_PF:
		fprintf(out, ",\"event\":\"pf\",\"access\":\"%s\",\"gpa\":\"%#llx\"",
			access_name(event->pf.access), ull(event->pf.gpa));
		if (event->pf.gva != UNMAPPED)
			fprintf(out, ",\"gva\":\"%#llx\"", ull(event->pf.gva));
		if (event->pf.flags & KVMI_PF_AGAIN)
			fprintf(out, ",\"again\":true");
		if (event->pf.flags & KVMI_PF_DELIVERY)
			fprintf(out, ",\"delivery\":true");
		return;
	case KVMI_VCPU_EVENT_ACCESS:
		fprintf(out, ",\"event\":\"access\",\"access\":\"%s\",\"gpa\":\"%#llx\"",
			access_name(event->access.access), ull(event->access.gpa));
		fprintf(out, ",\"data\":\"");
		for (i = 0; i < event->access.size && i < sizeof(event->access.data); i++)
			fprintf(out, "%02x", event->access.data[i]);
		fprintf(out, "\"");
		return;
	case KVMI_VCPU_EVENT_SINGLESTEP:
		fprintf(out, ",\"event\":\"singlestep\",\"failed\":%s",
			event->singlestep.failed ? "true" : "false");
		return;
	case KVMI_VCPU_EVENT_CREATE_VCPU:
		fprintf(out, ",\"event\":\"create-vcpu\"");
		return;
	default:
		json_change(out, event);
	}
}

/* After who_look() */
void json_event(FILE *out, struct tool *tool, const struct kint_event *event,
		const char *verdict)
{
	const struct kvmi_vcpu_event_arch *arch = &event->common.arch;

	fprintf(out, "{\"time\":%.6f,\"vcpu\":%u", session_seconds(tool), event->common.vcpu);
	json_who(out);
	json_data(out, event);
	fprintf(out, ",\"rip\":\"%#llx\",\"cr3\":\"%#llx\",\"cpl\":%u,\"mode\":%u",
		ull(arch->regs.rip), ull(arch->sregs.cr3), arch->sregs.ss.dpl,
		mode_bits(arch->mode));
	fprintf(out, ",\"smm\":%s,\"view\":%u", arch->as_id ? "true" : "false", arch->view);
	if (verdict)
		fprintf(out, ",\"verdict\":\"%s\"", verdict);
	fprintf(out, "}\n");
}

/* From here on all of it is guarded, protected, or will stop */
void json_armed(FILE *out, const struct tool *tool)
{
	fprintf(out, "{\"time\":%.6f,\"event\":\"armed\",\"vcpus\":%u}\n", session_seconds(tool),
		tool->vcpus);
}

void json_end(FILE *out, const struct tool *tool, const char *why)
{
	fprintf(out, "{\"time\":%.6f,\"event\":\"end\",\"reason\":", session_seconds(tool));
	json_string(out, why);
	fprintf(out, "}\n");
}
