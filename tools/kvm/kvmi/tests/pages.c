// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pages of the tool's own
 */
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "test.h"

#define FIRST	0x1000ull	/* a page frame number */
#define N	3
#define VIEWS	4

/* What the other side knows */
static struct {
	uint8_t access[2][VIEWS][N];
	uint8_t first_byte[N];
	bool one_space;			/* system management mode has no memory */
	int get_error, set_error, write_error, access_event_error;
	unsigned int views;
	char log[4096];
	uint32_t seq;
	uint32_t pf_flags;		/* of the next PF */
	bool again;			/* RETRY has the same PF come again */
	struct kvmi_vcpu_event_pf last;
} vm;

static void say(const char *format, ...)
{
	size_t size = strlen(vm.log);
	va_list args;

	va_start(args, format);
	vsnprintf(vm.log + size, sizeof(vm.log) - size, format, args);
	va_end(args);
}

static bool said(const char *text)
{
	return strstr(vm.log, text);
}

static void send_pf(int fd, uint64_t gpa, uint8_t access)
{
	vm.last = (struct kvmi_vcpu_event_pf){
		.gva = 0x1234, .gpa = gpa, .access = access, .flags = vm.pf_flags,
	};
	peer_vcpu_event(fd, ++vm.seq, 1, KVMI_VCPU_EVENT_PF, &vm.last, sizeof(vm.last));
}

static void send_access(int fd)
{
	struct kvmi_vcpu_event_access access = {
		.gpa = vm.last.gpa, .access = vm.last.access, .size = 8, .data = "secret",
	};

	peer_vcpu_event(fd, ++vm.seq, 1, KVMI_VCPU_EVENT_ACCESS, &access, sizeof(access));
}

static void event_reply(int fd, const struct peer_msg *msg)
{
	static const char *const actions[] = { "ALLOW", "RETRY", "CRASH", "SKIP" };
	const struct kvmi_vcpu_event_reply *rpl = (const void *)(msg->data + 8);
	const unsigned char *data = msg->data + 16;
	bool traced = rpl->event == KVMI_VCPU_EVENT_PF && msg->hdr.size > 16 &&
		      data[0] & KVMI_PF_TRAP_ACCESS;

	say("%s %s%s", rpl->event == KVMI_VCPU_EVENT_PF ? "PF" : "ACCESS",
	    actions[rpl->action & 3], traced ? " traced" : "");
	if (rpl->event == KVMI_VCPU_EVENT_ACCESS && msg->hdr.size > 16)
		say(" %02x%02x", data[0], data[7]);
	say("\n");
	if (traced)
		send_access(fd);
	else if (vm.again && rpl->action == KVMI_EVENT_ACTION_RETRY)
		send_pf(fd, vm.last.gpa, vm.last.access);
}

static int set_access(const struct peer_msg *msg)
{
	const struct kvmi_vm_set_page_access *req = (const void *)msg->data;
	uint64_t i = req->entries[0].gpa / 4096 - FIRST;

	if (vm.set_error)
		return vm.set_error;
	if (req->as_id && vm.one_space)
		return -EINVAL;
	if (i >= N || req->count != 1 || req->entries[0].npages != 1 || req->view >= VIEWS)
		return -ENOMEM;
	vm.access[req->as_id][req->view][i] = req->entries[0].access;
	say("access %u %u page %llu %u\n", req->as_id, req->view, (unsigned long long)i,
	    req->entries[0].access);
	return 0;
}

