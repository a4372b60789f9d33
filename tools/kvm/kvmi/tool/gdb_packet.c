// SPDX-License-Identifier: GPL-2.0-only
/*
 * The line to gdb: packets of its remote serial protocol, "$data#sum", where a reply
 * is acknowledged with + or -, until both sides agree to leave that out.
 *
 * What comes is not trusted: a packet that is too long, or whose sum is wrong, goes no
 * further.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>
#include "gdb.h"

#define SEND_MS		10000	/* who does not read for so long is gone */
#define INTERRUPT	0x03
#define ESCAPE		0x7d
#define ESCAPED		0x20	/* in the byte that follows */

static struct {
	struct kint_listener *listener;	/* of a socket's file */
	int listen_fd, fd;
	bool no_ack;
	enum { OUTSIDE, INSIDE, SUM1, SUM2 } state;
	size_t size;		/* may be more than there is room for */
	char packet[GDB_PACKET_SIZE + 1];
	unsigned char sum, told_sum;
	size_t sent_size;	/* the last packet, to send it again */
	char sent[GDB_PACKET_SIZE + 4];
} line = { .listen_fd = -1, .fd = -1 };

static const char digits[] = "0123456789abcdef";

static int digit_of(char c)
{
	const char *d;

	if (c >= 'A' && c <= 'F')
		c += 'a' - 'A';
	d = c ? strchr(digits, c) : NULL;
	return d ? (int)(d - digits) : -1;
}

/* ---- What packets are made of ---- */
bool take_hex(const char **text, uint64_t *value)
{
	unsigned int n = 0;
	int d;

	*value = 0;
	for (; (d = digit_of(**text)) >= 0; ++*text) {
		if (++n > 16)
			return false;
		*value = *value << 4 | d;
	}
	return n;
}

bool take_bytes(const char **text, void *data, size_t size)
{
	unsigned char *bytes = data;
	int high, low;

	for (; size; size--, *text += 2) {
		high = digit_of((*text)[0]);
		low = high < 0 ? -1 : digit_of((*text)[1]);
		if (low < 0)
			return false;
		*bytes++ = high << 4 | low;
	}
	return true;
}

bool take_char(const char **text, char c)
{
	if (**text != c)
		return false;
	++*text;
	return true;
}

bool take_word(const char **text, const char *word)
{
	size_t size = strlen(word);

	if (strncmp(*text, word, size))
		return false;
	*text += size;
	return true;
}

static void put_char(struct gdb_reply *reply, char c)
{
	if (reply->size < sizeof(reply->data))
		reply->data[reply->size++] = c;
	else
		reply->cut = true;
}

void put_text(struct gdb_reply *reply, const char *format, ...)
{
	char buf[512];
	va_list ap;
	int i, n;

	va_start(ap, format);
	n = vsnprintf(buf, sizeof(buf), format, ap);
	va_end(ap);
	for (i = 0; i < n && i < (int)sizeof(buf) - 1; i++)
		put_char(reply, buf[i]);
}

void put_hex(struct gdb_reply *reply, const void *data, size_t size)
{
	const unsigned char *bytes = data;

	for (; size; size--, bytes++) {
		put_char(reply, digits[*bytes >> 4]);
		put_char(reply, digits[*bytes & 15]);
	}
}

void put_binary(struct gdb_reply *reply, const void *data, size_t size)
{
	const char *bytes = data;

	for (; size; size--, bytes++) {
		if (strchr("#$}*", *bytes) && *bytes) {
			put_char(reply, ESCAPE);
			put_char(reply, *bytes ^ ESCAPED);
		} else {
			put_char(reply, *bytes);
		}
	}
}

/* ---- Sending ---- */
static void hang_up(void)
{
	if (line.fd >= 0)
		close(line.fd);
	line.fd = -1;
	line.state = OUTSIDE;
}

static void write_all(const char *data, size_t size)
{
	struct pollfd fd = { .fd = line.fd, .events = POLLOUT };
	int64_t end = now_ns() + SEND_MS * 1000000ll;
	ssize_t n;

	while (size && line.fd >= 0) {
		n = write(line.fd, data, size);
		if (n > 0) {
			data += n;
			size -= n;
		} else if (n < 0 && errno != EAGAIN && errno != EINTR) {
			hang_up();
		} else if (now_ns() > end || asked_to_leave()) {
			hang_up();
		} else {
			poll(&fd, 1, 100);
		}
	}
}

void gdb_link_send(const struct gdb_reply *reply)
{
	unsigned char sum = 0;
	size_t i;

	line.sent[0] = '$';
	for (i = 0; i < reply->size; i++) {
		line.sent[1 + i] = reply->data[i];
		sum += (unsigned char)reply->data[i];
	}
	line.sent[1 + i] = '#';
	line.sent[2 + i] = digits[sum >> 4];
	line.sent[3 + i] = digits[sum & 15];
	line.sent_size = i + 4;
	write_all(line.sent, line.sent_size);
}

void gdb_link_no_ack(void)
{
	line.no_ack = true;
}

/* ---- Receiving ---- */
/* What was escaped, in place */
static size_t unescape(char *data, size_t size)
{
	size_t i, n = 0;

	for (i = 0; i < size; i++) {
		if (data[i] == ESCAPE && i + 1 < size)
			data[n++] = data[++i] ^ ESCAPED;
		else
			data[n++] = data[i];
	}
	data[n] = 0;
	return n;
}

