// SPDX-License-Identifier: GPL-2.0-only
/*
 * Commands that ask for one thing: what goes out, and what comes back
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include "test.h"

/* ---- One command: the request is kept, the answer is as told ---- */
static struct peer_msg request;
static int32_t answer_err;
static unsigned char answer[KVMI_MAX_MSG_SIZE];
static size_t answer_size;

static void peer_answer(int fd)
{
	struct peer_msg msg;

	if (!version_first(fd, &msg))
		return;
	while (peer_receive(fd, &msg)) {
		request = msg;
		peer_reply(fd, &msg, answer_err, answer, answer_size);
	}
}

static void answer_with(const void *data, size_t size)
{
	answer_err = 0;
	answer_size = size;
	memset(answer, 0, sizeof(answer));
	if (size)
		memcpy(answer, data, size);
}

static void refuse_with(int32_t err)
{
	answer_with(NULL, 0);
	answer_err = err;
}

/* What was asked: for a vCPU, @data follows a kvmi_vcpu_hdr that names it */
static bool asked(uint16_t id, int vcpu, const void *data, size_t size)
{
	struct kvmi_vcpu_hdr hdr = { .vcpu = vcpu };
	size_t skip = vcpu < 0 ? 0 : sizeof(hdr);

	return request.hdr.id == id && request.hdr.size == skip + size &&
	       (!skip || !memcmp(request.data, &hdr, sizeof(hdr))) &&
	       (!size || !memcmp(request.data + skip, data, size));
}

static bool body_vm(struct kint_conn *conn)
{
	struct kvmi_vm_get_features_reply features = { .events = 0x3eaaa, .views = 7 }, got;
	struct kvmi_vm_get_max_gfn_reply end = { .gfn = 0x8000 };
	struct kvmi_vm_pause_all pause = { .wait = 1 };
	struct kvmi_vm_pause_all_reply paused = { .count = 3 };
	struct kvmi_vm_control_cleanup off = { 0 };
	uint32_t count = 0;
	uint64_t gfn = 0;

	answer_with(&features, sizeof(features));
	CHECK(!(last = kint_get_features(conn, &got)));
	CHECK(asked(64, -1, NULL, 0) && !memcmp(&got, &features, sizeof(got)));
	answer_with(&end, sizeof(end));
	CHECK(!(last = kint_get_max_gfn(conn, &gfn)));
	CHECK(asked(66, -1, NULL, 0) && gfn == 0x8000);
	answer_with(&paused, sizeof(paused));
	CHECK(!(last = kint_pause_all(conn, true, &count)) && count == 3);
	CHECK(asked(72, -1, &pause, sizeof(pause)));
	CHECK(!(last = kint_pause_all(conn, true, NULL)));
	answer_with(NULL, 0);
	CHECK(!(last = kint_shutdown(conn)) && asked(74, -1, NULL, 0));
	CHECK(!(last = kint_control_cleanup(conn, false)) && asked(18, -1, &off, sizeof(off)));
	return true;
}

static bool body_vm_errors(struct kint_conn *conn)
{
	struct kvmi_vm_get_features_reply features;
	uint32_t count = 77;
	uint64_t gfn = 77;

	/* KVM_ENOSYS: a kernel that is older than the command */
	refuse_with(-1000);
	CHECK((last = kint_get_features(conn, &features)) == -ENOSYS);
	CHECK((last = kint_get_max_gfn(conn, &gfn)) == -ENOSYS && gfn == 77);
	CHECK((last = kint_shutdown(conn)) == -ENOSYS);
	refuse_with(-EBUSY);
	CHECK((last = kint_pause_all(conn, false, &count)) == -EBUSY && count == 77);
	refuse_with(-EINVAL);
	CHECK((last = kint_control_cleanup(conn, true)) == -EINVAL);
	answer_with(&features, sizeof(features) - 1);
	CHECK((last = kint_get_features(conn, &features)) == -EPROTO);
	return true;
}