static void command(int fd, const struct peer_msg *msg)
{
	const struct kvmi_vm_get_page_access *get = (const void *)msg->data;
	const struct kvmi_vm_write_physical *write = (const void *)msg->data;
	const struct kvmi_vm_change_gfn *gfn = (const void *)msg->data;
	struct kvmi_vm_get_info_reply info = { .vcpu_count = 2, .address_spaces = 2 };
	struct kvmi_vm_create_view_reply view = { 0 };
	int err = 0;

	switch (msg->hdr.id) {
	case KVMI_GET_VERSION:
		peer_version(fd, msg);
		return;
	case KVMI_VM_GET_INFO:
		peer_reply(fd, msg, 0, &info, sizeof(info));
		return;
	case KVMI_VM_GET_PAGE_ACCESS:
		peer_reply(fd, msg, vm.get_error,
			   &vm.access[0][0][(get->gpa[0] / 4096 - FIRST) % N],
			   vm.get_error ? 0 : 1);
		return;
	case KVMI_VM_SET_PAGE_ACCESS:
		err = set_access(msg);
		break;
	case KVMI_VM_WRITE_PHYSICAL:
		err = vm.write_error;
		if (err)
			break;
		vm.first_byte[(write->gpa / 4096 - FIRST) % N] = write->data[0];
		say("write page %llu %u bytes\n", (unsigned long long)(write->gpa / 4096 - FIRST),
		    write->size);
		break;
	case KVMI_VM_CREATE_VIEW:
		view.view = ++vm.views;
		memcpy(vm.access[0][view.view], vm.access[0][0], N);
		memcpy(vm.access[1][view.view], vm.access[1][0], N);
		peer_reply(fd, msg, 0, &view, sizeof(view));
		return;
	case KVMI_VM_CHANGE_GFN:
		say("view %u: %llx shows %llx\n", gfn->view, (unsigned long long)gfn->gfn,
		    (unsigned long long)gfn->new_gfn);
		break;
	case KVMI_VCPU_CONTROL_EVENTS:
		err = vm.access_event_error;
		say("event %u %s\n", msg->data[8], msg->data[10] ? "on" : "off");
		break;
	}
	peer_reply(fd, msg, err, NULL, 0);
	/* What the guest does, as the test has it */
	if (msg->hdr.id == KVMI_VM_SHUTDOWN)
		send_pf(fd, vm.last.gpa, vm.last.access);
}

static void peer_pages(int fd)
{
	struct peer_msg msg;
	uint8_t cookie[20];

	if (!peer_handshake(fd, "guest", 0x800000, cookie))
		return;
	while (peer_receive(fd, &msg)) {
		if (msg.hdr.id == KVMI_VCPU_EVENT)
			event_reply(fd, &msg);
		else
			command(fd, &msg);
	}
	say("closed\n");
}

/* A session with so much memory for the tool; what @body has not ended is ended */
static bool with_memory(uint64_t gpa, uint64_t size, bool (*body)(struct kint_conn *conn))
{
	struct kint_options opts = { .timeout_ms = TEST_TIMEOUT_MS };
	struct kint_conn *conn = NULL;
	struct script script;
	pthread_t thread;
	bool ok;
	int fd;

	memset(&vm, 0, sizeof(vm));
	memset(vm.access, KVMI_PAGE_ACCESS_RWX, sizeof(vm.access));
	memset(vm.first_byte, 0x55, sizeof(vm.first_byte));
	peer_tool_gpa = gpa;
	peer_tool_size = size;
	start(&script, &thread, peer_pages, &fd);
	last = kint_open(fd, &opts, &conn);
	peer_tool_gpa = 0;
	peer_tool_size = 0;
	ok = !last && body(conn);
	pthread_join(thread, NULL);
	return ok;
}

static bool test(bool (*body)(struct kint_conn *conn))
{
	return with_memory(FIRST * 4096, N * 4096, body);
}

static bool body_alloc(struct kint_conn *conn)
{
	uint64_t a = 0, b = 0, c = 0;

	CHECK(kint_peer_info(conn)->tool_gpa == FIRST * 4096);
	CHECK(kint_peer_info(conn)->tool_size == N * 4096);
	CHECK(kint_pages_left(conn) == N);
	CHECK(!(last = kint_next_page(conn, &a)) && a == FIRST && kint_pages_left(conn) == N);
	CHECK(!(last = kint_alloc_page(conn, &a)) && a == FIRST);
	CHECK(!vm.access[0][0][0] && !vm.access[1][0][0] && !vm.first_byte[0]);
	CHECK(strstr(vm.log, "access 0 0 page 0 0") < strstr(vm.log, "write page 0 4096"));
	CHECK(vm.access[0][0][1] == KVMI_PAGE_ACCESS_RWX);
	CHECK((last = kint_alloc_page_at(conn, FIRST)) == -EBUSY);
	CHECK((last = kint_alloc_page_at(conn, FIRST - 1)) == -EINVAL);
	CHECK((last = kint_alloc_page_at(conn, FIRST + N)) == -EINVAL);
	CHECK(!(last = kint_alloc_page_at(conn, FIRST + 2)));
	CHECK(!(last = kint_alloc_page(conn, &b)) && b == FIRST + 1 && !kint_pages_left(conn));
	CHECK((last = kint_alloc_page(conn, &c)) == -ENOSPC && !c);
	CHECK((last = kint_next_page(conn, &c)) == -ENOSPC && !c);
	CHECK((last = kint_free_page(conn, FIRST + N)) == -EINVAL);
	CHECK((last = kint_free_page(conn, 5)) == -EINVAL);
	vm.first_byte[1] = 0x77;
	CHECK(!(last = kint_free_page(conn, b)) && !vm.first_byte[1]);
	CHECK(vm.access[0][0][1] == KVMI_PAGE_ACCESS_RWX);
	CHECK(vm.access[1][0][1] == KVMI_PAGE_ACCESS_RWX);
	CHECK((last = kint_free_page(conn, b)) == -ENOENT);
	CHECK(!(last = kint_alloc_page(conn, &c)) && c == b);
	kint_close(conn);
	return true;
}

