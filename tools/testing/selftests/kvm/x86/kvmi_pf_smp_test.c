// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM introspection: restricted pages and several vCPUs
 *
 * The consent to an access of one vCPU is no consent to those of another, at no
 * time, and what the tool takes is taken from all of them when it has the reply.
 */
#include "kvmi_test_harness.h"

#define PAGE		4096ul
#define NR_VCPUS	2

#define R		KVMI_PAGE_ACCESS_R
#define W		KVMI_PAGE_ACCESS_W
#define X		KVMI_PAGE_ACCESS_X

/* Accesses of a vCPU that has the tool's consent */
#define NR_ALLOWED	500

/* The page that is restricted: a word for each vCPU, and one for all */
struct shared {
	u64 own[NR_VCPUS];
	u64 common;
};

static union {
	struct shared data;
	u8 bytes[PAGE];
} page __aligned(PAGE);

/* Returns at once */
static u8 code_page[PAGE] __aligned(PAGE);

/* What the vCPUs say of themselves, where they always may */
static union {
	struct {
		u64 rounds[NR_VCPUS];
		bool stop;
	};
	u8 bytes[PAGE];
} status __aligned(PAGE);

enum op {
	WRITE,
	READ,
	EXECUTE,
	WRITE_AND_EXECUTE,
	ADD,
};

static void do_op(enum op op, u64 vcpu, u64 i)
{
	u64 val;

	switch (op) {
	case WRITE:
		WRITE_ONCE(page.data.own[vcpu], i);
		break;
	case READ:
		val = READ_ONCE(page.data.own[vcpu]);
		GUEST_ASSERT_EQ(val, 0);
		break;
	case WRITE_AND_EXECUTE:
		WRITE_ONCE(code_page[1 + vcpu], i);
		fallthrough;
	case EXECUTE:
		((void (*)(void))code_page)();
		break;
	case ADD:
		asm volatile("lock incq %0" : "+m"(page.data.common));
		break;
	}
}

/* So many times, or until told to stop if that is 0 */
static void guest_code(u64 vcpu, u64 op, u64 n)
{
	u64 i;

	for (;;) {
		for (i = 1; (!n || i <= n) && !READ_ONCE(status.stop); i++) {
			do_op(op, vcpu, i);
			WRITE_ONCE(status.rounds[vcpu], i);
		}
		GUEST_SYNC(i);
	}
}

FIXTURE(kvmi_pf_smp) {
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpus[NR_VCPUS];
	struct kvmi_session s;
	struct kvmi_runner r[NR_VCPUS];
	struct shared *data;
	u64 *rounds;
	u64 gpa;
	u64 code_gpa;
};

FIXTURE_SETUP(kvmi_pf_smp)
{
	u8 *code;

	if (!kvmi_has_page_access())
		SKIP(return, "Needs the TDP MMU");

	self->vm = vm_create_with_vcpus(NR_VCPUS, guest_code, self->vcpus);
	self->data = addr_gva2hva(self->vm, (gva_t)&page);
	self->gpa = addr_gva2gpa(self->vm, (gva_t)&page);
	self->code_gpa = addr_gva2gpa(self->vm, (gva_t)code_page);
	self->rounds = addr_gva2hva(self->vm, (gva_t)status.rounds);
	code = addr_gva2hva(self->vm, (gva_t)code_page);
	/* RET */
	*code = 0xc3;
	kvmi_hook(&self->s, self->vm);
}

FIXTURE_TEARDOWN(kvmi_pf_smp)
{
	kvmi_unhook(&self->s);
	kvm_vm_free(self->vm);
}

static void set_op(struct _test_data_kvmi_pf_smp *self, int i, enum op op, u64 n)
{
	vcpu_args_set(self->vcpus[i], 3, (u64)i, (u64)op, n);
}

/* Start a vCPU, with the event on if it is to be. */
static void start_vcpu(struct _test_data_kvmi_pf_smp *self, int i, bool event)
{
	struct kvmi_event ev;

	kvmi_park(&self->r[i], &self->s, self->vcpus[i], &ev);
	if (event)
		TEST_ASSERT_KVMI(kvmi_control_event(&self->s, i,
						    KVMI_VCPU_EVENT_PF, 1), 0);
	kvmi_unpark(&self->s, &ev);
}

/*
 * Answer what the first vCPU asks with ALLOW, as often as it does something, and
 * the second with RETRY.  Returns with an event of the second one open.
 */