static bool body_vcpu(struct kint_conn *conn)
{
	struct kvmi_vcpu_get_cpuid leaf = { .function = 7, .index = 1 };
	struct kvmi_vcpu_get_cpuid_reply regs = { .eax = 1, .ebx = 2, .ecx = 3, .edx = 4 }, got;
	struct kvmi_vcpu_inject_exception pf = { .nr = 14, .error_code = 3, .address = 0xabc };
	struct kvmi_vcpu_get_xcr_reply xcr0 = { .value = 7 };
	struct kvmi_vcpu_get_xcr xcr = { .xcr = 0 };
	struct kvmi_vcpu_get_mtrr_type page = { .gpa = 0x1000 };
	struct kvmi_vcpu_get_mtrr_type_reply wb = { .type = 6 };
	struct kvmi_vcpu_debugregs dr = { .dr = { 1, 2, 3, 4 }, .dr6 = 6, .dr7 = 7 }, got_dr;
	struct kvmi_vcpu_translate_gva gva = { .gva = 0xffffffff81000000 };
	struct kvmi_vcpu_translate_gva_reply gpa = { .gpa = 0x1000000 };
	uint64_t value = 0;
	uint8_t type = 0;

	answer_with(&regs, sizeof(regs));
	CHECK(!(last = kint_get_cpuid(conn, 2, 7, 1, &got)));
	CHECK(asked(11, 2, &leaf, sizeof(leaf)) && !memcmp(&got, &regs, sizeof(got)));
	answer_with(NULL, 0);
	CHECK(!(last = kint_inject_exception(conn, 1, 14, 3, 0xabc)));
	CHECK(asked(15, 1, &pf, sizeof(pf)));
	answer_with(&xcr0, sizeof(xcr0));
	CHECK(!(last = kint_get_xcr(conn, 1, 0, &value)) && value == 7);
	CHECK(asked(17, 1, &xcr, sizeof(xcr)));
	answer_with(&wb, sizeof(wb));
	CHECK(!(last = kint_get_mtrr_type(conn, 0, 0x1000, &type)) && type == 6);
	CHECK(asked(23, 0, &page, sizeof(page)));
	answer_with(&dr, sizeof(dr));
	CHECK(!(last = kint_get_debugregs(conn, 1, &got_dr)) && !memcmp(&got_dr, &dr, sizeof(dr)));
	CHECK(asked(77, 1, NULL, 0));
	answer_with(NULL, 0);
	CHECK(!(last = kint_set_debugregs(conn, 1, &dr)));
	CHECK(asked(79, 1, &dr, sizeof(dr)));
	answer_with(&gpa, sizeof(gpa));
	CHECK(!(last = kint_translate_gva(conn, 0, gva.gva, &value)) && value == 0x1000000);
	CHECK(asked(29, 0, &gva, sizeof(gva)));
	return true;
}

static bool body_vcpu_errors(struct kint_conn *conn)
{
	struct kvmi_vcpu_translate_gva_reply nowhere = { .gpa = ~0ull };
	struct kvmi_vcpu_debugregs dr = { .dr7 = 1ull << 32 };
	struct kvmi_vcpu_get_cpuid_reply regs;
	uint64_t value = 77;
	uint8_t type = 77;

	refuse_with(-ENOENT);
	CHECK((last = kint_get_cpuid(conn, 0, 0x41000000, 0, &regs)) == -ENOENT);
	refuse_with(-EBUSY);
	CHECK((last = kint_inject_exception(conn, 0, 3, 0, 0)) == -EBUSY);
	refuse_with(-EINVAL);
	CHECK((last = kint_get_xcr(conn, 0, 1, &value)) == -EINVAL && value == 77);
	refuse_with(-EINVAL);
	CHECK((last = kint_set_debugregs(conn, 0, &dr)) == -EINVAL);
	refuse_with(-EAGAIN);
	CHECK((last = kint_get_mtrr_type(conn, 1, 0, &type)) == -EAGAIN && type == 77);
	answer_with(&nowhere, sizeof(nowhere));
	CHECK((last = kint_translate_gva(conn, 0, 0, &value)) == -EFAULT && value == 77);
	answer_with(&nowhere, 7);
	CHECK((last = kint_translate_gva(conn, 0, 0, &value)) == -EPROTO);
	return true;
}

static bool body_event_set(struct kint_conn *conn)
{
	struct kvmi_vcpu_control_event_set set = { .enable = 0xa, .disable = 0x80 };
	struct kvmi_vcpu_control_event_set_reply now = { .enabled = 0x100a };
	uint64_t enabled = 0;

	answer_with(&now, sizeof(now));
	CHECK(!(last = kint_control_event_set(conn, 3, 0xa, 0x80, &enabled)));
	CHECK(asked(69, 3, &set, sizeof(set)) && enabled == 0x100a);
	CHECK(!(last = kint_control_event_set(conn, 3, 0, 0, NULL)));
	refuse_with(-EPERM);
	CHECK((last = kint_control_event_set(conn, 3, 0x10, 0, &enabled)) == -EPERM);
	CHECK(enabled == 0x100a);
	return true;
}

