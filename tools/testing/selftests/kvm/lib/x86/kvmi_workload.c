// SPDX-License-Identifier: GPL-2.0-only
/*
 * A guest that executes one instruction again and again
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/kvm_para.h>
#include <linux/kvmi.h>

#include "kvmi_workload.h"

static u64 memory_pages;

static u64 guest_op;
static u64 guest_ops;
static bool guest_stop;
static u64 guest_xcr0[2];
static u64 guest_msr_writes;
static u64 guest_xsetbvs;
static u64 guest_pages = 1;
static u64 guest_ticks[KVMI_WORKLOAD_OPS];

static void guest_int3_handler(struct ex_regs *regs)
{
}

/* Every write is a new value: no event tells of others. */
static void guest_do(enum kvmi_workload_op op, u64 i)
{
	u64 page = KVMI_WORKLOAD_MEMORY + i % guest_pages * PAGE_SIZE;
	u32 eax = 0, ebx, ecx = 0, edx;
	struct desc_ptr gdt;

	switch (op) {
	case OP_CPUID:
		__cpuid(eax, ecx, &eax, &ebx, &ecx, &edx);
		break;
	case OP_CR0:
		set_cr0(get_cr0() ^ X86_CR0_AM);
		break;
	case OP_CR3:
		set_cr3(get_cr3() ^ BIT(3));
		break;
	case OP_CR4:
		set_cr4(get_cr4() ^ X86_CR4_PSE);
		break;
	case OP_MSR:
		wrmsr(MSR_LSTAR, (++guest_msr_writes & 1) * 0x1000);
		break;
	case OP_HYPERCALL:
		__xen_hypercall(KVM_HC_XEN_HVM_OP,
				KVM_HC_XEN_HVM_OP_GUEST_REQUEST_VM_EVENT, NULL);
		break;
	case OP_INT3:
		asm volatile("int3");
		break;
	case OP_UD2:
		kvm_asm_safe("ud2");
		break;
	case OP_XSETBV:
		xsetbv(0, guest_xcr0[++guest_xsetbvs & 1]);
		break;
	case OP_SGDT:
		asm volatile("sgdt %0" : "=m"(gdt));
		break;
	case OP_READ:
		READ_ONCE(*(u64 *)page);
		break;
	case OP_WRITE:
		WRITE_ONCE(*(u64 *)(page + 8), i);
		break;
	case OP_CALL:
		((void (*)(void))page)();
		break;
	case OP_HLT:
		while (!READ_ONCE(guest_stop))
			asm volatile("hlt");
		break;
	case OP_SPIN:
		/* Without PAUSE, which may cause exits */
		while (!READ_ONCE(guest_stop))
			;
		break;
	default:
		break;
	}
}

static void guest_code(void)
{
	u64 i, start;

	for (;;) {
		for (i = 0; i < guest_ops; i++) {
			start = rdtsc();
			guest_do(guest_op, i);
			guest_ticks[i] = rdtsc() - start;
		}
		GUEST_SYNC(0);
	}
}

static int compare_u64(const void *a, const void *b)
{
	u64 x = *(const u64 *)a, y = *(const u64 *)b;

	return x < y ? -1 : x > y;
}

u64 kvmi_workload_quartile(u64 *ticks, u64 n)
{
	if (!n)
		return 0;
	qsort(ticks, n, sizeof(*ticks), compare_u64);
	return ticks[n / 4];
}

/* Those the guest caused: interrupts of the host come when they come. */
static u64 guest_exits(struct kvm_vcpu *vcpu)
{
	return vcpu_get_stat(vcpu, exits) - vcpu_get_stat(vcpu, irq_exits);
}

void kvmi_workload_run(struct kvm_vcpu *vcpu, enum kvmi_workload_op op, u64 ops,
		       struct kvmi_workload_result *result)
{
	struct kvm_mp_state runnable = { .mp_state = KVM_MP_STATE_RUNNABLE };
	struct kvm_vm *vm = vcpu->vm;
	struct ucall uc;

	TEST_ASSERT(ops <= KVMI_WORKLOAD_OPS, "Too many operations");
	write_guest_global(vm, guest_op, (u64)op);
	write_guest_global(vm, guest_ops, ops);
	write_guest_global(vm, guest_stop, false);

	result->exits = guest_exits(vcpu);
	while (__vcpu_run(vcpu)) {
		TEST_ASSERT(errno == EINTR, "KVM_RUN");
		write_guest_global(vm, guest_stop, true);
		vcpu_mp_state_set(vcpu, &runnable);
	}
	result->exits = guest_exits(vcpu) - result->exits;

