// SPDX-License-Identifier: GPL-2.0-only
/*
 * JSON lines: one object for each line, numbers that may exceed 2^53 as
 * hexadecimal strings.
 */
#include "tool.h"

void json_string(FILE *out, const char *text)
{
	const unsigned char *p;

	fputc('"', out);
	for (p = (const unsigned char *)text; *p; p++) {
		if (*p == '"' || *p == '\\')
			fprintf(out, "\\%c", *p);
		else if (*p < 0x20 || *p >= 0x7f)
			fprintf(out, "\\u%04x", *p);
		else
			fputc(*p, out);
	}
	fputc('"', out);
}

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
	const struct kvmi_peer *peer = kvmi_peer_info(tool->conn);
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

void json_change(FILE *out, const struct tool *tool, const struct kvmi_event *event,
		 const char *verdict)
{
	const struct kvmi_vcpu_event_arch *arch = &event->common.arch;
	const struct bit_name *bits;
	unsigned long long old, new;
	char buf[16];

	fprintf(out, "{\"time\":%.6f,\"vcpu\":%u", session_seconds(tool), event->common.vcpu);
	if (event->id == KVMI_VCPU_EVENT_CR) {
		fprintf(out, ",\"event\":\"cr\",\"cr\":%u", event->cr.cr);
		old = event->cr.old_value;
		new = event->cr.new_value;
		bits = cr_bits(event->cr.cr);
	} else {
		fprintf(out, ",\"event\":\"msr\",\"msr\":\"%#x\",\"name\":", event->msr.msr);
		json_string(out, msr_name(event->msr.msr, buf));
		old = event->msr.old_value;
		new = event->msr.new_value;
		bits = msr_bits(event->msr.msr);
	}
	fprintf(out, ",\"old\":\"%#llx\",\"new\":\"%#llx\"", old, new);
	if (bits) {
		json_bits(out, "set", bits, new & ~old);
		json_bits(out, "cleared", bits, old & ~new);
	}
	fprintf(out, ",\"rip\":\"%#llx\",\"cr3\":\"%#llx\",\"cpl\":%u,\"mode\":%u",
		(unsigned long long)arch->regs.rip, (unsigned long long)arch->sregs.cr3,
		arch->sregs.ss.dpl, mode_bits(arch->mode));
	if (verdict)
		fprintf(out, ",\"verdict\":\"%s\"", verdict);
	fprintf(out, "}\n");
}

void json_end(FILE *out, const struct tool *tool, const char *why)
{
	fprintf(out, "{\"time\":%.6f,\"event\":\"end\",\"reason\":", session_seconds(tool));
	json_string(out, why);
	fprintf(out, "}\n");
}
