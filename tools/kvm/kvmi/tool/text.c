// SPDX-License-Identifier: GPL-2.0-only
/*
 * Text that comes from somebody else: names of VMs, of files in a guest, of its
 * kernel's symbols.  Nothing of it may move the cursor, set a terminal's title, or
 * look like a line of the tool's own.
 */
#include <string.h>
#include "tool.h"

/* Those that hide, or change the order of what is around them */
static bool is_invisible(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0xad || c == 0x61c ||
	       (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
	       (c >= 0x2060 && c <= 0x206f) || c == 0xfeff || (c >= 0xfff0 && c <= 0xfffb) ||
	       (c >= 0xe0000 && c <= 0xe0fff);
}

/* A character of UTF-8 at @p.  Returns its size, 0 if there is none. */
static unsigned int decode(const unsigned char *p, uint32_t *c)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	unsigned int size, i;

	if (*p < 0x80) {
		*c = *p;
		return 1;
	}
	size = *p >= 0xf0 ? 4 : *p >= 0xe0 ? 3 : 2;
	if (*p < 0xc2 || *p > 0xf4)
		return 0;
	*c = *p & (0x7f >> size);
	/* The 0 at the end of the text is no continuation */
	for (i = 1; i < size; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		*c = *c << 6 | (p[i] & 0x3f);
	}
	if (*c < least[size] || *c > 0x10ffff || (*c >= 0xd800 && *c < 0xe000))
		return 0;
	return size;
}

/* What is no visible character as \xNN for each byte, a backslash as two */
void print_text(FILE *out, const char *text)
{
	const unsigned char *p = (const unsigned char *)text;
	unsigned int size, i;
	uint32_t c;

	for (; *p; p += size) {
		size = decode(p, &c);
		if (*p == '\\' || *p == '"') {
			fprintf(out, "\\%c", *p);
		} else if (size && !is_invisible(c)) {
			fwrite(p, 1, size, out);
		} else {
			size = size ? size : 1;
			for (i = 0; i < size; i++)
				fprintf(out, "\\x%02x", p[i]);
		}
	}
}

/* In quotes; what is no UTF-8 as the character that stands for such */
void json_string(FILE *out, const char *text)
{
	const unsigned char *p = (const unsigned char *)text;
	unsigned int size;
	uint32_t c;

	fputc('"', out);
	for (; *p; p += size) {
		size = decode(p, &c);
		if (!size) {
			size = 1;
			fputs("\\ufffd", out);
		} else if (c == '"' || c == '\\') {
			fprintf(out, "\\%c", (char)c);
		} else if (!is_invisible(c)) {
			fwrite(p, 1, size, out);
		} else if (c < 0x10000) {
			fprintf(out, "\\u%04x", c);
		} else {
			fprintf(out, "\\u%04x\\u%04x", 0xd800 + ((c - 0x10000) >> 10),
				0xdc00 + (c & 0x3ff));
		}
	}
	fputc('"', out);
}
