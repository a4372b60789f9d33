// SPDX-License-Identifier: GPL-2.0
/*
 * insn: execute an instruction that introspection can report, from a program in
 * the guest, and tell what became of it.
 *
 * Usage: insn cpuid LEAF [SUBLEAF] | int3 | ud2 | pf | hypercall
 *	  insn spin	until somebody from outside changes a word of its memory
 *	  insn tsd N	have the kernel set CR4.TSD and clear it again, N times
 */
#include <cpuid.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#define KVM_HC_XEN_HVM_OP	34
#define GUEST_REQUEST_VM_EVENT	24
#define NOWHERE			0x10000	/* below vm.mmap_min_addr */

static sigjmp_buf back;

/* The size that can be exchanged at once, and an end for printf */
static union {
	volatile uint64_t value;
	char text[9];
} word __attribute__((aligned(8))) = { .text = "KVMI-old" };

static void on_signal(int nr)
{
	siglongjmp(back, nr);
}

static void cpuid(uint32_t leaf, uint32_t subleaf)
{
	uint32_t a, b, c, d;

	__cpuid_count(leaf, subleaf, a, b, c, d);
	printf("cpuid: %08x %08x %08x %08x\n", a, b, c, d);
}

/* VMCALL is Intel's, VMMCALL is AMD's */
static long hypercall(void)
{
	uint32_t a, b, c, d;
	long ret;

	__cpuid(0, a, b, c, d);
	if (b == signature_INTEL_ebx)
		asm volatile("vmcall" : "=a"(ret)
			     : "a"(KVM_HC_XEN_HVM_OP), "D"(GUEST_REQUEST_VM_EVENT), "S"(0)
			     : "memory");
	else
		asm volatile("vmmcall" : "=a"(ret)
			     : "a"(KVM_HC_XEN_HVM_OP), "D"(GUEST_REQUEST_VM_EVENT), "S"(0)
			     : "memory");
	return ret;
}

static void spin(void)
{
	uint64_t old = word.value;

	printf("spin: at %p\n", (void *)&word);
	fflush(stdout);
	while (word.value == old)
		;
	printf("spin: found %s\n", word.text);
}

/* Whoever wants to know the time in between gets a signal */
static void tsd(unsigned long times)
{
	unsigned long i, failed = 0;

	for (i = 0; i < times; i++) {
		failed += !!prctl(PR_SET_TSC, PR_TSC_SIGSEGV);
		failed += !!prctl(PR_SET_TSC, PR_TSC_ENABLE);
	}
	printf("tsd: %lu times, %lu failed\n", times, failed);
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	int nr;

	signal(SIGTRAP, on_signal);
	signal(SIGILL, on_signal);
	signal(SIGSEGV, on_signal);
	nr = sigsetjmp(back, 1);
	if (nr) {
		printf("%s: signal %s\n", what,
		       nr == SIGTRAP ? "TRAP" : nr == SIGILL ? "ILL" : "SEGV");
		return 0;
	}

	if (!strcmp(what, "cpuid") && argc > 2)
		cpuid(strtoul(argv[2], NULL, 0), argc > 3 ? strtoul(argv[3], NULL, 0) : 0);
	else if (!strcmp(what, "spin"))
		spin();
	else if (!strcmp(what, "tsd") && argc > 2)
		tsd(strtoul(argv[2], NULL, 0));
	else if (!strcmp(what, "int3"))
		asm volatile("int3");
	else if (!strcmp(what, "ud2"))
		asm volatile("ud2");
	else if (!strcmp(what, "pf"))
		*(volatile char *)NOWHERE = 0;
	else if (!strcmp(what, "hypercall"))
		printf("hypercall: %ld\n", hypercall());
	else
		return 2;
	printf("%s: went on\n", what);
	return 0;
}