static void allow_first_only(struct _test_data_kvmi_pf_smp *self, u8 access,
			     struct kvmi_event *second)
{
	int allowed = 0, refused = 0;
	struct kvmi_event ev;

	for (;;) {
		kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_PF, &ev);
		TEST_ASSERT_EQ(ev.pf.access, access);
		if (!ev.common.vcpu) {
			TEST_ASSERT(allowed < NR_ALLOWED, "Too many events");
			allowed++;
			kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW);
			continue;
		}
		TEST_ASSERT_EQ(READ_ONCE(self->rounds[1]), 0);
		TEST_ASSERT_EQ(READ_ONCE(self->data->own[1]), 0);
		refused++;
		if (allowed == NR_ALLOWED)
			break;
		kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_RETRY);
	}
	*second = ev;
	TEST_ASSERT(refused > 10, "Only %d attempts", refused);
}

static void step_against(struct _test_data_kvmi_pf_smp *self, enum op op,
			 u8 rights, u8 access)
{
	u64 gpa = op == EXECUTE ? self->code_gpa : self->gpa;
	struct kvmi_event ev;
	struct ucall uc;

	set_op(self, 0, op, NR_ALLOWED);
	set_op(self, 1, op, 1);
	TEST_ASSERT_KVMI(kvmi_set_page_access(&self->s, 0, gpa, 1, rights), 0);
	/* Neither goes ahead. */
	kvmi_park(&self->r[0], &self->s, self->vcpus[0], &ev);
	start_vcpu(self, 1, true);
	TEST_ASSERT_KVMI(kvmi_control_event(&self->s, 0, KVMI_VCPU_EVENT_PF, 1), 0);
	kvmi_unpark(&self->s, &ev);

	allow_first_only(self, access, &ev);
	/* What the second one sends is none of this one's business. */
	self->r[0].s = NULL;
	kvmi_run_wait_sync(&self->r[0], &uc);
	TEST_ASSERT_EQ(self->rounds[0], NR_ALLOWED);
	TEST_ASSERT_EQ(self->rounds[1], 0);

	kvmi_reply(&self->s, &ev, op == WRITE ? KVMI_EVENT_ACTION_SKIP :
						KVMI_EVENT_ACTION_ALLOW);
	kvmi_run_wait_sync(&self->r[1], &uc);
	TEST_ASSERT_EQ(self->data->own[1], 0);
	TEST_ASSERT_EQ(self->data->own[0], op == WRITE ? NR_ALLOWED : 0);
}

KVMI_TEST(kvmi_pf_smp, nobody_else_writes)
{
	step_against(self, WRITE, R | X, W);
}

KVMI_TEST(kvmi_pf_smp, nobody_else_reads)
{
	step_against(self, READ, 0, R);
}

KVMI_TEST(kvmi_pf_smp, nobody_else_executes)
{
	step_against(self, EXECUTE, R | W, X);
}

/* A vCPU with consent leaves the others' rights as they are. */
KVMI_TEST(kvmi_pf_smp, readers_go_on)
{
	struct kvmi_event ev, pause;
	struct ucall uc;
	int i;

	set_op(self, 0, WRITE, NR_ALLOWED);
	set_op(self, 1, READ, 0);
	TEST_ASSERT_KVMI(kvmi_set_page_access(&self->s, 0, self->gpa, 1, R | X), 0);
	kvmi_park(&self->r[0], &self->s, self->vcpus[0], &pause);
	start_vcpu(self, 1, true);
	TEST_ASSERT_KVMI(kvmi_control_event(&self->s, 0, KVMI_VCPU_EVENT_PF, 1), 0);
	kvmi_unpark(&self->s, &pause);
	for (i = 0; i < NR_ALLOWED; i++) {
		kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_PF, &ev);
		TEST_ASSERT_EQ(ev.common.vcpu, 0);
		kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	}
	kvmi_run_wait_sync(&self->r[0], &uc);
	*(bool *)addr_gva2hva(self->vm, (gva_t)&status.stop) = true;
	kvmi_run_wait_sync(&self->r[1], &uc);
	TEST_ASSERT_EQ(self->data->own[0], NR_ALLOWED);
}

