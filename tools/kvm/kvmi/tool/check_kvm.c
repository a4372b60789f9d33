// SPDX-License-Identifier: GPL-2.0-only
/*
 * kvmi check: processor, kernel, and what the parameters of KVM's modules leave of it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <linux/kvm.h>
#include "check.h"

/* The kernel's headers that the tool was built with may be those of any kernel */
#ifndef KVM_CAP_INTROSPECTION
#define KVM_CAP_INTROSPECTION 252
#endif

struct host {
	struct check *check;
	char *flags, *vmx_flags;	/* lines of /proc/cpuinfo, or NULL */
	char release[128];		/* of the kernel */
	bool intel, amd;
	const char *module;		/* kvm_intel or kvm_amd */
	bool module_loaded;
	int kvm_fd, kvm_errno;
};

enum state { ABSENT, OFF, ON };

/* A boolean parameter of a module, of type bool or int */
static enum state parameter(const struct host *h, const char *module, const char *name)
{
	FILE *file = fopen(check_path(h->check, "/sys/module/%s/parameters/%s", module, name),
			   "r");
	int c;

	if (!file)
		return ABSENT;
	c = fgetc(file);
	fclose(file);
	return c == 'Y' || c == 'y' || (c >= '1' && c <= '9') ? ON : OFF;
}

static bool has_module(const struct host *h, const char *name)
{
	return !access(check_path(h->check, "/sys/module/%s", name), F_OK);
}

/* Is @word in a line like "flags : fpu vme"? */
static bool has_flag(const char *line, const char *word)
{
	size_t size = strlen(word);
	const char *p = line;

	while (p && (p = strstr(p, word))) {
		if (p != line && p[-1] == ' ' && (p[size] == ' ' || p[size] == '\n' || !p[size]))
			return true;
		p += size;
	}
	return false;
}

/* The flags of the first processor: those of the others are the same */
static void read_cpuinfo(struct host *h)
{
	FILE *file = fopen(check_path(h->check, "/proc/cpuinfo"), "r");
	char *line = NULL;
	size_t size = 0;

	if (!file)
		return;
	while (getline(&line, &size, file) > 0 && *line != '\n') {
		if (!strncmp(line, "flags\t", 6) && !h->flags)
			h->flags = strdup(line);
		if (!strncmp(line, "vmx flags\t", 10) && !h->vmx_flags)
			h->vmx_flags = strdup(line);
	}
	free(line);
	fclose(file);
}

static void read_release(struct host *h)
{
	FILE *file = fopen(check_path(h->check, "/proc/sys/kernel/osrelease"), "r");

	strcpy(h->release, "(unknown)");
	if (!file)
		return;
	if (fgets(h->release, sizeof(h->release), file))
		h->release[strcspn(h->release, "\n")] = '\0';
	fclose(file);
}

static void check_processor(struct host *h)
{
	h->intel = has_flag(h->flags, "vmx");
	h->amd = !h->intel && has_flag(h->flags, "svm");
	h->module = h->intel ? "kvm_intel" : h->amd ? "kvm_amd" : NULL;
	if (!h->flags)
		report(h->check, CHECK_UNKNOWN, "processor",
		       "/proc/cpuinfo has no flags: is this an x86 machine?");
	else if (!h->module)
		report(h->check, CHECK_MISSING, "processor",
		       "no VMX, no SVM: turn on virtualization in the firmware's setup (VT-x, AMD-V, SVM mode); in a VM, nested virtualization of its host");
	else
		report(h->check, CHECK_OK, "processor", "%s%s", h->intel ? "Intel VMX" : "AMD SVM",
		       has_flag(h->flags, "hypervisor") ? ", itself in a VM" : "");
}

static void check_device(struct host *h)
{
	int version;

	h->kvm_fd = open(check_path(h->check, "/dev/kvm"), O_RDWR | O_CLOEXEC);
	h->kvm_errno = h->kvm_fd < 0 ? errno : 0;
	h->module_loaded = h->module && has_module(h, h->module);
	if (h->kvm_fd >= 0) {
		version = ioctl(h->kvm_fd, KVM_GET_API_VERSION, 0);
		if (version == KVM_API_VERSION) {
			report(h->check, CHECK_OK, "KVM", "/dev/kvm%s%s",
			       h->module_loaded ? ", " : "", h->module_loaded ? h->module : "");
			return;
		}
		report(h->check, CHECK_MISSING, "KVM",
		       "/dev/kvm is not KVM's: remove it, modprobe %s", h->module ?: "kvm");
		close(h->kvm_fd);
		h->kvm_fd = -1;
		h->kvm_errno = ENODEV;
	} else if (h->kvm_errno == EACCES || h->kvm_errno == EPERM) {
		report(h->check, CHECK_UNKNOWN, "KVM",
		       "no right to open /dev/kvm: ask as root, or be in its group (kvm); QEMU has to, the tool need not");
	} else if (h->kvm_errno == ENOENT && !h->module_loaded) {
		report(h->check, CHECK_MISSING, "KVM",
		       "not loaded: modprobe %s; if it fails, dmesg says why",
		       h->module ?: "kvm_intel or kvm_amd");
	} else {
		report(h->check, CHECK_MISSING, "KVM", "/dev/kvm: %s: %s", strerror(h->kvm_errno),
		       h->kvm_errno == ENOENT ? "let udev make it, or mknod /dev/kvm c 10 232" :
		       "dmesg says why");
	}
}

