// SPDX-License-Identifier: GPL-2.0-only
/*
 * The handshake, and the reply to the first command, as the input says
 */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <kint/libkint.h>
#include "fuzz.h"
#include "peer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct kint_options opts = { .timeout_ms = 1, .cookie = "abc", .cookie_size = 3 };
	struct intro intro = { .struct_size = sizeof(intro) };
	struct input in = { data, size };
	struct kint_conn *conn;
	int sv[2];

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, sv))
		abort();
	if (take(&in) & 3)
		intro.struct_size = take_number(&in) & 0xfff;
	if (take(&in) & 1)
		peer_write(sv[1], &intro, sizeof(intro));
	if (in.left)
		peer_write(sv[1], in.data, in.left);
	if (size & 1)
		shutdown(sv[1], SHUT_WR);
	if (!kint_open(sv[0], &opts, &conn)) {
		if (!memchr(kint_peer_info(conn)->name, 0,
			    sizeof(kint_peer_info(conn)->name)))
			abort();
		kint_close(conn);
	}
	close(sv[1]);
	return 0;
}
