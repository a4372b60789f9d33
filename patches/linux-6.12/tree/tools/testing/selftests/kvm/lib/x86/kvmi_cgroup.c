// SPDX-License-Identifier: GPL-2.0-only
/* The library of the control group tests, which Linux 6.12 has no rule to build for others. */
#undef PAGE_SIZE
#include "../../../cgroup/cgroup_util.c"
