// SPDX-License-Identifier: GPL-2.0-only
/*
 * A device manager, a kernel and a guest, pretended, for the tests of libkvmi.
 */
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <kint/libkint.h>
#include "compat_vm.h"
#include "peer.h"

#define VCPUS 2
#define RAM_END 0x4000000
#define RIP 0xffffffff81000000
#define WAIT_US 10000
#define WAITS 1000

bool vm_no_exec_only;
int vm_rules_error = -1000;
bool vm_view_left, vm_no_access_events;

struct vm {
	int sock;
	pthread_t thread;
	pthread_mutex_t lock;		/* of the rest, and of what is sent */
	uint32_t seq;
	bool unstarted[VCPUS], stopped[VCPUS];
	unsigned int owed[VCPUS];	/* PAUSE events */
	uint16_t view[VCPUS];
	uint16_t views;
	bool view_left;
	uint8_t access[16];		/* of the first pages, in view 0 */
	unsigned int storm, answers;	/* see vm_storm() */
	char log[65536];
	size_t size;
};

static void say(struct vm *vm, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vm->size += vsnprintf(vm->log + vm->size, sizeof(vm->log) - vm->size, format, ap);
	va_end(ap);
	if (vm->size >= sizeof(vm->log))
		abort();
}

static void send_event(struct vm *vm, uint16_t vcpu, uint16_t id, const void *data, size_t size)
{
	struct {
		struct kvmi_event_hdr hdr;
		struct kvmi_vcpu_event common;
		unsigned char data[64];
	} ev = {
		.hdr = { .event = id },
		.common = { .size = sizeof(ev.common), .vcpu = vcpu, .cookie = 1 },
	};

	ev.common.arch.mode = KVMI_X86_MODE_64;
	ev.common.arch.as_id = 1;
	ev.common.arch.view = vm->view[vcpu];
	ev.common.arch.regs.rip = RIP;
	ev.common.arch.sregs.cr3 = 0x1000 + vcpu;
	ev.common.arch.msrs.lstar = 0x1234;
	if (size)
		memcpy(ev.data, data, size);
	peer_send(vm->sock, KVMI_VCPU_EVENT, ++vm->seq, &ev,
		  sizeof(ev.hdr) + sizeof(ev.common) + size);
}

static void pause_events(struct vm *vm, uint16_t vcpu)
{
	while (!vm->unstarted[vcpu] && !vm->stopped[vcpu] && vm->owed[vcpu]) {
		vm->owed[vcpu]--;
		send_event(vm, vcpu, KVMI_VCPU_EVENT_PAUSE, NULL, 0);
	}
}

static const char *name_of(uint16_t id)
{
	switch (id) {
	case KVMI_VCPU_EVENT_PAUSE: return "PAUSE";
	case KVMI_VCPU_EVENT_BREAKPOINT: return "BREAKPOINT";
	case KVMI_VCPU_EVENT_CR: return "CR";
	case KVMI_VCPU_EVENT_TRAP: return "TRAP";
	case KVMI_VCPU_EVENT_MSR: return "MSR";
	case KVMI_VCPU_EVENT_PF: return "PF";
	case KVMI_VCPU_EVENT_SINGLESTEP: return "SINGLESTEP";
	case KVMI_VCPU_EVENT_ACCESS: return "ACCESS";
	case KVMI_VCPU_EVENT_CPUID: return "CPUID";
	case KVMI_VCPU_EVENT_DESCRIPTOR: return "DESCRIPTOR";
	default: return "?";
	}
}

/* There is room for them in the socket, and libkint does not read all of them at once */
#define STORM_BEGIN 60

static void trap_events(struct vm *vm, unsigned int n)
{
	struct kvmi_vcpu_event_trap data = { .nr = 14 };

	for (; n && vm->storm > 1; n--, vm->storm--)
		send_event(vm, 0, KVMI_VCPU_EVENT_TRAP, &data, sizeof(data));
}

