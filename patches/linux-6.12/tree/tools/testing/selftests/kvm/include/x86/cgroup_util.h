/* SPDX-License-Identifier: GPL-2.0-only */
/* See kvmi_compat.h.  Both libraries define the size of a page. */
#undef PAGE_SIZE
#include "../../../cgroup/cgroup_util.h"
