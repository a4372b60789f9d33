// SPDX-License-Identifier: GPL-2.0
/*
 * /proc/disk is the second disk of Bochs, to write pages of a dump to.  The kernel of
 * the lab has no block devices.
 */
#include <linux/fs.h>
#include <linux/io.h>
#include <linux/module.h>
#include <linux/proc_fs.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#define ATA		0x170
#define ATA_DATA	(ATA + 0)
#define ATA_COUNT	(ATA + 2)
#define ATA_LBA		(ATA + 3)
#define ATA_DEVICE	(ATA + 6)
#define ATA_COMMAND	(ATA + 7)
#define ATA_STATUS	(ATA + 7)
#define ATA_CONTROL	0x376

#define NO_INTERRUPTS	0x02
#define BY_LBA		0xe0
#define WRITE_SECTORS	0x30
#define BUSY		0x80
#define DATA_REQUEST	0x08
#define FAILED		0x21

#define SECTOR		512
#define SECTORS		(PAGE_SIZE / SECTOR)

static int wait_for(u8 wanted)
{
	unsigned int i;
	u8 status;

	for (i = 0; i < 1000000; i++) {
		status = inb(ATA_STATUS);
		if (!(status & BUSY) && (status & DATA_REQUEST) == wanted)
			return status & FAILED ? -EIO : 0;
	}
	return -EIO;
}

static int write_page(const void *page, u32 lba)
{
	unsigned int i;
	int r;

	outb(BY_LBA | lba >> 24, ATA_DEVICE);
	outb(SECTORS, ATA_COUNT);
	for (i = 0; i < 3; i++)
		outb(lba >> (8 * i), ATA_LBA + i);
	outb(WRITE_SECTORS, ATA_COMMAND);
	for (i = 0; i < SECTORS; i++) {
		r = wait_for(DATA_REQUEST);
		if (r)
			return r;
		outsl(ATA_DATA, page + i * SECTOR, SECTOR / 4);
	}
	return wait_for(0);
}

static ssize_t disk_write(struct file *file, const char __user *buf, size_t size, loff_t *pos)
{
	void *page;
	int r;

	if (size != PAGE_SIZE || *pos % PAGE_SIZE || *pos / SECTOR > BIT(28) - SECTORS)
		return -EINVAL;
	page = memdup_user(buf, size);
	if (IS_ERR(page))
		return PTR_ERR(page);
	r = write_page(page, *pos / SECTOR);
	kfree(page);
	if (r)
		return r;
	*pos += size;
	return size;
}

static const struct proc_ops disk_ops = {
	.proc_write = disk_write,
	.proc_lseek = default_llseek,
};

static int __init disk_init(void)
{
	outb(NO_INTERRUPTS, ATA_CONTROL);
	return proc_create("disk", 0200, NULL, &disk_ops) ? 0 : -ENOMEM;
}

static void __exit disk_exit(void)
{
	remove_proc_entry("disk", NULL);
}

module_init(disk_init);
module_exit(disk_exit);
MODULE_DESCRIPTION("The second disk of Bochs");
MODULE_LICENSE("GPL");