/* ---- Memory slots: more than fit into a message ---- */
static unsigned int slots_total, slots_commands, slots_layout_step;

static void peer_slots(int fd)
{
	struct {
		struct kvmi_vm_get_memslots_reply hdr;
		struct kvmi_memslot slots[340];
	} out;
	struct kvmi_vm_get_memslots req;
	unsigned int i, n;
	struct peer_msg msg;

	if (!version_first(fd, &msg))
		return;
	while (peer_receive(fd, &msg)) {
		memcpy(&req, msg.data, sizeof(req));
		memset(&out, 0, sizeof(out));
		out.hdr.nr_slots = slots_total;
		out.hdr.cookie = 9 + slots_commands++ * slots_layout_step;
		for (n = 0; n < 340 && req.start + n < slots_total; n++) {
			i = req.start + n;
			out.slots[n].gfn = i * 16;
			out.slots[n].npages = i + 1;
			out.slots[n].flags = i % 2 ? KVMI_MEMSLOT_READONLY : 0;
		}
		if (req.as_id > 1)
			peer_reply(fd, &msg, -EINVAL, NULL, 0);
		else
			peer_reply(fd, &msg, 0, &out,
				   sizeof(out.hdr) + n * sizeof(out.slots[0]));
	}
}

static bool body_slots(struct kint_conn *conn)
{
	static struct kvmi_memslot slots[800];
	uint32_t cookie = 0;
	unsigned int i;

	slots_total = 700;
	slots_commands = 0;
	slots_layout_step = 0;
	CHECK((last = kint_get_memslots(conn, 0, slots, 800, &cookie)) == 700);
	CHECK(cookie == 9 && slots_commands == 3);
	for (i = 0; i < 700; i++)
		CHECK(slots[i].gfn == i * 16 && slots[i].npages == i + 1 &&
		      slots[i].flags == i % 2);
	memset(slots, 0, sizeof(slots));
	CHECK((last = kint_get_memslots(conn, 1, slots, 400, NULL)) == 700);
	CHECK(slots[399].npages == 400 && !slots[400].npages && slots_commands == 5);
	CHECK((last = kint_get_memslots(conn, 0, NULL, 0, &cookie)) == 700);
	CHECK((last = kint_get_memslots(conn, 2, slots, 800, NULL)) == -EINVAL);
	slots_total = 0;
	CHECK((last = kint_get_memslots(conn, 1, slots, 800, NULL)) == 0);
	slots_total = 700;
	slots_layout_step = 1;
	CHECK((last = kint_get_memslots(conn, 0, slots, 800, NULL)) == -EAGAIN);
	return true;
}

/* A reply that tells of slots and has none, a part of one, or too many */
static bool body_bad_slots(struct kint_conn *conn)
{
	struct kvmi_memslot slots[4];

	CHECK((last = kint_get_memslots(conn, 0, slots, 4, NULL)) == -EPROTO);
	return true;
}

static bool test_bad_slots(void)
{
	struct {
		struct kvmi_vm_get_memslots_reply hdr;
		struct kvmi_memslot slots[4];
	} out = { .hdr = { .nr_slots = 3 } };
	static const size_t sizes[] = { 7, 8, 8 + 23, 8 + 4 * 24 };
	unsigned int i;

	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		answer_with(&out, sizes[i]);
		if (!adopt_with(peer_answer, body_bad_slots))
			return false;
	}
	return true;
}

/* ---- Extended state of any size ---- */
static unsigned char state[20000];
static unsigned int state_commands;