/* Atomic is atomic, stepped or not. */
static void add(struct _test_data_kvmi_pf_smp *self, bool event)
{
	struct kvmi_event ev;
	struct ucall uc;
	int i;

	TEST_ASSERT_KVMI(kvmi_set_page_access(&self->s, 0, self->gpa, 1, R | X), 0);
	for (i = 0; i < NR_VCPUS; i++)
		set_op(self, i, ADD, NR_ALLOWED);
	kvmi_park(&self->r[0], &self->s, self->vcpus[0], &ev);
	if (event)
		TEST_ASSERT_KVMI(kvmi_control_event(&self->s, 0,
						    KVMI_VCPU_EVENT_PF, 1), 0);
	start_vcpu(self, 1, event);
	kvmi_unpark(&self->s, &ev);
	for (i = 0; event && i < NR_VCPUS * NR_ALLOWED; i++) {
		kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_PF, &ev);
		kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	}
	for (i = 0; i < NR_VCPUS; i++)
		kvmi_run_wait_sync(&self->r[i], &uc);
	TEST_ASSERT_EQ(self->data->common, NR_VCPUS * NR_ALLOWED);
}

KVMI_TEST(kvmi_pf_smp, both_add)
{
	add(self, true);
}

KVMI_TEST(kvmi_pf_smp, both_add_with_event_off)
{
	add(self, false);
}

KVMI_TEST(kvmi_pf_smp, both_add_with_one_event_off)
{
	struct kvmi_event ev;
	struct ucall uc;
	int i;

	TEST_ASSERT_KVMI(kvmi_set_page_access(&self->s, 0, self->gpa, 1, R | X), 0);
	for (i = 0; i < NR_VCPUS; i++)
		set_op(self, i, ADD, NR_ALLOWED);
	kvmi_park(&self->r[0], &self->s, self->vcpus[0], &ev);
	start_vcpu(self, 1, true);
	kvmi_unpark(&self->s, &ev);
	for (i = 0; i < NR_ALLOWED; i++) {
		kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_PF, &ev);
		TEST_ASSERT_EQ(ev.common.vcpu, 1);
		kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	}
	for (i = 0; i < NR_VCPUS; i++)
		kvmi_run_wait_sync(&self->r[i], &uc);
	TEST_ASSERT_EQ(self->data->common, NR_VCPUS * NR_ALLOWED);
}

/* With the reply in hand, no vCPU uses the old right. */
KVMI_TEST(kvmi_pf_smp, taken_with_the_reply)
{
	struct kvmi_event ev[NR_VCPUS], got;
	u64 val[NR_VCPUS], before;
	struct ucall uc;
	int i, round;

	for (i = 0; i < NR_VCPUS; i++) {
		set_op(self, i, WRITE, 0);
		start_vcpu(self, i, true);
	}
	for (round = 0; round < 50; round++) {
		/* They are at it. */
		for (i = 0; i < NR_VCPUS; i++) {
			before = READ_ONCE(self->data->own[i]);
			while (READ_ONCE(self->data->own[i]) == before)
				sched_yield();
		}
		TEST_ASSERT_KVMI(kvmi_set_page_access(&self->s, 0, self->gpa, 1,
						      R | X), 0);
		for (i = 0; i < NR_VCPUS; i++)
			val[i] = READ_ONCE(self->data->own[i]);
		for (i = 0; i < NR_VCPUS; i++) {
			kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_PF, &got);
			TEST_ASSERT_EQ(got.pf.access, W);
			ev[got.common.vcpu] = got;
		}
		for (i = 0; i < NR_VCPUS; i++) {
			TEST_ASSERT_EQ(ev[i].common.vcpu, i);
			TEST_ASSERT_EQ(READ_ONCE(self->data->own[i]), val[i]);
		}
		/* With the right back, either answer lets them go on. */
		TEST_ASSERT_KVMI(kvmi_set_page_access(&self->s, 0, self->gpa, 1,
						      KVMI_PAGE_ACCESS_RWX), 0);
		for (i = 0; i < NR_VCPUS; i++)
			kvmi_reply(&self->s, &ev[i], round % 2 ?
				   KVMI_EVENT_ACTION_ALLOW : KVMI_EVENT_ACTION_RETRY);
	}
	*(bool *)addr_gva2hva(self->vm, (gva_t)&status.stop) = true;
	for (i = 0; i < NR_VCPUS; i++)
		kvmi_run_wait_sync(&self->r[i], &uc);
}

