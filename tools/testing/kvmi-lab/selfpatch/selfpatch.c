// SPDX-License-Identifier: GPL-2.0
/*
 * A guest that patches its own code, in the way of static keys, ftrace and static calls,
 * and in that of kprobes, while a thread on another CPU executes it.
 *
 * insmod selfpatch.ko single=ADDRESS byte=ADDRESS sync=ADDRESS mutex=ADDRESS
 *
 * These are smp_text_poke_single(), text_poke(), smp_text_poke_sync_each_cpu() and
 * text_mutex, which modules cannot name.  The other parameters are found in sysfs:
 * "toggle" makes a jump of a NOP, or a NOP of the jump, as often as it is told, "probe"
 * an INT3 of another NOP, and back; "site" and "spot" are their addresses; "calls"
 * counts calls of their function, "wrong" those that saw the code as it was before,
 * "traps" the INT3s that came here.
 */
#include <linux/delay.h>
#include <linux/kdebug.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/mutex.h>

static ulong single, byte, sync, mutex;
static ulong calls, wrong, traps, site, spot;

/* Half of the number of changes and of their ends: odd while one is under way */
static unsigned int turn;
static struct task_struct *thread;

/* Where the NOPs are, and where the jump leads to; see look() */
extern const ulong selfpatch_places[3];

static noinline __noclone bool look(void)
{
	unsigned int jumped = 1;

	asm volatile("1: .byte 0x0f, 0x1f, 0x44, 0x00, 0x00\n"
		     "2: nop\n"
		     "xorl %0, %0\n"
		     "3:\n"
		     ".pushsection .rodata\n"
		     ".balign 8\n"
		     "selfpatch_places: .quad 1b, 2b, 3b\n"
		     ".popsection\n"
		     : "+r"(jumped) : : "cc");
	return jumped;
}

static bool state_at(unsigned int when)
{
	return when / 2 % 2;
}

static int keep_looking(void *unused)
{
	unsigned int before;
	bool seen;

	while (!kthread_should_stop()) {
		/* What was changed before is seen: pairs with the release of change() */
		before = smp_load_acquire(&turn);
		seen = look();
		/* Pairs with the smp_wmb() of change() */
		smp_rmb();
		if (before % 2 == 0 && READ_ONCE(turn) == before && seen != state_at(before))
			WRITE_ONCE(wrong, wrong + 1);
		WRITE_ONCE(calls, calls + 1);
		fsleep(10000);
	}
	return 0;
}

/* Until a call that began after now has ended */
static int wait_for_call(void)
{
	ulong then = READ_ONCE(calls);

	while (READ_ONCE(calls) < then + 2) {
		if (msleep_interruptible(1))
			return -EINTR;
	}
	return 0;
}

static void change(bool jump)
{
	void (*poke)(void *addr, const void *opcode, size_t len, const void *emulate) =
		(void *)single;
	u8 insn[5] = { 0x0f, 0x1f, 0x44, 0x00, 0x00 };
	s32 distance = selfpatch_places[2] - (site + sizeof(insn));

	if (jump) {
		insn[0] = 0xe9;
		memcpy(insn + 1, &distance, sizeof(distance));
	}
	mutex_lock((struct mutex *)mutex);
	WRITE_ONCE(turn, turn + 1);
	/* Pairs with the smp_rmb() of keep_looking() */
	smp_wmb();
	poke((void *)site, insn, sizeof(insn), NULL);
	/* Pairs with the acquire of keep_looking() */
	smp_store_release(&turn, turn + 1);
	mutex_unlock((struct mutex *)mutex);
}

static int toggle(const char *text, const struct kernel_param *param)
{
	unsigned int times;
	int err = kstrtouint(text, 0, &times);

	for (; !err && times; times--) {
		change(!state_at(turn));
		err = wait_for_call();
	}
	return err;
}

static void put_byte(u8 value)
{
	void *(*poke)(void *addr, const void *opcode, size_t len) = (void *)byte;
	void (*poke_sync)(void) = (void *)sync;

	mutex_lock((struct mutex *)mutex);
	poke((void *)spot, &value, 1);
	poke_sync();
	mutex_unlock((struct mutex *)mutex);
}

/* Calls between the two writes come here, and no others */
static int probe(const char *text, const struct kernel_param *param)
{
	unsigned int times;
	int err = kstrtouint(text, 0, &times);

	for (; !err && times; times--) {
		put_byte(0xcc);
		err = wait_for_call();
		put_byte(0x90);
	}
	return err;
}

static int on_die(struct notifier_block *nb, unsigned long what, void *data)
{
	struct die_args *args = data;

	if (what != DIE_INT3 || args->regs->ip != spot + 1)
		return NOTIFY_DONE;
	WRITE_ONCE(traps, traps + 1);
	return NOTIFY_STOP;
}

static struct notifier_block die_notifier = { .notifier_call = on_die };
static const struct kernel_param_ops toggle_ops = { .set = toggle };
static const struct kernel_param_ops probe_ops = { .set = probe };

module_param(single, ulong, 0);
module_param(byte, ulong, 0);
module_param(sync, ulong, 0);
module_param(mutex, ulong, 0);
module_param_cb(toggle, &toggle_ops, NULL, 0200);
module_param_cb(probe, &probe_ops, NULL, 0200);
module_param(calls, ulong, 0444);
module_param(wrong, ulong, 0444);
module_param(traps, ulong, 0444);
module_param(site, ulong, 0444);
module_param(spot, ulong, 0444);

static int __init selfpatch_init(void)
{
	int err;

	if (!single || !byte || !sync || !mutex)
		return -EINVAL;
	site = selfpatch_places[0];
	spot = selfpatch_places[1];
	err = register_die_notifier(&die_notifier);
	if (err)
		return err;
	thread = kthread_create(keep_looking, NULL, "selfpatch");
	if (IS_ERR(thread)) {
		unregister_die_notifier(&die_notifier);
		return PTR_ERR(thread);
	}
	kthread_bind(thread, num_online_cpus() - 1);
	wake_up_process(thread);
	return 0;
}

static void __exit selfpatch_exit(void)
{
	kthread_stop(thread);
	unregister_die_notifier(&die_notifier);
}

module_init(selfpatch_init);
module_exit(selfpatch_exit);
MODULE_DESCRIPTION("A guest that patches its own code");
MODULE_LICENSE("GPL");