static void peer_xsave(int fd)
{
	struct {
		struct kvmi_vcpu_get_xsave2_reply hdr;
		unsigned char data[KINT_MAX_XSAVE_READ];
	} out = { .hdr = { .total = sizeof(state) } };
	struct kvmi_vcpu_get_xsave2 get;
	struct kvmi_vcpu_set_xsave2 set;
	struct peer_msg msg;
	size_t size;

	if (!version_first(fd, &msg))
		return;
	while (peer_receive(fd, &msg)) {
		state_commands++;
		if (msg.hdr.id == KVMI_VCPU_GET_XSAVE) {
			peer_reply(fd, &msg, 0, state, KVMI_XSAVE_SIZE);
		} else if (msg.hdr.id == KVMI_VCPU_SET_XSAVE) {
			memcpy(state, msg.data + 8, KVMI_XSAVE_SIZE);
			peer_reply(fd, &msg, msg.hdr.size == 8 + KVMI_XSAVE_SIZE ? 0 : -EINVAL,
				   NULL, 0);
		} else if (msg.hdr.id == KVMI_VCPU_GET_XSAVE2) {
			memcpy(&get, msg.data + 8, sizeof(get));
			size = sizeof(state) - get.offset;
			if (size > get.size)
				size = get.size;
			if (!size || size > sizeof(out.data)) {
				peer_reply(fd, &msg, -EINVAL, NULL, 0);
				continue;
			}
			memcpy(out.data, state + get.offset, size);
			peer_reply(fd, &msg, 0, &out, sizeof(out.hdr) + size);
		} else {
			memcpy(&set, msg.data + 8, sizeof(set));
			size = msg.hdr.size - 16;
			if (!size || set.offset + size > sizeof(state)) {
				peer_reply(fd, &msg, -EINVAL, NULL, 0);
				continue;
			}
			memcpy(state + set.offset, msg.data + 16, size);
			peer_reply(fd, &msg, 0, NULL, 0);
		}
	}
}

static bool body_xsave(struct kint_conn *conn)
{
	static unsigned char buf[sizeof(state) + 100], new[sizeof(state)];
	size_t total = 0, i;

	for (i = 0; i < sizeof(state); i++) {
		state[i] = i * 3 + i / 256;
		new[i] = ~state[i];
	}
	CHECK(!(last = kint_get_xsave(conn, 0, buf)) && !memcmp(buf, state, KVMI_XSAVE_SIZE));
	state_commands = 0;
	CHECK(!(last = kint_get_xsave2(conn, 0, NULL, 0, &total)) && total == sizeof(state));
	CHECK(!(last = kint_get_xsave2(conn, 0, buf, 100, &total)) && total == sizeof(state));
	CHECK(!memcmp(buf, state, 100) && buf[100] == state[100] && state_commands == 2);
	memset(buf, 0xee, sizeof(buf));
	CHECK(!(last = kint_get_xsave2(conn, 0, buf, sizeof(buf), &total)));
	CHECK(total == sizeof(state) && !memcmp(buf, state, sizeof(state)));
	CHECK(buf[sizeof(state)] == 0xee && state_commands == 5);
	CHECK(!(last = kint_set_xsave(conn, 0, new)) && !memcmp(state, new, KVMI_XSAVE_SIZE));
	CHECK(state[KVMI_XSAVE_SIZE] != new[KVMI_XSAVE_SIZE]);
	CHECK(!(last = kint_set_xsave2(conn, 0, 100, new + 100, sizeof(new) - 100)));
	CHECK(!memcmp(state, new, sizeof(new)));
	CHECK((last = kint_set_xsave2(conn, 0, sizeof(state), new, 1)) == -EINVAL);
	CHECK((last = kint_set_xsave2(conn, 0, 0, new, 0)) == -EINVAL);
	return true;
}

static bool body_bad_xsave(struct kint_conn *conn)
{
	unsigned char buf[64];
	size_t total;

	CHECK((last = kint_get_xsave2(conn, 0, buf, sizeof(buf), &total)) == -EPROTO);
	return true;
}

/* Fewer bytes than there are, more than were asked for, or none */
static bool test_bad_xsave(void)
{
	static const struct { uint32_t total; size_t data; } cases[] = {
		{ 1000, 63 }, { 1000, 65 }, { 10, 64 }, { 0, 0 }, { 1000, 0 },
	};
	struct {
		struct kvmi_vcpu_get_xsave2_reply hdr;
		unsigned char data[100];
	} out = { 0 };
	unsigned int i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		out.hdr.total = cases[i].total;
		answer_with(&out, sizeof(out.hdr) + cases[i].data);
		if (!adopt_with(peer_answer, body_bad_xsave))
			return false;
	}
	return true;
}