/* Nor does one go on without being asked about. */
KVMI_TEST(kvmi_pf_smp, turned_on_with_the_reply)
{
	struct kvmi_event ev;
	struct ucall uc;
	int i, round;
	u64 val;

	TEST_ASSERT_KVMI(kvmi_set_page_access(&self->s, 0, self->gpa, 1, R | X), 0);
	for (i = 0; i < NR_VCPUS; i++) {
		set_op(self, i, WRITE, 0);
		start_vcpu(self, i, false);
	}
	for (round = 0; round < 100; round++) {
		i = round % NR_VCPUS;
		val = READ_ONCE(self->data->own[i]);
		while (READ_ONCE(self->data->own[i]) == val)
			sched_yield();
		TEST_ASSERT_KVMI(kvmi_control_event(&self->s, i, KVMI_VCPU_EVENT_PF, 1),
				 0);
		val = READ_ONCE(self->data->own[i]);
		kvmi_wait_event(&self->s, KVMI_VCPU_EVENT_PF, &ev);
		TEST_ASSERT_EQ(ev.common.vcpu, i);
		TEST_ASSERT_EQ(READ_ONCE(self->data->own[i]), val);
		TEST_ASSERT_KVMI(kvmi_control_event(&self->s, i, KVMI_VCPU_EVENT_PF, 0),
				 0);
		kvmi_reply(&self->s, &ev, KVMI_EVENT_ACTION_ALLOW);
	}
	*(bool *)addr_gva2hva(self->vm, (gva_t)&status.stop) = true;
	for (i = 0; i < NR_VCPUS; i++)
		kvmi_run_wait_sync(&self->r[i], &uc);
}

/* The same for the end of the session: all have all rights again. */
KVMI_TEST(kvmi_pf_smp, unhook_while_stepping)
{
	struct kvmi_event ev;
	struct ucall uc;
	int i, n;

	for (i = 0; i < NR_VCPUS; i++)
		set_op(self, i, WRITE, 0);
	for (n = 0; n < 20; n++) {
		TEST_ASSERT_KVMI(kvmi_set_page_access(&self->s, 0, self->gpa, 1,
						      R | X), 0);
		for (i = 0; i < NR_VCPUS; i++) {
			kvmi_park(&self->r[i], &self->s, self->vcpus[i], &ev);
			kvmi_unpark(&self->s, &ev);
		}
		/* Stepped, as nobody is asked */
		while (READ_ONCE(self->rounds[0]) < 10 ||
		       READ_ONCE(self->rounds[1]) < 10)
			sched_yield();
		kvmi_unhook(&self->s);
		*(bool *)addr_gva2hva(self->vm, (gva_t)&status.stop) = true;
		for (i = 0; i < NR_VCPUS; i++) {
			self->r[i].s = NULL;
			kvmi_run_wait_sync(&self->r[i], &uc);
			self->rounds[i] = 0;
		}
		*(bool *)addr_gva2hva(self->vm, (gva_t)&status.stop) = false;
		kvmi_hook(&self->s, self->vm);
	}
}

/*
 * The guest's page faults are in flight when one right takes the place of another:
 * what is mapped with the old one must not be mapped with the new one as it is.
 */
KVMI_TEST(kvmi_pf_smp, one_right_for_another)
{
	struct {
		struct kvmi_vm_set_page_access hdr;
		struct kvmi_page_access_entry entry;
	} req = {
		.hdr.count = 1,
		.entry.gpa = self->code_gpa,
	};
	struct ucall uc;
	int i, round;
	u32 seq[4];

	for (i = 0; i < NR_VCPUS; i++) {
		set_op(self, i, WRITE_AND_EXECUTE, 0);
		start_vcpu(self, i, false);
	}
	for (round = 0; round < 500; round++) {
		for (i = 0; i < ARRAY_SIZE(seq); i++) {
			req.entry.access = R | (i % 2 ? W : X);
			seq[i] = kvmi_send_cmd(&self->s, KVMI_VM_SET_PAGE_ACCESS,
					       &req, sizeof(req));
		}
		for (i = 0; i < ARRAY_SIZE(seq); i++)
			TEST_ASSERT_KVMI(kvmi_recv_reply(&self->s,
							 KVMI_VM_SET_PAGE_ACCESS,
							 seq[i], NULL, 0), 0);
	}
	*(bool *)addr_gva2hva(self->vm, (gva_t)&status.stop) = true;
	for (i = 0; i < NR_VCPUS; i++)
		kvmi_run_wait_sync(&self->r[i], &uc);
}

int main(int argc, char **argv)
{
	TEST_REQUIRE(kvm_has_cap(KVM_CAP_INTROSPECTION));

	return test_harness_run(argc, argv);
}
