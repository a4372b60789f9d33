/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef KVMI_TEST_FAKEVM_H
#define KVMI_TEST_FAKEVM_H

#include <kvmi/libkvmi.h>
#include "peer.h"

#define RAM (1 << 20)
#define HOLE 0x40000		/* one page that is no memory */
#define FAKE_COOKIE 0x1234

extern unsigned char ram[RAM];

/* fakestate.c: answer a command about memory or state; false for another one */
bool fake_state(int sock, const struct peer_msg *msg);

#endif
