/* SPDX-License-Identifier: GPL-2.0 */
#ifndef PORT_H
#define PORT_H

#include <linux/types.h>

#define PORT_MAGIC	0x5aa5c33cu
#define PORT_BLOCK	4096

struct port_block {
	__u32 magic, size;
	__u64 offset;
	__u8 data[PORT_BLOCK];
};

#endif /* PORT_H */