void vm_storm(struct vm *vm, unsigned int n)
{
	pthread_mutex_lock(&vm->lock);
	vm->storm = n + 1;
	trap_events(vm, STORM_BEGIN);
	pthread_mutex_unlock(&vm->lock);
}

unsigned int vm_storm_answers(struct vm *vm)
{
	unsigned int n;

	/* Those that are under way */
	usleep(5 * WAIT_US);
	pthread_mutex_lock(&vm->lock);
	n = vm->answers;
	pthread_mutex_unlock(&vm->lock);
	return n;
}

static void event_reply(struct vm *vm, const struct peer_msg *msg)
{
	static const char *const actions[] = { "ALLOW", "RETRY", "CRASH", "SKIP" };
	const struct kvmi_vcpu_event_reply *r = (const void *)(msg->data + 8);
	const unsigned char *data = msg->data + 16;
	size_t size = msg->hdr.size - 16, i;
	uint64_t value;

	if (vm->storm) {
		vm->answers++;
		trap_events(vm, 1);
		return;
	}
	say(vm, "reply %u %s %s", msg->data[0], name_of(r->event), actions[r->action & 3]);
	if (r->event == KVMI_VCPU_EVENT_CR && size == 8) {
		memcpy(&value, data, sizeof(value));
		say(vm, " %#llx", (unsigned long long)value);
	} else if (r->event == KVMI_VCPU_EVENT_PF && size) {
		say(vm, " flags %u", data[0]);
	} else if (r->event == KVMI_VCPU_EVENT_ACCESS && size) {
		say(vm, " '");
		for (i = 0; i < size && data[i]; i++)
			say(vm, "%c", data[i]);
		say(vm, "'");
	}
	say(vm, "\n");
}

