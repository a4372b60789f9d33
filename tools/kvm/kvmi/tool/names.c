// SPDX-License-Identifier: GPL-2.0-only
/*
 * Names of commands, events, actions and exceptions.
 */
#include <string.h>
#include <strings.h>
#include "tool.h"

const struct id_name command_names[] = {
	{ KVMI_GET_VERSION, "GET_VERSION" },
	{ KVMI_VM_CHECK_COMMAND, "VM_CHECK_COMMAND" },
	{ KVMI_VM_CHECK_EVENT, "VM_CHECK_EVENT" },
	{ KVMI_VM_GET_INFO, "VM_GET_INFO" },
	{ KVMI_VM_CONTROL_EVENTS, "VM_CONTROL_EVENTS" },
	{ KVMI_VM_READ_PHYSICAL, "VM_READ_PHYSICAL" },
	{ KVMI_VM_WRITE_PHYSICAL, "VM_WRITE_PHYSICAL" },
	{ KVMI_VM_PAUSE_VCPU, "VM_PAUSE_VCPU" },
	{ KVMI_VM_CONTROL_CLEANUP, "VM_CONTROL_CLEANUP" },
	{ KVMI_VM_SET_PAGE_ACCESS, "VM_SET_PAGE_ACCESS" },
	{ KVMI_VM_GET_FEATURES, "VM_GET_FEATURES" },
	{ KVMI_VM_GET_MAX_GFN, "VM_GET_MAX_GFN" },
	{ KVMI_VM_GET_MEMSLOTS, "VM_GET_MEMSLOTS" },
	{ KVMI_VM_GET_PAGE_ACCESS, "VM_GET_PAGE_ACCESS" },
	{ KVMI_VM_PAUSE_ALL, "VM_PAUSE_ALL" },
	{ KVMI_VM_SHUTDOWN, "VM_SHUTDOWN" },
	{ KVMI_VM_CREATE_VIEW, "VM_CREATE_VIEW" },
	{ KVMI_VM_DESTROY_VIEW, "VM_DESTROY_VIEW" },
	{ KVMI_VM_CHANGE_GFN, "VM_CHANGE_GFN" },
	{ KVMI_VM_SET_RULES, "VM_SET_RULES" },
	{ KVMI_VM_GET_RULES, "VM_GET_RULES" },
	{ KVMI_VM_LIST_PAGE_ACCESS, "VM_LIST_PAGE_ACCESS" },
	{ KVMI_VM_LIST_CHANGED_GFNS, "VM_LIST_CHANGED_GFNS" },
	{ KVMI_VM_LIST_VIEWS, "VM_LIST_VIEWS" },
	{ KVMI_VM_GET_VCPUS, "VM_GET_VCPUS" },
	{ KVMI_VCPU_GET_INFO, "VCPU_GET_INFO" },
	{ KVMI_VCPU_CONTROL_EVENTS, "VCPU_CONTROL_EVENTS" },
	{ KVMI_VCPU_GET_REGISTERS, "VCPU_GET_REGISTERS" },
	{ KVMI_VCPU_SET_REGISTERS, "VCPU_SET_REGISTERS" },
	{ KVMI_VCPU_GET_CPUID, "VCPU_GET_CPUID" },
	{ KVMI_VCPU_CONTROL_CR, "VCPU_CONTROL_CR" },
	{ KVMI_VCPU_INJECT_EXCEPTION, "VCPU_INJECT_EXCEPTION" },
	{ KVMI_VCPU_GET_XCR, "VCPU_GET_XCR" },
	{ KVMI_VCPU_GET_XSAVE, "VCPU_GET_XSAVE" },
	{ KVMI_VCPU_SET_XSAVE, "VCPU_SET_XSAVE" },
	{ KVMI_VCPU_GET_MTRR_TYPE, "VCPU_GET_MTRR_TYPE" },
	{ KVMI_VCPU_CONTROL_MSR, "VCPU_CONTROL_MSR" },
	{ KVMI_VCPU_CONTROL_SINGLESTEP, "VCPU_CONTROL_SINGLESTEP" },
	{ KVMI_VCPU_TRANSLATE_GVA, "VCPU_TRANSLATE_GVA" },
	{ KVMI_VCPU_SET_VIEW, "VCPU_SET_VIEW" },
	{ KVMI_VCPU_GET_VIEW, "VCPU_GET_VIEW" },
	{ KVMI_VCPU_CONTROL_EVENT_SET, "VCPU_CONTROL_EVENT_SET" },
	{ KVMI_VCPU_GET_XSAVE2, "VCPU_GET_XSAVE2" },
	{ KVMI_VCPU_SET_XSAVE2, "VCPU_SET_XSAVE2" },
	{ KVMI_VCPU_GET_CONTROL, "VCPU_GET_CONTROL" },
	{ KVMI_VCPU_GET_DEBUGREGS, "VCPU_GET_DEBUGREGS" },
	{ KVMI_VCPU_SET_DEBUGREGS, "VCPU_SET_DEBUGREGS" },
	{ 0, NULL }
};

