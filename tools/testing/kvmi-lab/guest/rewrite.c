// SPDX-License-Identifier: GPL-2.0
/*
 * rewrite: programs of a guest whose code is changed, and what becomes of it.
 *
 * Usage: rewrite pages	write code in every way, and run it, when /tmp/go is there; it
 *			says first where in guest memory that code is
 *	  rewrite getppid N	N system calls
 *	  rewrite offset	where in its file the function is that does each of these
 */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE	4096
#define TARGET	512	/* where code is put, in a page */
#define SOURCE	608	/* and where it is copied from */
#define SEVEN	7	/* what the functions at the beginning of each page return */

static uint8_t *pages[2];
static volatile int done, calls_failed;
static sigjmp_buf back;
static int nright, nwrong;

static void until_there(const char *path)
{
	while (access(path, F_OK))
		usleep(10000);
}

static uint64_t physical(const void *p)
{
	FILE *map = fopen("/proc/self/pagemap", "rb");
	uint64_t entry = 0;

	if (!map || fseek(map, (uintptr_t)p / PAGE * 8, SEEK_SET) ||
	    fread(&entry, 8, 1, map) != 1)
		exit(3);
	fclose(map);
	return (entry & ((1ull << 55) - 1)) * PAGE + (uintptr_t)p % PAGE;
}

/* mov $value, %eax; ret */
static void put(uint8_t *p, uint32_t value)
{
	uint8_t code[8] = { 0xb8, value, value >> 8, value >> 16, value >> 24, 0xc3 };

	memcpy(p, code, sizeof(code));
}

static int call(const uint8_t *p)
{
	return ((int (*)(void))p)();
}

static void copy_bytes(void *to, const void *from, size_t n)
{
	asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
}

static void copy_word(void *to, const void *from)
{
	size_t n = 1;

	asm volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
}

static void from_pipe(void *to, const void *from)
{
	int fds[2];

	if (pipe(fds) || write(fds[1], from, 8) != 8 || read(fds[0], to, 8) != 8)
		exit(4);
	close(fds[0]);
	close(fds[1]);
}

static void result(const char *how, int got, int expected)
{
	int i;

	/* Where there are breakpoints */
	for (i = 0; i < 2; i++)
		if (call(pages[i]) != SEVEN)
			got = -1;
	if (got == expected)
		nright++;
	else
		nwrong++;
	printf("rewrite: by %s: %d, %s\n", how, got, got == expected ? "right" : "wrong");
}

static void write_pages(void)
{
	uint8_t *to = pages[0] + TARGET, *from = pages[0] + SOURCE, *other = pages[1] + SOURCE;
	uint8_t elsewhere[8];
	uint32_t value, old;

	put(to, 1);
	result("stores", call(to), 1);
	put(from, 2);
	copy_bytes(to, from, 6);
	result("rep movsb", call(to), 2);
	put(other, 3);
	copy_bytes(to, other, 6);
	result("rep movsb from the other page", call(to), 3);
	put(other, 4);
	copy_word(to, other);
	result("rep movsq from the other page", call(to), 4);
	put(from, 5);
	copy_word(pages[1] + TARGET, from);
	result("rep movsq to the other page", call(pages[1] + TARGET), 5);
	asm volatile("addl %1, %0" : "+m"(*(uint32_t *)(to + 1)) : "r"(2));
	result("add", call(to), 6);
	value = 1;
	asm volatile("lock xaddl %1, %0" : "+m"(*(uint32_t *)(to + 1)), "+r"(value));
	result("lock xadd", call(to), 7);
	value = 8;
	asm volatile("xchgl %1, %0" : "+m"(*(uint32_t *)(to + 1)), "+r"(value));
	result("xchg", call(to), 8);
	old = 8;
	value = 9;
	asm volatile("lock cmpxchgl %2, %0" : "+m"(*(uint32_t *)(to + 1)), "+a"(old) : "r"(value));
	result("lock cmpxchg", call(to), 9);
	put(elsewhere, 10);
	asm volatile("movq %1, %%xmm0; movq %%xmm0, %0" : "=m"(*(uint64_t *)to)
		     : "m"(*(uint64_t *)elsewhere) : "xmm0");
	result("movq of a vector register", call(to), 10);
	put(elsewhere, 11);
	from_pipe(to, elsewhere);
	result("read(2)", call(to), 11);
	put(other, 12);
	from_pipe(to, other);
	result("read(2) of what write(2) took from the other page", call(to), 12);
}

static void *keep_calling(void *arg)
{
	while (!done) {
		if (call(pages[0]) != SEVEN || call(pages[1]) != SEVEN)
			calls_failed++;
		usleep(10000);
	}
	return arg;
}

static void on_trap(int nr)
{
	siglongjmp(back, nr);
}

/* A debugger's breakpoint, where somebody outside has one as well */
static void own_breakpoint(void)
{
	volatile uint8_t *first = pages[0];

	signal(SIGTRAP, on_trap);
	if (!sigsetjmp(back, 1)) {
		*first = 0xcc;
		call(pages[0]);
		printf("rewrite: INT3 was not executed\n");
	} else {
		printf("rewrite: INT3 is this program's\n");
	}
	*first = 0xb8;
	result("INT3 and back", call(pages[0]), SEVEN);
}

static int do_pages(void)
{
	pthread_t thread;
	int i;

	for (i = 0; i < 2; i++) {
		pages[i] = mmap(NULL, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC,
				MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		if (pages[i] == MAP_FAILED)
			return 3;
		put(pages[i], SEVEN);
	}
	printf("rewrite: pages at %#llx %#llx\n", (unsigned long long)physical(pages[0]),
	       (unsigned long long)physical(pages[1]));
	fflush(stdout);
	until_there("/tmp/go");
	if (pthread_create(&thread, NULL, keep_calling, NULL))
		return 3;
	write_pages();
	done = 1;
	pthread_join(thread, NULL);
	own_breakpoint();
	printf("rewrite: %d right, %d wrong, %d calls failed\n", nright, nwrong, calls_failed);
	return 0;
}

static __attribute__((noinline)) void ask(void)
{
	getppid();
}

/* For an uprobe */
static int say_offset(void)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	unsigned long start, end, offset, address = (unsigned long)ask;
	char line[512];

	while (maps && fgets(line, sizeof(line), maps)) {
		if (sscanf(line, "%lx-%lx %*s %lx", &start, &end, &offset) == 3 &&
		    address >= start && address < end) {
			printf("rewrite: at offset 0x%lx\n", address - start + offset);
			return 0;
		}
	}
	return 3;
}

int main(int argc, char **argv)
{
	int n;

	if (argc == 2 && !strcmp(argv[1], "pages"))
		return do_pages();
	if (argc == 2 && !strcmp(argv[1], "offset"))
		return say_offset();
	if (argc != 3 || strcmp(argv[1], "getppid"))
		return 2;
	for (n = atoi(argv[2]); n > 0; n--)
		ask();
	printf("rewrite: getppid done\n");
	return 0;
}