static void vm_command(struct vm *vm, const struct peer_msg *msg)
{
	const unsigned char *d = msg->data;
	const struct kvmi_vm_read_physical *mem = (const void *)d;
	const struct kvmi_vm_set_page_access *access = (const void *)d;
	const struct kvmi_vm_change_gfn *gfn = (const void *)d;
	const struct kvmi_vm_get_page_access *get;
	struct kvmi_vm_get_info_reply info = { .vcpu_count = VCPUS, .address_spaces = 1 };
	struct kvmi_vm_get_features_reply f = {
		.commands = { ~0ull }, .events = ~0ull, .access = 7, .actions = 15,
		.address_spaces = 1, .views = 7,
		.flags = KVMI_FEATURE_SINGLESTEP | (vm_no_exec_only ? 0 : KVMI_FEATURE_EXEC_ONLY),
	};
	struct kvmi_vm_create_view_reply created = { 0 };
	struct kvmi_vm_get_max_gfn_reply end = { .gfn = 0x100000 };
	struct {
		struct kvmi_vm_list_views_reply hdr;
		struct kvmi_view_info views[2];
	} list = { .hdr = { .count = 1 + vm->view_left }, .views = { [1] = { .view = 3 } } };
	unsigned char bytes[4096];
	unsigned int i;
	int err = 0;

	switch (msg->hdr.id) {
	case KVMI_GET_VERSION:
		peer_version(vm->sock, msg);
		return;
	case KVMI_VM_GET_INFO:
		peer_reply(vm->sock, msg, 0, &info, sizeof(info));
		return;
	case KVMI_VM_GET_FEATURES:
		peer_reply(vm->sock, msg, 0, &f, sizeof(f));
		return;
	case KVMI_VM_GET_MAX_GFN:
		peer_reply(vm->sock, msg, 0, &end, sizeof(end));
		return;
	case KVMI_VM_CHECK_COMMAND:
	case KVMI_VM_CHECK_EVENT:
		err = d[0] == KVMI_VM_WRITE_PHYSICAL || d[0] == KVMI_VCPU_EVENT_XSETBV ? -EPERM : 0;
		break;
	case KVMI_VM_CONTROL_EVENTS:
		say(vm, "VM event %u %s\n", d[0], d[2] ? "on" : "off");
		break;
	case KVMI_VM_READ_PHYSICAL:
		if (mem->gpa >= RAM_END) {
			err = -ENOENT;
			break;
		}
		memset(bytes, mem->gpa >> 12, mem->size);
		peer_reply(vm->sock, msg, 0, bytes, mem->size);
		return;
	case KVMI_VM_WRITE_PHYSICAL:
		say(vm, "write %#llx %u\n", (unsigned long long)mem->gpa, mem->size);
		break;
	case KVMI_VM_PAUSE_VCPU:
		say(vm, "pause %u%s\n", d[0], d[2] ? " wait" : "");
		vm->owed[d[0]]++;
		peer_reply(vm->sock, msg, 0, NULL, 0);
		pause_events(vm, d[0]);
		return;
	case KVMI_VM_SHUTDOWN:
		say(vm, "shutdown\n");
		break;
	case KVMI_VM_SET_PAGE_ACCESS:
		for (i = 0; i < access->count; i++)
			if (!access->view && access->entries[i].gpa < sizeof(vm->access) * 4096)
				vm->access[access->entries[i].gpa / 4096] =
					access->entries[i].access;
		for (i = 0; i < access->count; i++)
			say(vm, "access %u %#llx %u\n", access->view,
			    (unsigned long long)access->entries[i].gpa, access->entries[i].access);
		break;
	case KVMI_VM_GET_PAGE_ACCESS:
		get = (const void *)d;
		bytes[0] = get->gpa[0] / 4096 < sizeof(vm->access) && !get->view ?
			   vm->access[get->gpa[0] / 4096] : 7;
		peer_reply(vm->sock, msg, 0, bytes, 1);
		return;
	case KVMI_VM_CREATE_VIEW:
		created.view = ++vm->views;
		peer_reply(vm->sock, msg, 0, &created, sizeof(created));
		return;
	case KVMI_VM_DESTROY_VIEW:
		for (i = 0; i < VCPUS && vm->view[i] != d[0]; i++)
			;
		if (i < VCPUS && vm->view_left) {
			err = -EBUSY;
			break;
		}
		say(vm, "destroy %u\n", d[0]);
		if (d[0] == 3)
			vm->view_left = false;
		break;
	case KVMI_VM_LIST_VIEWS:
		peer_reply(vm->sock, msg, 0, &list,
			   sizeof(list.hdr) + list.hdr.count * sizeof(list.views[0]));
		return;
	case KVMI_VM_CHANGE_GFN:
		say(vm, "view %u %#llx shows %#llx\n", gfn->view, (unsigned long long)gfn->gfn,
		    (unsigned long long)gfn->new_gfn);
		break;
	case KVMI_VM_GET_RULES:
		err = vm_rules_error;
		break;
	default:
		say(vm, "command %u\n", msg->hdr.id);
		err = -1000;
	}
	peer_reply(vm->sock, msg, err, NULL, 0);
}

