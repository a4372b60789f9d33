// SPDX-License-Identifier: GPL-2.0-only
/*
 * The module vmcsinfo-intel: what it publishes fits together, it has no effect on
 * guests that run while it comes and goes, and it isn't loaded without VMX.
 */
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <sys/utsname.h>

#include <asm/vmcsinfo.h>

#include "kselftest_harness.h"
#include "kvm_util.h"
#include "processor.h"
#include "test_util.h"

#define SYSFS		"/sys/devices/system/cpu/"
#define MODULE		"vmcsinfo_intel"
#define NR_LOADS	1000

static void *module;
static size_t module_size;

static ssize_t read_file(const char *path, void *buf, size_t size)
{
	ssize_t n, total = 0;
	int fd;

	fd = open(path, O_RDONLY);
	if (fd < 0)
		return -errno;
	while ((n = read(fd, buf + total, size - total)) > 0)
		total += n;
	close(fd);
	return n < 0 ? -errno : total;
}

/* Where modules are installed; a compressed one is none */
static void find_module(void)
{
	static const char * const dirs[] = { "kernel/arch/x86/kvm/", "" };
	const size_t max = 8 << 20;
	struct utsname name;
	char path[512];
	ssize_t n;
	int i;

	TEST_ASSERT(!uname(&name), "uname");
	module = malloc(max);
	TEST_ASSERT(module, "malloc");
	for (i = 0; i < ARRAY_SIZE(dirs); i++) {
		snprintf(path, sizeof(path), "/lib/modules/%s/%svmcsinfo-intel.ko",
			 name.release, dirs[i]);
		n = read_file(path, module, max);
		if (n > 0) {
			module_size = n;
			return;
		}
	}
	ksft_exit_skip("There is no vmcsinfo-intel.ko for this kernel\n");
}

static int load(void)
{
	return syscall(SYS_init_module, module, module_size, "") ? -errno : 0;
}

static int unload(void)
{
	return syscall(SYS_delete_module, MODULE, O_NONBLOCK) ? -errno : 0;
}

static int has_file(const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), SYSFS "%s", name);
	return !access(path, F_OK);
}

static u64 read_number(struct __test_metadata *_metadata, const char *name)
{
	char path[256], buf[32] = "", *end;
	u64 value;

	snprintf(path, sizeof(path), SYSFS "%s", name);
	ASSERT_GT(read_file(path, buf, sizeof(buf) - 1), 0);
	value = strtoull(buf, &end, 16);
	ASSERT_EQ(strcmp(end, "\n"), 0);
	return value;
}

#define RCU_EXPEDITED	"/sys/kernel/rcu_expedited"

static void write_file(const char *path, const char *text, size_t size)
{
	int fd = open(path, O_WRONLY);

	if (fd >= 0) {
		TEST_ASSERT(write(fd, text, size) == size, "write to %s", path);
		close(fd);
	}
}

FIXTURE(vmcsinfo) {
	char expedited[16];
	ssize_t size;
};

/* Loading and unloading is mostly waiting for RCU, unless RCU is told to hurry */
FIXTURE_SETUP(vmcsinfo)
{
	self->size = read_file(RCU_EXPEDITED, self->expedited, sizeof(self->expedited));
	write_file(RCU_EXPEDITED, "1", 1);
	unload();
}

FIXTURE_TEARDOWN(vmcsinfo)
{
	unload();
	if (self->size > 0)
		write_file(RCU_EXPEDITED, self->expedited, self->size);
}

TEST_F(vmcsinfo, refused_without_vmx)
{
	if (kvm_cpu_has(X86_FEATURE_VMX))
		SKIP(return, "The CPU has VMX");
	ASSERT_EQ(load(), -ENODEV);
	ASSERT_FALSE(has_file("vmcs_id"));
	ASSERT_FALSE(has_file("vmcs"));
	ASSERT_FALSE(has_file("vmcs_note"));
}

