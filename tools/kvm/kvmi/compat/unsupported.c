// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * What KVM does not have.
 */
#include <errno.h>
#include <sys/mman.h>
#include "compat.h"

/* Nobody asks what for */
#pragma GCC diagnostic ignored "-Wunused-parameter"

static int no_such_thing(void)
{
	errno = ENOSYS;
	return -1;
}

static int not_supported(void *dom, bool *supported)
{
	struct domain *d = domain_enter(dom);

	*supported = false;
	return d ? domain_leave(d, 0) : -1;
}

int kvmi_spp_support(void *dom, bool *supported)
{
	return not_supported(dom, supported);
}

int kvmi_ve_support(void *dom, bool *supported)
{
	return not_supported(dom, supported);
}

int kvmi_vmfunc_support(void *dom, bool *supported)
{
	return not_supported(dom, supported);
}

int kvmi_set_page_write_bitmap(void *dom, __u64 *gpa, __u32 *bitmap, unsigned short count)
{
	return no_such_thing();
}

int kvmi_queue_spp_access(void *batch, __u64 *gpa, __u32 *bitmap, __u16 view, __u16 count)
{
	return no_such_thing();
}

int kvmi_set_ve_info_page(void *dom, unsigned short vcpu, unsigned long long gpa)
{
	return no_such_thing();
}

int kvmi_disable_ve(void *dom, unsigned short vcpu)
{
	return no_such_thing();
}

int kvmi_set_ept_page_conv(void *dom, unsigned short index, unsigned long long gpa, bool sve)
{
	return no_such_thing();
}

int kvmi_get_ept_page_conv(void *dom, unsigned short index, unsigned long long gpa, bool *sve)
{
	return no_such_thing();
}

int kvmi_control_ept_view(void *dom, unsigned short vcpu, unsigned short view, bool visible)
{
	return no_such_thing();
}

int kvmi_memory_mapping(void *dom, bool enable)
{
	return no_such_thing();
}

void *kvmi_map_physical_page(void *dom, unsigned long long gpa)
{
	no_such_thing();
	return MAP_FAILED;
}

int kvmi_unmap_physical_page(void *dom, void *addr)
{
	return no_such_thing();
}

bool kvmi_remote_mapping_v2(void)
{
	return false;
}