static void vcpu_command(struct vm *vm, const struct peer_msg *msg)
{
	const unsigned char *d = msg->data + sizeof(struct kvmi_vcpu_hdr);
	const struct kvmi_vcpu_get_registers *get = (const void *)d;
	const struct kvmi_vcpu_control_msr *msr = (const void *)d;
	const struct kvm_regs *regs = (const void *)d;
	struct kvmi_vcpu_get_info_reply info = { .tsc_speed = 2000000000 };
	struct kvmi_vcpu_get_cpuid_reply cpuid = { 1, 2, 3, 4 };
	struct kvmi_vcpu_get_view_reply view = { 0 };
	struct kvmi_vcpu_get_mtrr_type_reply mtrr = { .type = 6 };
	struct kvmi_vcpu_get_xcr_reply xcr = { .value = 7 };
	struct kvmi_vcpu_translate_gva_reply gpa = { .gpa = d[0] ? ~0ull : 0x5000 };
	struct {
		struct kvmi_vcpu_get_registers_reply r;
		struct kvm_msr_entry e[16];
	} out = { .r = { .mode = 8 } };
	struct {
		struct kvmi_vcpu_get_xsave2_reply r;
		unsigned char data[600];
	} xsave = { .r = { .total = 600 } };
	unsigned int vcpu = msg->data[0], i;
	int err = 0;

	if (vcpu >= VCPUS || vm->unstarted[vcpu]) {
		peer_reply(vm->sock, msg, vcpu >= VCPUS ? -EINVAL : -EAGAIN, NULL, 0);
		return;
	}
	if (vm->stopped[vcpu])
		return;
	switch (msg->hdr.id) {
	case KVMI_VCPU_GET_INFO:
		peer_reply(vm->sock, msg, 0, &info, sizeof(info));
		return;
	case KVMI_VCPU_CONTROL_EVENTS:
		if (d[0] == KVMI_VCPU_EVENT_ACCESS && vm_no_access_events) {
			err = -EPERM;
			break;
		}
		say(vm, "event %u %s %s\n", vcpu, name_of(d[0]), d[2] ? "on" : "off");
		break;
	case KVMI_VCPU_CONTROL_CR:
		say(vm, "cr %u %u %s\n", vcpu, d[0], d[1] ? "on" : "off");
		break;
	case KVMI_VCPU_CONTROL_MSR:
		say(vm, "msr %u %#x %s\n", vcpu, msr->msr, msr->enable ? "on" : "off");
		break;
	case KVMI_VCPU_CONTROL_SINGLESTEP:
		say(vm, "step %u %s\n", vcpu, d[0] ? "on" : "off");
		break;
	case KVMI_VCPU_SET_REGISTERS:
		say(vm, "registers %u rip %#llx\n", vcpu, (unsigned long long)regs->rip);
		break;
	case KVMI_VCPU_INJECT_EXCEPTION:
		say(vm, "inject %u vector %u\n", vcpu, d[0]);
		break;
	case KVMI_VCPU_SET_VIEW:
		say(vm, "view of %u is %u\n", vcpu, d[0]);
		vm->view[vcpu] = d[0];
		break;
	case KVMI_VCPU_GET_VIEW:
		view.view = vm->view[vcpu];
		peer_reply(vm->sock, msg, 0, &view, sizeof(view));
		return;
	case KVMI_VCPU_GET_REGISTERS:
		out.r.regs.rip = RIP;
		out.r.sregs.cr3 = 0x1000 + vcpu;
		out.r.msrs.nmsrs = get->nmsrs;
		for (i = 0; i < get->nmsrs; i++) {
			out.e[i].index = get->msrs_idx[i];
			out.e[i].data = get->msrs_idx[i] + 1ull;
		}
		peer_reply(vm->sock, msg, 0, &out, sizeof(out.r) + get->nmsrs * sizeof(out.e[0]));
		return;
	case KVMI_VCPU_GET_CPUID:
		peer_reply(vm->sock, msg, 0, &cpuid, sizeof(cpuid));
		return;
	case KVMI_VCPU_GET_MTRR_TYPE:
		peer_reply(vm->sock, msg, 0, &mtrr, sizeof(mtrr));
		return;
	case KVMI_VCPU_GET_XCR:
		peer_reply(vm->sock, msg, 0, &xcr, sizeof(xcr));
		return;
	case KVMI_VCPU_TRANSLATE_GVA:
		peer_reply(vm->sock, msg, 0, &gpa, sizeof(gpa));
		return;
	case KVMI_VCPU_GET_XSAVE2:
		memset(xsave.data, 0x77, sizeof(xsave.data));
		peer_reply(vm->sock, msg, 0, &xsave, sizeof(xsave));
		return;
	case KVMI_VCPU_SET_XSAVE2:
		say(vm, "xsave %u %zu bytes\n", vcpu, msg->hdr.size - sizeof(struct kvmi_vcpu_hdr) -
		    sizeof(struct kvmi_vcpu_set_xsave2));
		break;
	default:
		say(vm, "command %u\n", msg->hdr.id);
		err = -1000;
	}
	peer_reply(vm->sock, msg, err, NULL, 0);
}

