// SPDX-License-Identifier: GPL-2.0-only
/*
 * kvmi gdb: guest memory by virtual address, as a vCPU sees it that stands still.
 */
#include <errno.h>
#include "gdb.h"

static int note_address(void *arg, const struct mapping *m)
{
	*(uint64_t *)arg = m->gpa + (*(uint64_t *)arg - m->gva);
	return 1;
}

static int walk(struct tool *tool, const struct kvm_sregs *sregs, uint64_t gva, uint64_t *gpa)
{
	int ret;

	*gpa = gva;
	ret = walk_pages(tool, sregs, gva, gva, note_address, gpa);
	if (ret > 0)
		return 0;
	return ret && ret != -EOPNOTSUPP ? ret : -EFAULT;
}

/*
 * With @sregs by these and not those that the vCPU has.  What a program cannot see of
 * its kernel can be seen all the same.  -EFAULT it is not mapped.
 */
int gdb_translate(struct tool *tool, const struct gdb_vcpu *v, const struct kvm_sregs *sregs,
		  uint64_t gva, uint64_t *gpa)
{
	struct kvm_sregs kernel = v->event.common.arch.sregs;
	int err;

	if (sregs)
		return walk(tool, sregs, gva, gpa);
	err = kint_translate_gva(tool->conn, v->nr, gva, gpa);
	if (err != -EFAULT)
		return err;
	if (!(gva & UPPER_HALF) || kernel.ss.dpl != 3)
		return err;
	/* Where the kernel is not isolated beside these tables is somebody else's page */
	err = kernel_tables(tool, &kernel);
	if (!err && kernel.cr3 == v->event.common.arch.sregs.cr3)
		err = -EFAULT;
	return err ? err : walk(tool, &kernel, gva, gpa);
}

static size_t part_of(uint64_t gva, size_t size)
{
	size_t part = PAGE_SIZE - gva % PAGE_SIZE;

	return part < size ? part : size;
}

int gdb_read(struct tool *tool, const struct gdb_vcpu *v, uint64_t gva, void *data, size_t size)
{
	size_t done, part;
	uint64_t gpa;
	int err = 0;

	for (done = 0; done < size && !err; done += err ? 0 : part) {
		part = part_of(gva + done, size - done);
		err = gdb_translate(tool, v, NULL, gva + done, &gpa);
		if (!err)
			err = kint_read_physical(tool->conn, gpa, (char *)data + done, part);
	}
	return done ? (int)done : err;
}

int gdb_write(struct tool *tool, const struct gdb_vcpu *v, uint64_t gva, const void *data,
	      size_t size)
{
	size_t done, part;
	uint64_t gpa;
	int err = 0;

	for (done = 0; done < size && !err; done += err ? 0 : part) {
		part = part_of(gva + done, size - done);
		err = gdb_translate(tool, v, NULL, gva + done, &gpa);
		if (!err)
			err = kint_write_physical(tool->conn, gpa, (const char *)data + done, part);
	}
	return done ? (int)done : err;
}
