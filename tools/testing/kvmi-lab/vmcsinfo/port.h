/* SPDX-License-Identifier: GPL-2.0 */
#ifndef PORT_H
#define PORT_H

#include <linux/types.h>

#define BLOCK_MAGIC	0x5aa5c33cu
#define BLOCK_SIZE	4096

struct block {
	__u32 magic, size;
	__u64 offset;
	__u8 data[BLOCK_SIZE];
};

#endif /* PORT_H */