static void *serve(void *arg)
{
	struct vm *vm = arg;
	struct peer_msg msg;

	while (peer_receive(vm->sock, &msg)) {
		pthread_mutex_lock(&vm->lock);
		if (msg.hdr.id == KVMI_VCPU_EVENT)
			event_reply(vm, &msg);
		else if (msg.hdr.id & 1)
			vcpu_command(vm, &msg);
		else
			vm_command(vm, &msg);
		pthread_mutex_unlock(&vm->lock);
	}
	pthread_mutex_lock(&vm->lock);
	say(vm, "closed\n");
	pthread_mutex_unlock(&vm->lock);
	return NULL;
}

struct vm *vm_connect(const char *path, const char *name)
{
	struct intro greeting = {
		.struct_size = sizeof(greeting), .start_time = 1000, .max_gpa = RAM_END,
		.tool_gpa = RAM_END, .tool_size = 3 * 4096,
	};
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	struct vm *vm = calloc(1, sizeof(*vm));
	unsigned char answer[24];
	int i;

	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path);
	snprintf(greeting.name, sizeof(greeting.name), "%s", name);
	memset(greeting.uuid, 0x5a, sizeof(greeting.uuid));
	pthread_mutex_init(&vm->lock, NULL);
	vm->sock = socket(AF_UNIX, SOCK_STREAM, 0);
	for (i = 0; connect(vm->sock, (struct sockaddr *)&sun, sizeof(sun)); i++) {
		if (i == WAITS)
			abort();
		usleep(WAIT_US);
	}
	peer_write(vm->sock, &greeting, sizeof(greeting));
	if (peer_read(vm->sock, answer, sizeof(answer)) && answer[4])
		say(vm, "hash %02x\n", answer[4]);
	memset(vm->access, 7, sizeof(vm->access));
	vm->view_left = vm_view_left;
	for (i = 0; i < VCPUS && vm_view_left; i++)
		vm->view[i] = 3;
	if (vm_view_left)
		vm_breakpoint(vm, 0);
	if (pthread_create(&vm->thread, NULL, serve, vm))
		abort();
	return vm;
}

void vm_disconnect(struct vm *vm)
{
	shutdown(vm->sock, SHUT_RDWR);
	pthread_join(vm->thread, NULL);
	close(vm->sock);
	pthread_mutex_destroy(&vm->lock);
	free(vm);
}

void vm_unstarted(struct vm *vm, unsigned int vcpu)
{
	pthread_mutex_lock(&vm->lock);
	vm->unstarted[vcpu] = true;
	pthread_mutex_unlock(&vm->lock);
}

void vm_stopped(struct vm *vm, unsigned int vcpu)
{
	pthread_mutex_lock(&vm->lock);
	vm->stopped[vcpu] = true;
	pthread_mutex_unlock(&vm->lock);
}

void vm_run(struct vm *vm, unsigned int vcpu)
{
	pthread_mutex_lock(&vm->lock);
	vm->unstarted[vcpu] = false;
	vm->stopped[vcpu] = false;
	pause_events(vm, vcpu);
	pthread_mutex_unlock(&vm->lock);
}

static void happen(struct vm *vm, unsigned int vcpu, uint16_t id, const void *data, size_t size)
{
	pthread_mutex_lock(&vm->lock);
	send_event(vm, vcpu, id, data, size);
	pthread_mutex_unlock(&vm->lock);
}