/* ---- A write that compares ---- */
static bool body_compare(struct kint_conn *conn)
{
	static const struct {
		struct kvmi_vm_write_physical hdr;
		struct kvmi_mem_cookie cookie;
		unsigned char expected[4], data[4];
	} with_cookie = {
		.hdr = { .gpa = 0x1004, .size = 4, .flags = 3, .as_id = 1 },
		.cookie = { .cookie = 99 }, .expected = "abcd", .data = "wxyz",
	};
	static const struct {
		struct kvmi_vm_write_physical hdr;
		unsigned char expected[8], data[8];
	} without = {
		.hdr = { .gpa = 0x2000, .size = 8, .flags = 2 },
		.expected = "12345678", .data = "87654321",
	};
	uint32_t cookie = 99;

	answer_with(NULL, 0);
	CHECK(!(last = kint_write_physical_compare(conn, 1, 0x1004, "abcd", "wxyz", 4, &cookie)));
	CHECK(asked(14, -1, &with_cookie, sizeof(with_cookie)));
	CHECK(!(last = kint_write_physical_compare(conn, 0, 0x2000, "12345678", "87654321", 8,
						   NULL)));
	CHECK(asked(14, -1, &without, sizeof(without)));
	refuse_with(-EAGAIN);
	CHECK((last = kint_write_physical_compare(conn, 0, 0, "a", "b", 1, NULL)) == -EAGAIN);
	request.hdr.id = 0;
	CHECK((last = kint_write_physical_compare(conn, 0, 0, "a", "b", 9, NULL)) == -EINVAL);
	CHECK(!request.hdr.id);
	return true;
}

/* ---- Page access, views, single-stepping ---- */
static bool body_views(struct kint_conn *conn)
{
	struct kvmi_vm_create_view_reply created = { .view = 3 };
	struct kvmi_vcpu_get_view_reply in = { .view = 5 };
	struct kvmi_vm_create_view create = { .copy_of = 2 };
	struct kvmi_vm_destroy_view destroy = { .view = 4 };
	struct kvmi_vm_change_gfn change = { .view = 1, .as_id = 1, .gfn = 7, .new_gfn = 8 };
	struct kvmi_vcpu_set_view set = { .view = 6 };
	struct kvmi_vcpu_control_singlestep on = { .enable = 1 };
	struct {
		struct kvmi_vm_list_views_reply hdr;
		struct kvmi_view_info views[2];
	} list = { .hdr = { .count = 2 }, .views = { { .nr_vcpus = 2 }, { 3, 0, 1 } } };
	struct kvmi_view_info views[2];
	uint16_t view = 0;
	size_t n;

	answer_with(&created, sizeof(created));
	CHECK(!(last = kint_create_view(conn, 2, &view)) && view == 3);
	CHECK(asked(76, -1, &create, sizeof(create)));
	answer_with(&in, sizeof(in));
	CHECK(!(last = kint_get_view(conn, 1, &view)) && view == 5 && asked(67, 1, NULL, 0));
	answer_with(NULL, 0);
	CHECK(!(last = kint_destroy_view(conn, 4)) && asked(78, -1, &destroy, sizeof(destroy)));
	CHECK(!(last = kint_change_gfn(conn, 1, 1, 7, 8)));
	CHECK(asked(80, -1, &change, sizeof(change)));
	CHECK(!(last = kint_set_view(conn, 2, 6)) && asked(65, 2, &set, sizeof(set)));
	CHECK(!(last = kint_control_singlestep(conn, 2, true)));
	CHECK(asked(27, 2, &on, sizeof(on)));
	answer_with(&list, sizeof(list));
	CHECK(!(last = kint_list_views(conn, views, 2, &n)) && asked(90, -1, NULL, 0));
	CHECK(n == 2 && views[1].view == 3 && views[1].nr_vcpus == 1);
	CHECK(!(last = kint_list_views(conn, views, 1, &n)) && n == 1 && !views[0].view);
	refuse_with(-EBUSY);
	CHECK((last = kint_destroy_view(conn, 4)) == -EBUSY);
	CHECK((last = kint_list_views(conn, views, 2, &n)) == -EBUSY && n == 1);
	CHECK((last = kint_create_view(conn, 0, &view)) == -EBUSY && view == 5);
	refuse_with(-EOPNOTSUPP);
	CHECK((last = kint_control_singlestep(conn, 0, true)) == -EOPNOTSUPP);
	CHECK((last = kint_get_view(conn, 0, &view)) == -EOPNOTSUPP && view == 5);
	return true;
}

