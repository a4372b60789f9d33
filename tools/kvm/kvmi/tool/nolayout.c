// SPDX-License-Identifier: GPL-2.0-only
/*
 * A tool that was built without the libraries that read a kernel's types.
 */
#include <errno.h>
#include "tool.h"

int layout_of_btf(const void *data, size_t size, struct layout *l)
{
	(void)data;
	(void)size;
	(void)l;
	return -ENOSYS;
}

int layout_of_vmlinux(const char *path, bool (*add)(uint64_t address, const char *name),
		      struct layout *l)
{
	(void)path;
	(void)add;
	(void)l;
	return -ENOSYS;
}