static bool body_none(struct kint_conn *conn)
{
	uint64_t gfn = 7;

	CHECK(!kint_peer_info(conn)->tool_gpa && !kint_peer_info(conn)->tool_size);
	CHECK(!kint_pages_left(conn));
	CHECK((last = kint_next_page(conn, &gfn)) == -ENODEV);
	CHECK((last = kint_alloc_page(conn, &gfn)) == -ENODEV);
	CHECK((last = kint_alloc_page_at(conn, FIRST)) == -ENODEV);
	CHECK((last = kint_free_page(conn, FIRST)) == -ENODEV);
	CHECK(gfn == 7 && !kint_refused_accesses(conn) && !said("access"));
	kint_close(conn);
	return true;
}

static bool body_odd_size(struct kint_conn *conn)
{
	CHECK(kint_peer_info(conn)->tool_size == 4096 && kint_pages_left(conn) == 1);
	kint_close(conn);
	return true;
}

/* A view has what view 0 has, if it was made before or afterwards */
static bool body_views(struct kint_conn *conn)
{
	uint16_t before, after, gone;
	uint64_t gfn;

	vm.one_space = true;
	CHECK(!(last = kint_create_view(conn, 0, &before)));
	CHECK(!(last = kint_create_view(conn, 0, &gone)));
	CHECK(!(last = kint_destroy_view(conn, gone)));
	CHECK(!(last = kint_alloc_page(conn, &gfn)));
	CHECK(!(last = kint_create_view(conn, 0, &after)));
	CHECK(!vm.access[0][0][0] && !vm.access[0][before][0] && !vm.access[0][after][0]);
	CHECK(vm.access[0][gone][0] == KVMI_PAGE_ACCESS_RWX);
	CHECK(!(last = kint_free_page(conn, gfn)));
	CHECK(vm.access[0][0][0] == KVMI_PAGE_ACCESS_RWX);
	CHECK(vm.access[0][before][0] == KVMI_PAGE_ACCESS_RWX);
	CHECK(vm.access[0][after][0] == KVMI_PAGE_ACCESS_RWX);
	kint_close(conn);
	return true;
}

/* What a view shows is not given back */
static bool body_shown(struct kint_conn *conn)
{
	uint16_t view, copy;
	uint64_t gfn, other;

	CHECK(!(last = kint_create_view(conn, 0, &view)));
	CHECK(!(last = kint_alloc_page(conn, &gfn)) && !(last = kint_alloc_page(conn, &other)));
	CHECK(!(last = kint_change_gfn(conn, view, 0, 0x20, gfn)));
	CHECK((last = kint_free_page(conn, gfn)) == -EBUSY);
	CHECK(!(last = kint_change_gfn(conn, view, 0, 0x20, other)));
	CHECK(!(last = kint_free_page(conn, gfn)));
	CHECK((last = kint_free_page(conn, other)) == -EBUSY);
	CHECK(!(last = kint_change_gfn(conn, view, 0, 0x20, 0x20)));
	CHECK(!(last = kint_free_page(conn, other)));
	CHECK(!(last = kint_alloc_page(conn, &gfn)));
	CHECK(!(last = kint_change_gfn(conn, view, 0, 0x21, gfn)));
	CHECK(!(last = kint_create_view(conn, view, &copy)));
	CHECK(!(last = kint_destroy_view(conn, view)));
	CHECK((last = kint_free_page(conn, gfn)) == -EBUSY);
	CHECK(!(last = kint_destroy_view(conn, copy)));
	CHECK(!(last = kint_free_page(conn, gfn)));
	kint_close(conn);
	return true;
}