/* More views than the message has, or than there can be */
static unsigned int wrong_views;

static bool body_wrong_views(struct kint_conn *conn)
{
	struct kvmi_vm_list_views_reply hdr = { .count = wrong_views };
	struct kvmi_view_info views[2];
	size_t n;

	answer_with(&hdr, sizeof(hdr));
	CHECK((last = kint_list_views(conn, views, 2, &n)) == -EPROTO);
	return true;
}

/* The access to a page is the last byte of its address */
static uint64_t pages_set, pages_asked, messages;

static void peer_access(int fd)
{
	struct kvmi_vm_set_page_access *set;
	struct kvmi_vm_get_page_access *get;
	unsigned char access[KINT_MAX_GET_ACCESS];
	struct peer_msg msg;
	unsigned int i;

	if (!version_first(fd, &msg))
		return;
	while (peer_receive(fd, &msg)) {
		messages++;
		if (msg.hdr.id == KVMI_VM_SET_PAGE_ACCESS) {
			set = (void *)msg.data;
			if (set->view != 2 || set->as_id != 1 || set->padding ||
			    msg.hdr.size != sizeof(*set) + set->count * sizeof(set->entries[0]))
				return;
			for (i = 0; i < set->count; i++)
				pages_set += set->entries[i].npages;
			peer_reply(fd, &msg, pages_set > 1500 ? -EINVAL : 0, NULL, 0);
			continue;
		}
		get = (void *)msg.data;
		if (get->view != 2 || get->as_id != 1 || get->padding ||
		    msg.hdr.size != sizeof(*get) + get->count * 8)
			return;
		for (i = 0; i < get->count; i++)
			access[i] = get->gpa[i];
		pages_asked += get->count;
		peer_reply(fd, &msg, 0, access, get->count);
	}
}

static bool body_access(struct kint_conn *conn)
{
	static struct kvmi_page_access_entry entries[2000];
	static uint64_t gpas[2500];
	static uint8_t access[2500];
	unsigned int i;

	for (i = 0; i < 2000; i++)
		entries[i].npages = 1;
	for (i = 0; i < 2500; i++)
		gpas[i] = 0x1000 * i + i % 8;
	pages_set = 0;
	pages_asked = 0;
	messages = 0;
	CHECK(KINT_MAX_SET_ACCESS == 511 && KINT_MAX_GET_ACCESS == 1022);
	CHECK(!(last = kint_set_page_access(conn, 2, 1, entries, 511)) && messages == 1);
	CHECK(!(last = kint_set_page_access(conn, 2, 1, entries, 600)));
	CHECK(messages == 3 && pages_set == 1111);
	CHECK((last = kint_set_page_access(conn, 2, 1, entries, 2000)) == -EINVAL);
	CHECK(messages == 4);
	CHECK(!(last = kint_get_page_access(conn, 2, 1, gpas, access, 2500)));
	CHECK(messages == 7 && pages_asked == 2500);
	for (i = 0; i < 2500; i++)
		CHECK(access[i] == i % 8);
	return true;
}

void state_tests(void)
{
	result("commands for the VM", adopt_with(peer_answer, body_vm));
	result("commands for the VM that fail", adopt_with(peer_answer, body_vm_errors));
	result("commands for a vCPU", adopt_with(peer_answer, body_vcpu));
	result("commands for a vCPU that fail", adopt_with(peer_answer, body_vcpu_errors));
	result("a set of events", adopt_with(peer_answer, body_event_set));
	result("memory slots, more than fit into a message", adopt_with(peer_slots, body_slots));
	result("memory slots cut short", test_bad_slots());
	result("XSAVE of fixed and of any size", adopt_with(peer_xsave, body_xsave));
	result("XSAVE of a wrong size", test_bad_xsave());
	result("views and single-stepping", adopt_with(peer_answer, body_views));
	wrong_views = 2;
	result("fewer views than there are to be", adopt_with(peer_answer, body_wrong_views));
	wrong_views = 0x40000001;
	result("more views than there can be", adopt_with(peer_answer, body_wrong_views));
	result("page access, more than fits into a message",
	       adopt_with(peer_access, body_access));
	result("a write that compares", adopt_with(peer_answer, body_compare));
}