/* The kernel as far as its files tell.  Returns false if that has been reported. */
static bool check_parameter(struct host *h)
{
	switch (parameter(h, "kvm", "introspection")) {
	case ON:
		return true;
	case OFF:
		report(h->check, CHECK_MISSING, "kernel",
		       "Linux %s has introspection, and it is off: boot with kvm.introspection=1, or write 'options kvm introspection=1' to /etc/modprobe.d/kvm.conf and load kvm again",
		       h->release);
		return false;
	default:
		if (has_module(h, "kvm")) {
			report(h->check, CHECK_MISSING, "kernel",
			       "Linux %s has no introspection: boot one with CONFIG_KVM_INTROSPECTION=y (make kernel)",
			       h->release);
			return false;
		}
		if (h->kvm_fd < 0) {
			report(h->check, CHECK_UNKNOWN, "kernel",
			       "Linux %s: whether it has introspection shows when KVM is loaded",
			       h->release);
			return false;
		}
		return true;	/* without /sys, KVM itself is asked */
	}
}

/* A VM of no vCPU and no memory, for a moment */
static void check_vm(struct host *h)
{
	int vm = ioctl(h->kvm_fd, KVM_CREATE_VM, 0);

	if (vm < 0) {
		report(h->check, CHECK_MISSING, "VM",
		       "KVM creates none: %s; does another hypervisor use the processor?",
		       strerror(errno));
		return;
	}
	if (ioctl(vm, KVM_CHECK_EXTENSION, KVM_CAP_INTROSPECTION) > 0)
		report(h->check, CHECK_OK, "VM", "can be created, and introspected");
	else
		report(h->check, CHECK_MISSING, "VM",
		       "KVM refuses to have a plain VM introspected");
	close(vm);
}

static void check_kernel(struct host *h)
{
	int version;

	if (!check_parameter(h))
		return;
	if (h->kvm_fd < 0) {
		report(h->check, CHECK_OK, "kernel", "Linux %s, kvm.introspection=Y", h->release);
		return;
	}
	version = ioctl(h->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_INTROSPECTION);
	if (version <= 0) {
		report(h->check, CHECK_MISSING, "kernel",
		       "KVM of Linux %s has no introspection: boot a kernel of the series with kvm.introspection=1",
		       h->release);
	} else if (version != KVMI_VERSION) {
		report(h->check, CHECK_MISSING, "kernel",
		       "Linux %s speaks version %d of the protocol, this tool version %d: take the tool that goes with the kernel",
		       h->release, version, KVMI_VERSION);
	} else {
		report(h->check, CHECK_OK, "kernel",
		       "Linux %s, introspection on, protocol version %d", h->release, version);
		check_vm(h);
	}
}

/* What can be taken away from a page depends on the hardware's page tables for guests */
static void check_page_access(struct host *h)
{
	const char *paging = h->intel ? "ept" : "npt";
	struct check *c = h->check;
	enum state mbec;
	char why[160];

	if (parameter(h, h->module, paging) == OFF) {
		report(c, CHECK_LIMIT, "page access", "%s.%s=N: no page access, no views%s: %s",
		       h->module, paging, h->intel ? "" : ", no single-stepping",
		       has_flag(h->intel ? h->vmx_flags : h->flags, paging) ?
		       "load the module without it" : "the processor lacks it");
		return;
	}
	if (parameter(h, "kvm", "tdp_mmu") == OFF) {
		report(c, CHECK_LIMIT, "page access",
		       "kvm.tdp_mmu=N: no page access, no views: boot without it");
		return;
	}
	report(c, CHECK_OK, "page access", "%swrite, execute; views", h->intel ? "read, " : "");
	if (h->amd) {
		report(c, CHECK_LIMIT, "page access",
		       "AMD's page tables cannot refuse reads alone");
		return;
	}
	if (h->vmx_flags && !has_flag(h->vmx_flags, "ept_x_only"))
		report(c, CHECK_LIMIT, "page access",
		       "the processor has no pages that can be executed and not read");
	mbec = parameter(h, h->module, "mbec");
	if (mbec == ON)
		return;
	/* Linux 6.12 has no such parameter */
	if (h->vmx_flags && !has_flag(h->vmx_flags, "ept_mode_based_exec"))
		snprintf(why, sizeof(why), "the processor cannot");
	else if (mbec == ABSENT)
		snprintf(why, sizeof(why), "KVM of Linux %s cannot", h->release);
	else
		snprintf(why, sizeof(why), "kvm_intel.mbec=N");
	report(c, CHECK_LIMIT, "page access", "execution by user and kernel is not told apart: %s",
	       why);
}

static void check_limits(struct host *h)
{
	struct check *c = h->check;

	if (!h->module_loaded)
		return;
	check_page_access(h);
	if (h->vmx_flags && !has_flag(h->vmx_flags, "mtf"))
		report(c, CHECK_LIMIT, "single-step", "the processor has no monitor trap flag");
	if (h->intel && parameter(h, h->module, "unrestricted_guest") == OFF)
		report(c, CHECK_LIMIT, "real mode",
		       "%s.unrestricted_guest=N: KVM emulates real mode, a guest's boot is slow",
		       h->module);
	if (parameter(h, h->module, "nested") == ON)
		report(c, CHECK_LIMIT, "nested",
		       "%s.nested is on: a guest that runs guests itself is not introspected; start QEMU with -cpu host,-%s",
		       h->module, h->intel ? "vmx" : "svm");
}

void check_kvm(struct check *c)
{
	struct host h = { .check = c };

	read_cpuinfo(&h);
	read_release(&h);
	check_processor(&h);
	check_device(&h);
	check_kernel(&h);
	check_limits(&h);
	if (h.kvm_fd >= 0)
		close(h.kvm_fd);
	free(h.flags);
	free(h.vmx_flags);
}