void vm_cr(struct vm *vm, unsigned int vcpu, unsigned int cr, uint64_t value, bool done)
{
	struct kvmi_vcpu_event_cr data = {
		.cr = cr, .flags = done ? KVMI_CHANGE_DONE : 0, .old_value = 1, .new_value = value,
	};

	happen(vm, vcpu, KVMI_VCPU_EVENT_CR, &data, sizeof(data));
}

void vm_breakpoint(struct vm *vm, unsigned int vcpu)
{
	struct kvmi_vcpu_event_breakpoint data = { .gpa = 0x3000, .insn_len = 1 };

	happen(vm, vcpu, KVMI_VCPU_EVENT_BREAKPOINT, &data, sizeof(data));
}

void vm_pf(struct vm *vm, unsigned int vcpu, uint64_t gva, uint64_t gpa, unsigned int access,
	   bool not_emulated)
{
	struct kvmi_vcpu_event_pf data = {
		.gva = gva, .gpa = gpa, .access = access, .view = vm->view[vcpu],
		.flags = not_emulated ? KVMI_PF_NOT_EMULATED : 0,
	};

	happen(vm, vcpu, KVMI_VCPU_EVENT_PF, &data, sizeof(data));
}

void vm_access(struct vm *vm, unsigned int vcpu, uint64_t gva, uint64_t gpa, bool write,
	       const char *text)
{
	struct kvmi_vcpu_event_access data = {
		.gva = gva, .gpa = gpa, .access = write ? KVMI_PAGE_ACCESS_W : KVMI_PAGE_ACCESS_R,
		.size = strlen(text),
	};

	memcpy(data.data, text, strlen(text));
	happen(vm, vcpu, KVMI_VCPU_EVENT_ACCESS, &data, sizeof(data));
}

void vm_trap(struct vm *vm, unsigned int vcpu, unsigned int vector)
{
	struct kvmi_vcpu_event_trap data = {
		.nr = vector, .error_code = 6, .address = 0x99, .flags = KVMI_TRAP_RETRY,
	};

	happen(vm, vcpu, KVMI_VCPU_EVENT_TRAP, &data, sizeof(data));
}

void vm_singlestep(struct vm *vm, unsigned int vcpu)
{
	struct kvmi_vcpu_event_singlestep data = { 0 };

	happen(vm, vcpu, KVMI_VCPU_EVENT_SINGLESTEP, &data, sizeof(data));
}

void vm_unhook(struct vm *vm)
{
	struct kvmi_event_hdr hdr = { .event = KVMI_VM_EVENT_UNHOOK };

	pthread_mutex_lock(&vm->lock);
	peer_send(vm->sock, KVMI_VM_EVENT, ++vm->seq, &hdr, sizeof(hdr));
	pthread_mutex_unlock(&vm->lock);
}

unsigned int vm_count(struct vm *vm, const char *text)
{
	unsigned int n = 0;
	const char *at;

	pthread_mutex_lock(&vm->lock);
	for (at = strstr(vm->log, text); at; at = strstr(at + 1, text))
		n++;
	pthread_mutex_unlock(&vm->lock);
	return n;
}

bool vm_saw(struct vm *vm, const char *text)
{
	int i;

	for (i = 0; i < WAITS; i++) {
		if (vm_count(vm, text))
			return true;
		usleep(WAIT_US);
	}
	return false;
}

bool vm_order(struct vm *vm, const char *first, const char *then)
{
	const char *a, *b;

	pthread_mutex_lock(&vm->lock);
	a = strstr(vm->log, first);
	b = strstr(vm->log, then);
	pthread_mutex_unlock(&vm->lock);
	return a && b && a < b;
}

void vm_forget(struct vm *vm)
{
	pthread_mutex_lock(&vm->lock);
	vm->size = 0;
	vm->log[0] = 0;
	pthread_mutex_unlock(&vm->lock);
}

void vm_print(struct vm *vm)
{
	pthread_mutex_lock(&vm->lock);
	printf("# VM: %s\n", vm->log);
	pthread_mutex_unlock(&vm->lock);
}