TEST_F(vmcsinfo, files)
{
	struct {
		u32 namesz, descsz, type;
		char name[12];
		struct vmcsinfo_header header;
		struct vmcsinfo_field fields[512];
	} note = {};
	unsigned int i, nr = 0, known = 0;
	struct dirent *d;
	char name[32];
	ssize_t size;
	DIR *dir;

	if (!kvm_cpu_has(X86_FEATURE_VMX))
		SKIP(return, "The CPU has no VMX");
	ASSERT_EQ(load(), 0);

	size = read_file(SYSFS "vmcs_note", &note, sizeof(note));
	ASSERT_GT(size, 24);
	ASSERT_EQ(note.namesz, sizeof(VMCSINFO_NOTE_NAME));
	ASSERT_EQ(strcmp(note.name, VMCSINFO_NOTE_NAME), 0);
	ASSERT_EQ(note.type, VMCSINFO_NOTE_TYPE);
	ASSERT_EQ(note.descsz, size - 24);
	ASSERT_EQ(note.header.version, VMCSINFO_VERSION);
	ASSERT_EQ(note.header.revision, read_number(_metadata, "vmcs_id"));
	ASSERT_EQ(note.descsz, sizeof(note.header) +
		  note.header.nr_fields * sizeof(note.fields[0]));

	for (i = 0; i < note.header.nr_fields; i++) {
		if (i)
			ASSERT_GT(note.fields[i].encoding, note.fields[i - 1].encoding);
		snprintf(name, sizeof(name), "vmcs/%04x", note.fields[i].encoding);
		ASSERT_EQ(note.fields[i].offset, read_number(_metadata, name));
		if (!note.fields[i].offset) {
			ASSERT_EQ(note.fields[i].size, 0);
			continue;
		}
		known++;
		ASSERT_GE(note.fields[i].offset, 8);
		ASSERT_LE(note.fields[i].offset + note.fields[i].size, note.header.region_size);
	}
	/* Those that KVM cannot do without are more */
	ASSERT_GT(known, 100);
	/* VM_INSTRUCTION_ERROR, which any instruction that fails writes to */
	ASSERT_NE(read_number(_metadata, "vmcs/4400"), 0);

	dir = opendir(SYSFS "vmcs");
	ASSERT_NE(dir, NULL);
	while ((d = readdir(dir)))
		nr += d->d_name[0] != '.';
	closedir(dir);
	ASSERT_EQ(nr, note.header.nr_fields);

	/* One at a time, and nothing is left of it */
	ASSERT_EQ(load(), -EEXIST);
	ASSERT_EQ(unload(), 0);
	ASSERT_FALSE(has_file("vmcs_id"));
	ASSERT_FALSE(has_file("vmcs"));
	ASSERT_FALSE(has_file("vmcs_note"));
}

/* Exits that KVM handles, exits to userspace, and code that just runs */
#define NR_STAGES	50

static void guest_code(void)
{
	u32 eax, ebx, ecx, edx;
	u64 x = 1;
	int i, j;

	for (i = 0; i < NR_STAGES; i++) {
		for (j = 0; j < 50; j++) {
			cpuid(0, &eax, &ebx, &ecx, &edx);
			x = x * 6364136223846793005ull + ebx;
		}
		GUEST_SYNC(x);
	}
	GUEST_DONE();
}

struct work {
	u64 sum;
	u64 exits;
	unsigned int stages;
};

static void run_guest(struct work *work)
{
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	struct ucall uc;
	u64 cmd;

	memset(work, 0, sizeof(*work));
	vm = vm_create_with_one_vcpu(&vcpu, guest_code);
	do {
		vcpu_run(vcpu);
		cmd = get_ucall(vcpu, &uc);
		if (cmd == UCALL_SYNC) {
			work->stages++;
			work->sum = work->sum * 31 + uc.args[1];
		} else {
			TEST_ASSERT(cmd == UCALL_DONE, "Unexpected ucall %lu", cmd);
		}
	} while (cmd != UCALL_DONE);
	/* How often the host's interrupts come in is a matter of time */
	work->exits = vcpu_get_stat(vcpu, exits) - vcpu_get_stat(vcpu, irq_exits);
	kvm_vm_free(vm);
}

static void *run_guests(void *arg)
{
	const struct work *alone = ((void **)arg)[0];
	const bool *stop = ((void **)arg)[1];
	unsigned long *runs = ((void **)arg)[2];
	const struct sched_param param = {};
	struct work work;

	/* The guest is preempted whenever loading or unloading goes on */
	TEST_ASSERT(!sched_setscheduler(0, SCHED_IDLE, &param), "sched_setscheduler");
	while (!READ_ONCE(*stop)) {
		run_guest(&work);
		TEST_ASSERT(!memcmp(&work, alone, sizeof(work)),
			    "%u stages, sum 0x%lx, %lu exits; alone %u, 0x%lx, %lu",
			    work.stages, work.sum, work.exits,
			    alone->stages, alone->sum, alone->exits);
		++*runs;
	}
	return NULL;
}

TEST_F_TIMEOUT(vmcsinfo, no_effect_on_guests, 600)
{
	unsigned long runs = 0;
	struct work alone;
	bool stop = false;
	void *arg[] = { &alone, &stop, &runs };
	pthread_t thread;
	int i;

	if (!kvm_cpu_has(X86_FEATURE_VMX))
		SKIP(return, "The CPU has no VMX");
	run_guest(&alone);
	ASSERT_EQ(alone.stages, NR_STAGES);

	ASSERT_EQ(pthread_create(&thread, NULL, run_guests, arg), 0);
	for (i = 0; i < NR_LOADS; i++) {
		ASSERT_EQ(load(), 0);
		ASSERT_EQ(unload(), 0);
	}
	WRITE_ONCE(stop, true);
	pthread_join(thread, NULL);
	ASSERT_GT(runs, 0);
	TH_LOG("%lu guests, %lu exits each, while loaded %u times", runs,
	       (unsigned long)alone.exits, NR_LOADS);
}

/* Without any VM, VMX is off until the module wants it */
TEST_F(vmcsinfo, loads_without_guests)
{
	int i;

	if (!kvm_cpu_has(X86_FEATURE_VMX))
		SKIP(return, "The CPU has no VMX");
	for (i = 0; i < 20; i++) {
		ASSERT_EQ(load(), 0);
		ASSERT_EQ(unload(), 0);
	}
}

int main(int argc, char *argv[])
{
	TEST_REQUIRE(!geteuid());
	find_module();

	return test_harness_run(argc, argv);
}