static void end_packet(struct tool *tool, gdb_handler handler)
{
	struct gdb_reply reply = { 0 };

	line.state = OUTSIDE;
	if (line.sum != line.told_sum) {
		if (!line.no_ack)
			write_all("-", 1);
		return;
	}
	if (!line.no_ack)
		write_all("+", 1);
	if (line.size > GDB_PACKET_SIZE) {
		put_text(&reply, "E%02x", ENOBUFS);
		gdb_link_send(&reply);
		return;
	}
	handler(tool, line.packet, unescape(line.packet, line.size));
}

static void take_byte(struct tool *tool, unsigned char c, gdb_handler handler)
{
	int d;

	switch (line.state) {
	case OUTSIDE:
		if (c == INTERRUPT)
			handler(tool, NULL, 0);
		else if (c == '-' && !line.no_ack)
			write_all(line.sent, line.sent_size);
		if (c != '$')
			return;
		break;
	case INSIDE:
		if (c == '#') {
			line.state = SUM1;
			return;
		}
		if (c == '$')
			break;
		line.sum += c;
		if (line.size < GDB_PACKET_SIZE)
			line.packet[line.size] = c;
		if (line.size <= GDB_PACKET_SIZE)
			line.size++;
		return;
	default:
		d = digit_of(c);
		if (d < 0) {
			/* A sum that no packet has */
			line.told_sum = ~line.sum;
			end_packet(tool, handler);
		} else if (line.state == SUM1) {
			line.told_sum = d << 4;
			line.state = SUM2;
		} else {
			line.told_sum |= d;
			end_packet(tool, handler);
		}
		return;
	}
	/* A packet begins, whatever was before */
	line.state = INSIDE;
	line.size = 0;
	line.sum = 0;
}

/* Somebody connects: one at a time, the others wait */
static void answer_call(void)
{
	int one = 1;

	line.fd = accept(line.listen_fd, NULL, NULL);
	if (line.fd < 0)
		return;
	fcntl(line.fd, F_SETFL, O_NONBLOCK);
	fcntl(line.fd, F_SETFD, FD_CLOEXEC);
	/* Not for sockets of files, where it is of no use either */
	setsockopt(line.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	line.no_ack = false;
	line.sent_size = 0;
	line.state = OUTSIDE;
}

/* The descriptor is readable.  False when gdb has hung up. */
bool gdb_link_ready(struct tool *tool, gdb_handler handler)
{
	char buf[4096];
	ssize_t n, i;

	if (line.fd < 0) {
		answer_call();
		return true;
	}
	n = read(line.fd, buf, sizeof(buf));
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return true;
	if (n <= 0)
		hang_up();
	for (i = 0; i < n && line.fd >= 0; i++)
		take_byte(tool, buf[i], handler);
	return line.fd >= 0;
}

int gdb_link_fd(void)
{
	return line.fd >= 0 ? line.fd : line.listen_fd;
}

bool gdb_link_used(void)
{
	return line.fd >= 0;
}

/* ---- Where gdb connects to ---- */
static bool open_device(const char *path)
{
	struct termios raw;
	struct stat st;

	line.fd = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	if (line.fd < 0 || fstat(line.fd, &st)) {
		error("--gdb %s: %s", path, strerror(errno));
		return false;
	}
	if (!S_ISCHR(st.st_mode) || tcgetattr(line.fd, &raw)) {
		error("--gdb %s: no serial line", path);
		return false;
	}
	cfmakeraw(&raw);
	raw.c_cflag |= CLOCAL;
	tcsetattr(line.fd, TCSANOW, &raw);
	return true;
}

static bool listen_file(const char *address)
{
	int err = kint_listen(address, &line.listener);

	if (err) {
		error("--gdb %s: %s", address, strerror(-err));
		return false;
	}
	line.listen_fd = kint_listener_fd(line.listener);
	return true;
}

/* PORT or HOST:PORT, in numbers: a program that is linked statically knows no names */
static bool parse_inet(const char *address, struct sockaddr_in *sin)
{
	const char *colon = strrchr(address, ':');
	char host[INET_ADDRSTRLEN] = "127.0.0.1";
	uint64_t port;

	if (colon && colon != address && strncmp(address, "localhost:", 10)) {
		if ((size_t)(colon - address) >= sizeof(host))
			return false;
		memcpy(host, address, colon - address);
		host[colon - address] = 0;
	}
	*sin = (struct sockaddr_in){ .sin_family = AF_INET };
	if (!parse_number(colon ? colon + 1 : address, &port) || !port || port > UINT16_MAX)
		return false;
	sin->sin_port = htons(port);
	return inet_pton(AF_INET, host, &sin->sin_addr) == 1;
}

static bool listen_inet(const char *address)
{
	struct sockaddr_in sin;
	int one = 1;

	if (!parse_inet(address, &sin)) {
		error("--gdb %s: give PORT, HOST:PORT, unix:PATH or a serial line", address);
		return false;
	}
	line.listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (line.listen_fd >= 0)
		setsockopt(line.listen_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (line.listen_fd < 0 || bind(line.listen_fd, (void *)&sin, sizeof(sin)) ||
	    listen(line.listen_fd, 1)) {
		error("--gdb %s: %s", address, strerror(errno));
		return false;
	}
	return true;
}

/* Says what is wrong */
bool gdb_link_open(const char *address)
{
	if (!strncmp(address, "unix:", 5))
		return listen_file(address);
	if (*address == '/')
		return open_device(address);
	return listen_inet(address);
}

void gdb_link_close(void)
{
	hang_up();
	if (line.listener)
		kint_listener_free(line.listener);
	else if (line.listen_fd >= 0)
		close(line.listen_fd);
	line.listener = NULL;
	line.listen_fd = -1;
}
