/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Given to sparse before every file by `check`: what the kernel uses and
 * sparse 0.6.4, the newest that Debian has, does not know.  An unknown thing is
 * an error to it, and after an error it checks no locking in that file.
 */

/* Without this the build skips sparse; plain typeof only makes it stricter */
#define __typeof_unqual__ __typeof__

/* module_param() asserts lengths of string literals at compile time */
#define __builtin_strlen(s) (sizeof(s) - 1)