const struct id_name event_names[] = {
	{ KVMI_VM_EVENT_UNHOOK, "UNHOOK" },
	{ KVMI_VCPU_EVENT_PAUSE, "PAUSE" },
	{ KVMI_VCPU_EVENT_HYPERCALL, "HYPERCALL" },
	{ KVMI_VCPU_EVENT_BREAKPOINT, "BREAKPOINT" },
	{ KVMI_VCPU_EVENT_CR, "CR" },
	{ KVMI_VCPU_EVENT_TRAP, "TRAP" },
	{ KVMI_VCPU_EVENT_XSETBV, "XSETBV" },
	{ KVMI_VCPU_EVENT_DESCRIPTOR, "DESCRIPTOR" },
	{ KVMI_VCPU_EVENT_MSR, "MSR" },
	{ KVMI_VCPU_EVENT_PF, "PF" },
	{ KVMI_VCPU_EVENT_SINGLESTEP, "SINGLESTEP" },
	{ KVMI_VCPU_EVENT_CPUID, "CPUID" },
	{ KVMI_VCPU_EVENT_ACCESS, "ACCESS" },
	{ KVMI_VCPU_EVENT_CREATE_VCPU, "CREATE_VCPU" },
	{ 0, NULL }
};

const char *event_name(uint16_t id)
{
	const struct id_name *n;

	for (n = event_names; n->name; n++)
		if (n->id == id)
			return n->name;
	return "unknown";
}

/* "cpuid", "create-vcpu" */
bool parse_event_name(const char *text, size_t len, uint16_t *id)
{
	const struct id_name *n;
	size_t i;

	for (n = event_names; n->name; n++) {
		for (i = 0; i < len && n->name[i]; i++)
			if ((text[i] == '-' ? '_' : text[i] & ~0x20) != n->name[i])
				break;
		if (i != len || n->name[i])
			continue;
		*id = n->id;
		return true;
	}
	return false;
}

static const struct {
	const char *name;
	bool has_code;
} exceptions[NR_EXCEPTIONS] = {
	[0] = { "#DE", false }, [1] = { "#DB", false }, [2] = { "NMI", false },
	[3] = { "#BP", false }, [4] = { "#OF", false }, [5] = { "#BR", false },
	[6] = { "#UD", false }, [7] = { "#NM", false }, [8] = { "#DF", true },
	[10] = { "#TS", true }, [11] = { "#NP", true }, [12] = { "#SS", true },
	[13] = { "#GP", true }, [14] = { "#PF", true }, [16] = { "#MF", false },
	[17] = { "#AC", true }, [18] = { "#MC", false }, [19] = { "#XM", false },
	[20] = { "#VE", false }, [21] = { "#CP", true }, [28] = { "#HV", false },
	[29] = { "#VC", true }, [30] = { "#SX", true },
};

const char *exception_name(unsigned int nr, char buf[16])
{
	if (nr < NR_EXCEPTIONS && exceptions[nr].name)
		return exceptions[nr].name;
	snprintf(buf, 16, "vector %u", nr);
	return buf;
}

bool exception_has_code(unsigned int nr)
{
	return nr < NR_EXCEPTIONS && exceptions[nr].has_code;
}

/* "PF", "#PF" or 14 */
bool parse_exception(const char *text, uint8_t *nr)
{
	const char *name;
	uint64_t value;
	unsigned int i;

	if (parse_number(text, &value)) {
		*nr = value;
		return value < NR_EXCEPTIONS;
	}
	if (*text == '#')
		text++;
	for (i = 0; i < NR_EXCEPTIONS; i++) {
		name = exceptions[i].name;
		if (!name || strcasecmp(text, *name == '#' ? name + 1 : name))
			continue;
		*nr = i;
		return true;
	}
	return false;
}
