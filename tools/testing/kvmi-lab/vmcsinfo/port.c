// SPDX-License-Identifier: GPL-2.0
/*
 * What is written to /proc/port goes to port 0xe9, which Bochs copies to its
 * standard output.  A serial line would take hours for a dump.
 *
 * It is a dump in blocks with their place in it, and of those only that aren't zero;
 * the last one is empty.  receive.c puts them together.
 */
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/proc_fs.h>
#include <linux/uaccess.h>

#include "port.h"

static struct port_block block = { .magic = PORT_MAGIC };
static u32 filled;

static void send(void)
{
	block.size = filled;
	/* The first says where it starts, one that is not full how long it is */
	if (!block.offset || filled < PORT_BLOCK || memchr_inv(block.data, 0, filled))
		outsb(0xe9, &block, offsetof(struct port_block, data) + filled);
	block.offset += filled;
	filled = 0;
}

static ssize_t port_write(struct file *file, const char __user *buf, size_t size, loff_t *pos)
{
	size_t n = min_t(size_t, size, PORT_BLOCK - filled);

	if (copy_from_user(block.data + filled, buf, n))
		return -EFAULT;
	filled += n;
	if (filled == PORT_BLOCK)
		send();
	return n;
}

static int port_release(struct inode *inode, struct file *file)
{
	if (filled)
		send();
	send();
	block.offset = 0;
	return 0;
}

static const struct proc_ops port_ops = {
	.proc_write = port_write,
	.proc_release = port_release,
};

static int __init port_init(void)
{
	return proc_create("port", 0200, NULL, &port_ops) ? 0 : -ENOMEM;
}

static void __exit port_exit(void)
{
	remove_proc_entry("port", NULL);
}

module_init(port_init);
module_exit(port_exit);
MODULE_DESCRIPTION("A file out of Bochs");
MODULE_LICENSE("GPL");