	if (get_ucall(vcpu, &uc) == UCALL_ABORT)
		REPORT_GUEST_ASSERT(uc);
	TEST_ASSERT(uc.cmd == UCALL_SYNC, "The guest failed");
	sync_global_from_guest(vm, guest_ticks);
	result->ticks = kvmi_workload_quartile(guest_ticks, ops);
}

/*
 * Some emulators of SVM have no intercept for XSETBV: what the guest writes is
 * then the host's value as well.
 */
static bool exits_for_xsetbv(struct kvm_vcpu *vcpu)
{
	struct kvmi_workload_result without, with;

	kvmi_workload_run(vcpu, OP_XSETBV, 1, &with);
	kvmi_workload_run(vcpu, OP_NONE, 0, &without);
	kvmi_workload_run(vcpu, OP_XSETBV, 1, &with);
	return with.exits > without.exits;
}

/* For XSETBV; the guest itself must not execute anything that it is not told to. */
static void enable_xsave(struct kvm_vcpu *vcpu)
{
	struct kvm_sregs sregs;

	if (!kvm_cpu_has(X86_FEATURE_XSAVE))
		return;

	vcpu_sregs_get(vcpu, &sregs);
	sregs.cr4 |= X86_CR4_OSXSAVE;
	vcpu_sregs_set(vcpu, &sregs);
}

struct kvm_vm *kvmi_workload_create(struct kvm_vcpu **vcpu)
{
	struct kvm_vm *vm = vm_create_with_one_vcpu(vcpu, guest_code);

	enable_xsave(*vcpu);
	vm_install_exception_handler(vm, BP_VECTOR, guest_int3_handler);

	guest_xcr0[0] = kvm_cpu_supported_xcr0();
	guest_xcr0[1] = guest_xcr0[0];
	sync_global_to_guest(vm, guest_xcr0);
	if (exits_for_xsetbv(*vcpu))
		guest_xcr0[1] = XFEATURE_MASK_FP | XFEATURE_MASK_SSE;
	sync_global_to_guest(vm, guest_xcr0);
	return vm;
}

struct kvm_vcpu *kvmi_workload_add_vcpu(struct kvm_vm *vm, u32 id)
{
	struct kvm_vcpu *vcpu = vm_vcpu_add(vm, id, guest_code);

	enable_xsave(vcpu);
	return vcpu;
}

void kvmi_workload_add_memory(struct kvm_vm *vm, u64 npages)
{
	memory_pages = npages < KVMI_WORKLOAD_OPS ? npages : KVMI_WORKLOAD_OPS;
	vm_userspace_mem_region_add(vm, VM_MEM_SRC_ANONYMOUS, KVMI_WORKLOAD_MEMORY,
				    KVMI_WORKLOAD_SLOT, npages, 0);
	virt_map(vm, KVMI_WORKLOAD_MEMORY, KVMI_WORKLOAD_MEMORY, memory_pages);
	kvmi_workload_unmap_memory(vm);
}

void kvmi_workload_unmap_memory(struct kvm_vm *vm)
{
	u8 *memory = addr_gpa2hva(vm, KVMI_WORKLOAD_MEMORY);
	u64 i;

	TEST_ASSERT(!madvise(memory, memory_pages * PAGE_SIZE, MADV_DONTNEED),
		    "madvise()");
	/* A RET, for calls */
	for (i = 0; i < memory_pages; i++)
		memory[i * PAGE_SIZE] = 0xc3;
}

void kvmi_workload_use_pages(struct kvm_vm *vm, u64 npages)
{
	TEST_ASSERT(npages && npages <= KVMI_WORKLOAD_OPS, "Too many pages");
	write_guest_global(vm, guest_pages, npages);
}

static void *workload_thread(void *arg)
{
	struct kvmi_workload_thread *t = arg;

	t->tid = gettid();
	kvmi_workload_run(t->vcpu, t->op, t->ops, &t->result);
	return NULL;
}

void kvmi_workload_start(struct kvmi_workload_thread *t)
{
	int r = pthread_create(&t->thread, NULL, workload_thread, t);

	TEST_ASSERT(!r, "pthread_create() returned %d", r);
}

void kvmi_workload_finish(struct kvmi_workload_thread *t)
{
	int r = pthread_join(t->thread, NULL);

	TEST_ASSERT(!r, "pthread_join() returned %d", r);
}