/* Somebody has restricted the first page: a tool that was lost */
static bool body_left(struct kint_conn *conn)
{
	uint64_t gfn;

	vm.access[0][0][0] = 0;
	CHECK((last = kint_alloc_page_at(conn, FIRST)) == -EBUSY);
	CHECK(!(last = kint_alloc_page(conn, &gfn)) && gfn == FIRST + 1);
	CHECK(vm.first_byte[0] == 0x55 && kint_pages_left(conn) == 1);
	CHECK((last = kint_free_page(conn, FIRST)) == -ENOENT);
	CHECK(!(last = kint_detach(conn)));
	CHECK(vm.first_byte[0] == 0x55 && !vm.access[0][0][0]);
	return true;
}

/* Nothing changes with an error */
static bool body_errors(struct kint_conn *conn)
{
	uint64_t gfn = 7;

	vm.get_error = -EPERM;
	CHECK((last = kint_alloc_page(conn, &gfn)) == -EPERM && !said("access"));
	vm.get_error = -EOPNOTSUPP;
	CHECK((last = kint_alloc_page(conn, &gfn)) == -EOPNOTSUPP && !said("access"));
	vm.get_error = 0;
	vm.write_error = -EPERM;
	CHECK((last = kint_alloc_page(conn, &gfn)) == -EPERM && gfn == 7);
	CHECK(vm.access[0][0][0] == KVMI_PAGE_ACCESS_RWX && kint_pages_left(conn) == N);
	vm.write_error = 0;
	vm.set_error = -ENOMEM;
	CHECK((last = kint_alloc_page(conn, &gfn)) == -ENOMEM && gfn == 7);
	CHECK(vm.first_byte[0] == 0x55);
	vm.set_error = 0;
	/* It is not known what became of the first one */
	CHECK(!(last = kint_alloc_page(conn, &gfn)) && gfn == FIRST + 1);
	vm.write_error = -ENOENT;
	CHECK((last = kint_free_page(conn, gfn)) == -ENOENT);
	vm.write_error = 0;
	CHECK((last = kint_alloc_page_at(conn, gfn)) == -EBUSY);
	CHECK(!(last = kint_free_page(conn, gfn)));
	kint_close(conn);
	return true;
}

static void guest_does(struct kint_conn *conn, uint64_t gpa, uint8_t access)
{
	vm.last.gpa = gpa;
	vm.last.access = access;
	CHECK(!(last = kint_shutdown(conn)));
}

static bool body_events(struct kint_conn *conn)
{
	struct kint_event event;
	uint64_t gfn;

	CHECK(!(last = kint_alloc_page(conn, &gfn)));
	guest_does(conn, gfn * 4096 + 8, KVMI_PAGE_ACCESS_W);
	CHECK((last = kint_next_event(conn, &event, 300)) == -EAGAIN);
	CHECK(said("event 23 on\n") && said("PF ALLOW traced\nACCESS SKIP\n"));
	vm.log[0] = 0;
	guest_does(conn, gfn * 4096 + 8, KVMI_PAGE_ACCESS_R);
	CHECK((last = kint_next_event(conn, &event, 300)) == -EAGAIN);
	CHECK(said("PF ALLOW traced\nACCESS ALLOW 0000\n") && !said("event"));
	vm.log[0] = 0;
	guest_does(conn, gfn * 4096 + 8, KVMI_PAGE_ACCESS_X);
	CHECK((last = kint_next_event(conn, &event, 300)) == -EAGAIN && said("PF RETRY\n"));
	vm.log[0] = 0;
	vm.pf_flags = KVMI_PF_NOT_EMULATED;
	guest_does(conn, gfn * 4096 + 8, KVMI_PAGE_ACCESS_R);
	CHECK((last = kint_next_event(conn, &event, 300)) == -EAGAIN && said("PF SKIP\n"));
	CHECK(kint_refused_accesses(conn) == 4);
	/* Others are the caller's: of a page that is free, of one of the guest's */
	vm.pf_flags = 0;
	guest_does(conn, (gfn + 1) * 4096, KVMI_PAGE_ACCESS_W);
	CHECK(!(last = kint_next_event(conn, &event, 1000)) && event.pf.gpa == (gfn + 1) * 4096);
	CHECK(!(last = kint_reply(conn, &event, KVMI_EVENT_ACTION_ALLOW)));
	guest_does(conn, 0x5000, KVMI_PAGE_ACCESS_W);
	CHECK(!(last = kint_next_event(conn, &event, 1000)) && event.pf.gpa == 0x5000);
	CHECK(!(last = kint_reply(conn, &event, KVMI_EVENT_ACTION_ALLOW)));
	CHECK(kint_refused_accesses(conn) == 4);
	kint_close(conn);
	return true;
}

