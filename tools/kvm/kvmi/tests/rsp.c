// SPDX-License-Identifier: GPL-2.0-only
/*
 * rsp: the remote serial protocol, spoken by hand.
 *
 *   rsp PATH            commands from standard input, one a line
 *   rsp PATH SEED N     N pieces of garbage, made of the seed
 *
 * A line is a packet's data, with \xNN for any byte; the reply is printed.  "^C"
 * interrupts, "wait" prints the next packet, "no-answer DATA" does not wait for one,
 * "noack" agrees to no acknowledgements, "bad" sends a wrong sum, "nak" asks for the last
 * packet again, "raw DATA" sends bytes that are no packet.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define MAX 40000

static int sock;
static bool no_ack;

static void send_bytes(const char *data, size_t size)
{
	if (send(sock, data, size, MSG_NOSIGNAL) != (ssize_t)size)
		exit(3);
}

static int next_byte(void)
{
	unsigned char c;

	return recv(sock, &c, 1, 0) == 1 ? c : -1;
}

static void print_packet(void)
{
	unsigned char sum = 0;
	char told[3] = { 0 };
	int c;

	do {
		c = next_byte();
		if (c == '-')
			printf("(-) ");
	} while (c >= 0 && c != '$');
	if (c < 0) {
		printf("(nothing)\n");
		return;
	}
	while ((c = next_byte()) >= 0 && c != '#') {
		sum += c;
		if (c >= 0x20 && c < 0x7f)
			putchar(c);
		else
			printf("\\x%02x", c);
	}
	told[0] = next_byte();
	told[1] = next_byte();
	printf("%s\n", strtoul(told, NULL, 16) == sum ? "" : " (wrong sum)");
	if (!no_ack)
		send_bytes("+", 1);
}

static size_t unescape(char *text)
{
	char *from = text, *to = text;
	unsigned int value;

	while (*from && *from != '\n') {
		if (!strncmp(from, "\\x", 2) && sscanf(from + 2, "%2x", &value) == 1) {
			*to++ = value;
			from += 4;
		} else {
			*to++ = *from++;
		}
	}
	*to = 0;
	return to - text;
}

static void send_packet(const char *data, size_t size, int wrong)
{
	unsigned char sum = wrong;
	static char frame[MAX + 4];
	size_t i;

	for (i = 0; i < size; i++)
		sum += data[i];
	frame[0] = '$';
	memcpy(frame + 1, data, size);
	snprintf(frame + 1 + size, 4, "#%02x", sum);
	send_bytes(frame, size + 4);
}

static void talk(void)
{
	static char text[MAX];
	size_t size;

	while (fgets(text, sizeof(text), stdin)) {
		size = unescape(text);
		if (!strcmp(text, "^C")) {
			send_bytes("\x03", 1);
		} else if (!strcmp(text, "wait")) {
			print_packet();
		} else if (!strcmp(text, "nak")) {
			send_bytes("-", 1);
			print_packet();
		} else if (!strcmp(text, "bad")) {
			send_packet("?", 1, 1);
			printf("%c\n", next_byte());
		} else if (!strncmp(text, "raw ", 4)) {
			send_bytes(text + 4, size - 4);
		} else if (!strncmp(text, "sleep ", 6)) {
			usleep(atoi(text + 6) * 1000);
		} else if (!strncmp(text, "no-answer ", 10)) {
			send_packet(text + 10, size - 10, 0);
		} else {
			send_packet(text, size, 0);
			print_packet();
			if (!strcmp(text, "QStartNoAckMode"))
				no_ack = true;
		}
	}
}

/* Packets that gdb could send, with some of it wrong, and what is none */
static void talk_garbage(unsigned int seed, unsigned int n)
{
	static const char *const starts[] = {
		"g", "G", "p", "P", "m", "M", "x", "X", "Z0,", "Z1,", "Z2,", "Z3,", "Z4,", "z0,",
		"z2,", "Hg", "Hc", "T", "vCont;", "vCont;c:", "vCont;s:", "vCont?", "qSupported:",
		"qXfer:features:read:target.xml:", "qRcmd,", "qfThreadInfo", "qThreadExtraInfo,",
		"?", "c", "s", "C", "S", "Mffffffff81007010,", "Zffffffff81005000", "qC",
	};
	static const char likely[] = "0123456789abcdef,:;=#$}*+-\x03xsc";
	char data[600], drain[4096];
	unsigned int i, length, at;

	srand(seed);
	while (n--) {
		at = rand() % (sizeof(starts) / sizeof(starts[0]));
		length = snprintf(data, sizeof(data), "%s", starts[at]);
		if (rand() % 3)
			length += snprintf(data + length, 64, "%s%x,%x",
					   rand() % 2 ? "ffffffff8100" : "",
					   rand() % 0x10000, rand() % 64);
		for (i = rand() % (rand() % 16 ? 12 : 500); i; i--)
			data[length++] = rand() % 4 ? likely[rand() % (sizeof(likely) - 1)] :
					 rand();
		switch (rand() % 8) {
		case 0:
			send_bytes(data, length);
			break;
		case 1:
			send_packet(data, length, rand());
			break;
		default:
			send_packet(data, length, 0);
		}
		if (!(rand() % 8))
			send_bytes("\x03", 1);
		while (recv(sock, drain, sizeof(drain), MSG_DONTWAIT) > 0)
			;
	}
	printf("sent\n");
}

int main(int argc, char **argv)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	struct timeval patience = { .tv_sec = 5 };

	if (argc < 2 || strlen(argv[1]) >= sizeof(sun.sun_path))
		return 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	memcpy(sun.sun_path, argv[1], strlen(argv[1]));
	sock = socket(AF_UNIX, SOCK_STREAM, 0);
	if (connect(sock, (struct sockaddr *)&sun, sizeof(sun))) {
		perror("rsp");
		return 1;
	}
	setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (argc > 3)
		talk_garbage(atoi(argv[2]), atoi(argv[3]));
	else
		talk();
	return 0;
}