/* The library may not turn the event ACCESS on */
static bool body_no_access(struct kint_conn *conn)
{
	struct kint_event event;
	uint64_t gfn;

	vm.access_event_error = -EPERM;
	CHECK(!(last = kint_alloc_page(conn, &gfn)));
	guest_does(conn, gfn * 4096 + 8, KVMI_PAGE_ACCESS_R);
	CHECK((last = kint_next_event(conn, &event, 1000)) == -EAGAIN && said("PF SKIP\n"));
	kint_close(conn);
	return true;
}

static int count(struct kint_conn *conn, const struct kint_event *event, void *arg)
{
	++*(int *)arg;
	return kint_reply(conn, event, KVMI_EVENT_ACTION_ALLOW);
}

/* A guest that does it all the time does not keep the caller from its own business */
static bool body_endless(struct kint_conn *conn)
{
	int64_t begin = kint_now_ms();
	struct kint_event event;
	uint64_t gfn;
	int n = 0;

	CHECK(!(last = kint_alloc_page(conn, &gfn)));
	vm.again = true;
	guest_does(conn, gfn * 4096, KVMI_PAGE_ACCESS_X);
	CHECK((last = kint_next_event(conn, &event, 100)) == -EAGAIN);
	CHECK(kint_now_ms() < begin + TEST_TIMEOUT_MS && kint_refused_accesses(conn) > 1);
	CHECK((last = kint_next_event(conn, &event, 0)) == -EAGAIN);
	CHECK(!(last = kint_dispatch(conn, count, &n)) && !n);
	vm.again = false;
	kint_close(conn);
	return true;
}

static bool body_detach(struct kint_conn *conn)
{
	const char *back, *zero, *left;
	uint16_t view;
	uint64_t gfn;

	CHECK(!(last = kint_create_view(conn, 0, &view)));
	CHECK(!(last = kint_alloc_page(conn, &gfn)) && !(last = kint_alloc_page(conn, &gfn)));
	CHECK(!(last = kint_change_gfn(conn, view, 0, 0x20, gfn)));
	vm.log[0] = 0;
	CHECK(!(last = kint_detach(conn)));
	back = strstr(vm.log, "view 1: 20 shows 20\n");
	zero = strstr(vm.log, "write page 1 4096 bytes\n");
	left = strstr(vm.log, "access 0 1 page 1 7\n");
	CHECK(back && zero && left && back < zero && zero < left);
	CHECK(said("access 0 0 page 0 7\n") && said("access 1 0 page 1 7\n"));
	return true;
}

/* It is not known where a batch has put them, and whether somebody executes there */
static bool body_batched(struct kint_conn *conn)
{
	struct kint_batch *batch;
	uint64_t gfn;

	CHECK(!(last = kint_alloc_page(conn, &gfn)));
	CHECK(!(last = kint_batch_new(conn, &batch)));
	CHECK(!(last = kint_queue_change_gfn(batch, 0, 0, 0x20, gfn)));
	CHECK(!(last = kint_batch_commit(batch)));
	kint_batch_free(batch);
	vm.log[0] = 0;
	CHECK(!(last = kint_detach(conn)));
	CHECK(!said("write") && !said("access"));
	return true;
}

void pages_tests(void)
{
	result("pages: have and give back", test(body_alloc));
	result("pages: none", with_memory(0, 0, body_none));
	result("pages: not where pages begin", with_memory(FIRST * 4096 + 8, 8192, body_none));
	result("pages: more than there can be", with_memory(4096, 1ull << 50, body_none));
	result("pages: beyond the end", with_memory(~0ull << 12, 8192, body_none));
	result("pages: a part of one", with_memory(FIRST * 4096, 5000, body_odd_size));
	result("pages: views", test(body_views));
	result("pages: shown", test(body_shown));
	result("pages: of a tool that was lost", test(body_left));
	result("pages: errors", test(body_errors));
	result("pages: what the guest does there", test(body_events));
	result("pages: without the event ACCESS", test(body_no_access));
	result("pages: a guest that does not stop", test(body_endless));
	result("pages: detach", test(body_detach));
	result("pages: batched", test(body_batched));
}
