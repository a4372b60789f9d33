// SPDX-License-Identifier: GPL-2.0-only
/*
 * System calls of 64-bit Linux guests: names, and calls with their arguments.
 */
#define _GNU_SOURCE
#include <string.h>
#include "tool.h"

#define MAX_TEXT	256
#define MAX_ERRNO	4095
#define MAX_CALL	4095	/* more than there are, and a name may not have come here yet */

/*
 * By their number.  Arguments: d a number of 32 bits, l one of 64, f a descriptor that may
 * be AT_FDCWD, s a string, x a hexadecimal number, o an octal one.
 */
static const struct call {
	const char *name, *args;
} calls[] = {
	[0] = { "read", "dxl" }, [1] = { "write", "dxl" }, [2] = { "open", "sxo" },
	[3] = { "close", "d" }, [4] = { "stat", "sx" }, [5] = { "fstat", "dx" },
	[6] = { "lstat", "sx" }, [7] = { "poll", "xdd" }, [8] = { "lseek", "dld" },
	[9] = { "mmap", "xlxxdx" }, [10] = { "mprotect", "xlx" }, [11] = { "munmap", "xl" },
	[12] = { "brk", "x" }, [13] = { "rt_sigaction", "dxxl" },
	[14] = { "rt_sigprocmask", "dxxl" }, [15] = { "rt_sigreturn", "" },
	[16] = { "ioctl", "dxx" }, [17] = { "pread64", "dxll" },
	[18] = { "pwrite64", "dxll" }, [19] = { "readv", "dxd" },
	[20] = { "writev", "dxd" }, [21] = { "access", "so" }, [22] = { "pipe", "x" },
	[23] = { "select", "dxxxx" }, [24] = { "sched_yield", "" },
	[25] = { "mremap", "xllxx" }, [26] = { "msync", "xlx" },
	[27] = { "mincore", "xlx" }, [28] = { "madvise", "xld" },
	[29] = { "shmget", "dlx" }, [30] = { "shmat", "dxx" }, [31] = { "shmctl", "ddx" },
	[32] = { "dup", "d" }, [33] = { "dup2", "dd" }, [34] = { "pause", "" },
	[35] = { "nanosleep", "xx" }, [36] = { "getitimer", "dx" }, [37] = { "alarm", "d" },
	[38] = { "setitimer", "dxx" }, [39] = { "getpid", "" },
	[40] = { "sendfile", "ddxl" }, [41] = { "socket", "ddd" },
	[42] = { "connect", "dxd" }, [43] = { "accept", "dxx" },
	[44] = { "sendto", "dxlxxd" }, [45] = { "recvfrom", "dxlxxx" },
	[46] = { "sendmsg", "dxx" }, [47] = { "recvmsg", "dxx" },
	[48] = { "shutdown", "dd" }, [49] = { "bind", "dxd" }, [50] = { "listen", "dd" },
	[51] = { "getsockname", "dxx" }, [52] = { "getpeername", "dxx" },
	[53] = { "socketpair", "dddx" }, [54] = { "setsockopt", "dddxd" },
	[55] = { "getsockopt", "dddxx" }, [56] = { "clone", "xxxxx" },
	[57] = { "fork", "" }, [58] = { "vfork", "" }, [59] = { "execve", "sxx" },
	[60] = { "exit", "d" }, [61] = { "wait4", "dxxx" }, [62] = { "kill", "dd" },
	[63] = { "uname", "x" }, [64] = { "semget", "ddx" }, [65] = { "semop", "dxl" },
	[66] = { "semctl", "dddx" }, [67] = { "shmdt", "x" }, [68] = { "msgget", "dx" },
	[69] = { "msgsnd", "dxlx" }, [70] = { "msgrcv", "dxldx" },
	[71] = { "msgctl", "ddx" }, [72] = { "fcntl", "ddx" }, [73] = { "flock", "dx" },
	[74] = { "fsync", "d" }, [75] = { "fdatasync", "d" }, [76] = { "truncate", "sl" },
	[77] = { "ftruncate", "dl" }, [78] = { "getdents", "dxd" },
	[79] = { "getcwd", "xl" }, [80] = { "chdir", "s" }, [81] = { "fchdir", "d" },
	[82] = { "rename", "ss" }, [83] = { "mkdir", "so" }, [84] = { "rmdir", "s" },
	[85] = { "creat", "so" }, [86] = { "link", "ss" }, [87] = { "unlink", "s" },
	[88] = { "symlink", "ss" }, [89] = { "readlink", "sxl" }, [90] = { "chmod", "so" },
	[91] = { "fchmod", "do" }, [92] = { "chown", "sdd" }, [93] = { "fchown", "ddd" },
	[94] = { "lchown", "sdd" }, [95] = { "umask", "o" },
	[96] = { "gettimeofday", "xx" }, [97] = { "getrlimit", "dx" },
	[98] = { "getrusage", "dx" }, [99] = { "sysinfo", "x" }, [100] = { "times", "x" },
	[101] = { "ptrace", "ldxx" }, [102] = { "getuid", "" }, [103] = { "syslog", "dxd" },
	[104] = { "getgid", "" }, [105] = { "setuid", "d" }, [106] = { "setgid", "d" },
	[107] = { "geteuid", "" }, [108] = { "getegid", "" }, [109] = { "setpgid", "dd" },
	[110] = { "getppid", "" }, [111] = { "getpgrp", "" }, [112] = { "setsid", "" },
	[113] = { "setreuid", "dd" }, [114] = { "setregid", "dd" },
	[115] = { "getgroups", "dx" }, [116] = { "setgroups", "dx" },
	[117] = { "setresuid", "ddd" }, [118] = { "getresuid", "xxx" },
	[119] = { "setresgid", "ddd" }, [120] = { "getresgid", "xxx" },
	[121] = { "getpgid", "d" }, [122] = { "setfsuid", "d" },
	[123] = { "setfsgid", "d" }, [124] = { "getsid", "d" }, [125] = { "capget", "xx" },
	[126] = { "capset", "xx" }, [127] = { "rt_sigpending", "xl" },
	[128] = { "rt_sigtimedwait", "xxxl" }, [129] = { "rt_sigqueueinfo", "ddx" },
	[130] = { "rt_sigsuspend", "xl" }, [131] = { "sigaltstack", "xx" },
	[132] = { "utime", "sx" }, [133] = { "mknod", "sox" }, [134] = { "uselib", "s" },
	[135] = { "personality", "x" }, [136] = { "ustat", "xx" },
	[137] = { "statfs", "sx" }, [138] = { "fstatfs", "dx" }, [139] = { "sysfs", "dxx" },
	[140] = { "getpriority", "dd" }, [141] = { "setpriority", "ddd" },
	[142] = { "sched_setparam", "dx" }, [143] = { "sched_getparam", "dx" },
	[144] = { "sched_setscheduler", "ddx" }, [145] = { "sched_getscheduler", "d" },
	[146] = { "sched_get_priority_max", "d" },
	[147] = { "sched_get_priority_min", "d" },
	[148] = { "sched_rr_get_interval", "dx" }, [149] = { "mlock", "xl" },
	[150] = { "munlock", "xl" }, [151] = { "mlockall", "x" },
	[152] = { "munlockall", "" }, [153] = { "vhangup", "" },
	[154] = { "modify_ldt", "dxl" }, [155] = { "pivot_root", "ss" },
	[156] = { "_sysctl", "x" }, [157] = { "prctl", "dxxxx" },
	[158] = { "arch_prctl", "xx" }, [159] = { "adjtimex", "x" },
	[160] = { "setrlimit", "dx" }, [161] = { "chroot", "s" }, [162] = { "sync", "" },
	[163] = { "acct", "s" }, [164] = { "settimeofday", "xx" },
	[165] = { "mount", "sssxx" }, [166] = { "umount2", "sx" },
	[167] = { "swapon", "sx" }, [168] = { "swapoff", "s" },
	[169] = { "reboot", "xxxx" }, [170] = { "sethostname", "xl" },
	[171] = { "setdomainname", "xl" }, [172] = { "iopl", "d" },
	[173] = { "ioperm", "lld" }, [174] = { "create_module", "sl" },
	[175] = { "init_module", "xls" }, [176] = { "delete_module", "sx" },
	[177] = { "get_kernel_syms", "x" }, [178] = { "query_module", "sdxlx" },
	[179] = { "quotactl", "xsdx" }, [180] = { "nfsservctl", "dxx" },
	[181] = { "getpmsg", "xxxxx" }, [182] = { "putpmsg", "xxxxx" },
	[183] = { "afs_syscall", "xxxxx" }, [184] = { "tuxcall", "xxx" },
	[185] = { "security", "xxx" }, [186] = { "gettid", "" },
	[187] = { "readahead", "dll" }, [188] = { "setxattr", "ssxlx" },
	[189] = { "lsetxattr", "ssxlx" }, [190] = { "fsetxattr", "dsxlx" },
	[191] = { "getxattr", "ssxl" }, [192] = { "lgetxattr", "ssxl" },
	[193] = { "fgetxattr", "dsxl" }, [194] = { "listxattr", "sxl" },
	[195] = { "llistxattr", "sxl" }, [196] = { "flistxattr", "dxl" },
	[197] = { "removexattr", "ss" }, [198] = { "lremovexattr", "ss" },
	[199] = { "fremovexattr", "ds" }, [200] = { "tkill", "dd" },
	[201] = { "time", "x" }, [202] = { "futex", "xddxxx" },
	[203] = { "sched_setaffinity", "dlx" }, [204] = { "sched_getaffinity", "dlx" },
	[205] = { "set_thread_area", "x" }, [206] = { "io_setup", "dx" },
	[207] = { "io_destroy", "x" }, [208] = { "io_getevents", "xllxx" },
	[209] = { "io_submit", "xlx" }, [210] = { "io_cancel", "xxx" },
	[211] = { "get_thread_area", "x" }, [212] = { "lookup_dcookie", "xxl" },
	[213] = { "epoll_create", "d" }, [214] = { "epoll_ctl_old", "xxxx" },
	[215] = { "epoll_wait_old", "xxxx" }, [216] = { "remap_file_pages", "xlxlx" },
	[217] = { "getdents64", "dxd" }, [218] = { "set_tid_address", "x" },
	[219] = { "restart_syscall", "" }, [220] = { "semtimedop", "dxlx" },
	[221] = { "fadvise64", "dlld" }, [222] = { "timer_create", "dxx" },
	[223] = { "timer_settime", "ddxx" }, [224] = { "timer_gettime", "dx" },
	[225] = { "timer_getoverrun", "d" }, [226] = { "timer_delete", "d" },
	[227] = { "clock_settime", "dx" }, [228] = { "clock_gettime", "dx" },
	[229] = { "clock_getres", "dx" }, [230] = { "clock_nanosleep", "ddxx" },
	[231] = { "exit_group", "d" }, [232] = { "epoll_wait", "dxdd" },
	[233] = { "epoll_ctl", "dddx" }, [234] = { "tgkill", "ddd" },
	[235] = { "utimes", "sx" }, [236] = { "vserver", "xxxxx" },
	[237] = { "mbind", "xldxlx" }, [238] = { "set_mempolicy", "dxl" },
	[239] = { "get_mempolicy", "xxlxx" }, [240] = { "mq_open", "sxox" },
	[241] = { "mq_unlink", "s" }, [242] = { "mq_timedsend", "dxldx" },
	[243] = { "mq_timedreceive", "dxlxx" }, [244] = { "mq_notify", "dx" },
	[245] = { "mq_getsetattr", "dxx" }, [246] = { "kexec_load", "xlxx" },
	[247] = { "waitid", "ddxxx" }, [248] = { "add_key", "ssxld" },
	[249] = { "request_key", "sssd" }, [250] = { "keyctl", "dxxxx" },
	[251] = { "ioprio_set", "ddd" }, [252] = { "ioprio_get", "dd" },
	[253] = { "inotify_init", "" }, [254] = { "inotify_add_watch", "dsx" },
	[255] = { "inotify_rm_watch", "dd" }, [256] = { "migrate_pages", "dlxx" },
	[257] = { "openat", "fsxo" }, [258] = { "mkdirat", "fso" },
	[259] = { "mknodat", "fsox" }, [260] = { "fchownat", "fsddx" },
	[261] = { "futimesat", "fsx" }, [262] = { "newfstatat", "fsxx" },
	[263] = { "unlinkat", "fsx" }, [264] = { "renameat", "fsfs" },
	[265] = { "linkat", "fsfsx" }, [266] = { "symlinkat", "sfs" },
	[267] = { "readlinkat", "fsxl" }, [268] = { "fchmodat", "fso" },
	[269] = { "faccessat", "fso" }, [270] = { "pselect6", "dxxxxx" },
	[271] = { "ppoll", "xdxxl" }, [272] = { "unshare", "x" },
	[273] = { "set_robust_list", "xl" }, [274] = { "get_robust_list", "dxx" },
	[275] = { "splice", "dxdxlx" }, [276] = { "tee", "ddlx" },
	[277] = { "sync_file_range", "dllx" }, [278] = { "vmsplice", "dxlx" },
	[279] = { "move_pages", "dlxxxx" }, [280] = { "utimensat", "fsxx" },
	[281] = { "epoll_pwait", "dxddxl" }, [282] = { "signalfd", "dxl" },
	[283] = { "timerfd_create", "dx" }, [284] = { "eventfd", "d" },
	[285] = { "fallocate", "dxll" }, [286] = { "timerfd_settime", "dxxx" },
	[287] = { "timerfd_gettime", "dx" }, [288] = { "accept4", "dxxx" },
	[289] = { "signalfd4", "dxlx" }, [290] = { "eventfd2", "dx" },
	[291] = { "epoll_create1", "x" }, [292] = { "dup3", "ddx" },
	[293] = { "pipe2", "xx" }, [294] = { "inotify_init1", "x" },
	[295] = { "preadv", "dxdll" }, [296] = { "pwritev", "dxdll" },
	[297] = { "rt_tgsigqueueinfo", "dddx" }, [298] = { "perf_event_open", "xdddx" },
	[299] = { "recvmmsg", "dxdxx" }, [300] = { "fanotify_init", "xx" },
	[301] = { "fanotify_mark", "dxxfs" }, [302] = { "prlimit64", "ddxx" },
	[303] = { "name_to_handle_at", "fsxxx" }, [304] = { "open_by_handle_at", "dxx" },
	[305] = { "clock_adjtime", "dx" }, [306] = { "syncfs", "d" },
	[307] = { "sendmmsg", "dxdx" }, [308] = { "setns", "dx" },
	[309] = { "getcpu", "xxx" }, [310] = { "process_vm_readv", "dxlxlx" },
	[311] = { "process_vm_writev", "dxlxlx" }, [312] = { "kcmp", "dddxx" },
	[313] = { "finit_module", "dsx" }, [314] = { "sched_setattr", "dxx" },
	[315] = { "sched_getattr", "dxdx" }, [316] = { "renameat2", "fsfsx" },
	[317] = { "seccomp", "dxx" }, [318] = { "getrandom", "xlx" },
	[319] = { "memfd_create", "sx" }, [320] = { "kexec_file_load", "ddlsx" },
	[321] = { "bpf", "dxd" }, [322] = { "execveat", "fsxxx" },
	[323] = { "userfaultfd", "x" }, [324] = { "membarrier", "dxd" },
	[325] = { "mlock2", "xlx" }, [326] = { "copy_file_range", "dxdxlx" },
	[327] = { "preadv2", "dxdllx" }, [328] = { "pwritev2", "dxdllx" },
	[329] = { "pkey_mprotect", "xlxd" }, [330] = { "pkey_alloc", "xx" },
	[331] = { "pkey_free", "d" }, [332] = { "statx", "fsxxx" },
	[333] = { "io_pgetevents", "xllxxx" }, [334] = { "rseq", "xdxx" },
	[335] = { "uretprobe", "" }, [336] = { "uprobe", "" },
	[424] = { "pidfd_send_signal", "ddxx" }, [425] = { "io_uring_setup", "dx" },
	[426] = { "io_uring_enter", "dddxxl" }, [427] = { "io_uring_register", "ddxd" },
	[428] = { "open_tree", "fsx" }, [429] = { "move_mount", "fsfsx" },
	[430] = { "fsopen", "sx" }, [431] = { "fsconfig", "ddsxd" },
	[432] = { "fsmount", "dxx" }, [433] = { "fspick", "fsx" },
	[434] = { "pidfd_open", "dx" }, [435] = { "clone3", "xl" },
	[436] = { "close_range", "ddx" }, [437] = { "openat2", "fsxl" },
	[438] = { "pidfd_getfd", "ddx" }, [439] = { "faccessat2", "fsox" },
	[440] = { "process_madvise", "dxldx" }, [441] = { "epoll_pwait2", "dxdxxl" },
	[442] = { "mount_setattr", "fsxxl" }, [443] = { "quotactl_fd", "dxdx" },
	[444] = { "landlock_create_ruleset", "xlx" },
	[445] = { "landlock_add_rule", "ddxx" }, [446] = { "landlock_restrict_self", "dx" },
	[447] = { "memfd_secret", "x" }, [448] = { "process_mrelease", "dx" },
	[449] = { "futex_waitv", "xdxxd" }, [450] = { "set_mempolicy_home_node", "xlxx" },
	[451] = { "cachestat", "dxxx" }, [452] = { "fchmodat2", "fsox" },
	[453] = { "map_shadow_stack", "xlx" }, [454] = { "futex_wake", "xxdx" },
	[455] = { "futex_wait", "xxxxxd" }, [456] = { "futex_requeue", "xxdd" },
	[457] = { "statmount", "xxlx" }, [458] = { "listmount", "xxlx" },
	[459] = { "lsm_get_self_attr", "dxxx" }, [460] = { "lsm_set_self_attr", "dxdx" },
	[461] = { "lsm_list_modules", "xxx" }, [462] = { "mseal", "xlx" },
	[463] = { "setxattrat", "fsxsxl" }, [464] = { "getxattrat", "fsxsxl" },
	[465] = { "listxattrat", "fsxxl" }, [466] = { "removexattrat", "fsxs" },
	[467] = { "open_tree_attr", "fsxxl" }, [468] = { "file_getattr", "fsxlx" },
	[469] = { "file_setattr", "fsxlx" }, [470] = { "listns", "xxlx" },
	[471] = { "rseq_slice_yield", "" }, [472] = { "fchroot", "dx" },
};

#define NCALLS (sizeof(calls) / sizeof(calls[0]))

static const struct call *find(unsigned int nr)
{
	return nr < NCALLS && calls[nr].name ? &calls[nr] : NULL;
}

/* A name, or the number of one that has none here */
bool parse_call(const char *name, unsigned int *nr)
{
	uint64_t value;
	unsigned int i;

	for (i = 0; i < NCALLS; i++) {
		if (!calls[i].name || strcmp(name, calls[i].name))
			continue;
		*nr = i;
		return true;
	}
	if (!parse_number(name, &value) || value > MAX_CALL)
		return false;
	*nr = value;
	return true;
}

const char *call_name(unsigned int nr, char buf[16])
{
	const struct call *call = find(nr);

	if (call)
		return call->name;
	snprintf(buf, 16, "call %u", nr);
	return buf;
}

/* Returns false if it is not in memory: it will be when the kernel has read it */
static bool print_string(FILE *out, struct tool *tool, uint16_t vcpu, uint64_t address)
{
	char text[MAX_TEXT];

	if (read_text(tool, vcpu, address, text, sizeof(text))) {
		fprintf(out, "%#llx", ull(address));
		return !address;
	}
	fputc('"', out);
	print_text(out, text);
	fputc('"', out);
	return true;
}

static bool print_argument(FILE *out, struct tool *tool, uint16_t vcpu, char kind,
			   uint64_t value)
{
	if (kind == 'f' && (int32_t)value == -100) {
		fprintf(out, "AT_FDCWD");
		return true;
	}
	switch (kind) {
	case 's':
		return print_string(out, tool, vcpu, value);
	case 'l':
		fprintf(out, "%lld", (long long)value);
		return true;
	case 'd':
	case 'f':
		fprintf(out, "%d", (int32_t)value);
		return true;
	case 'o':
		fprintf(out, "%#o", (uint32_t)value);
		return true;
	default:
		fprintf(out, "%#llx", ull(value));
		return true;
	}
}

/* "openat(AT_FDCWD, "/etc/passwd", 0x8000, 0)".  Returns false if a string is missing. */
bool print_call_args(FILE *out, struct tool *tool, uint16_t vcpu, unsigned int nr,
		     const uint64_t args[NR_CALL_ARGS])
{
	const struct call *call = find(nr);
	const char *kinds = call ? call->args : "xxxxxx";
	char buf[16];
	bool complete = true;
	unsigned int i;

	fprintf(out, "%s(", call_name(nr, buf));
	for (i = 0; kinds[i]; i++) {
		if (i)
			fprintf(out, ", ");
		complete &= print_argument(out, tool, vcpu, kinds[i], args[i]);
	}
	fputc(')', out);
	return complete;
}

/* How many it has; of one that is not known here, as many as there can be */
unsigned int call_args(unsigned int nr)
{
	const struct call *call = find(nr);

	return call ? strlen(call->args) : NR_CALL_ARGS;
}

/* The arguments, out of what struct pt_regs of 64-bit Linux holds: the program's registers */
void call_args_of(const uint64_t regs[NR_PT_REGS], uint64_t args[NR_CALL_ARGS])
{
	/* di, si, dx, r10, r8, r9 */
	static const unsigned char places[NR_CALL_ARGS] = { 14, 13, 12, 7, 9, 8 };
	unsigned int i;

	for (i = 0; i < NR_CALL_ARGS; i++)
		args[i] = regs[places[i]];
}

/*
 * At the first instruction of the function that the table of system calls has for @nr.
 * It is given the address of the program's registers.
 */
void print_call(FILE *out, struct tool *tool, const struct kint_event *event, unsigned int nr)
{
	uint64_t regs[NR_PT_REGS], args[NR_CALL_ARGS];
	uint16_t vcpu = event->common.vcpu;
	char buf[16];

	if (read_virtual(tool, vcpu, event->common.arch.regs.rdi, regs, sizeof(regs))) {
		fprintf(out, "%s(?)", call_name(nr, buf));
		return;
	}
	call_args_of(regs, args);
	print_call_args(out, tool, vcpu, nr, args);
}

/* As the C library has it: an error is -1 and a number.  Returns that, or 0. */
int call_error(uint64_t result)
{
	return result > -(uint64_t)MAX_ERRNO - 1 ? -(int)result : 0;
}

/* Those that return an address */
static bool returns_address(unsigned int nr)
{
	return nr == 9 || nr == 12 || nr == 25 || nr == 30;
}

/* "3", "0x7f0000000000", or "-1 ENOENT" */
void print_call_result(FILE *out, unsigned int nr, uint64_t result)
{
	int err = call_error(result);
	const char *name = err ? strerrorname_np(err) : NULL;

	if (name)
		fprintf(out, "-1 %s", name);
	else if (err)
		fprintf(out, "-1 error %d", err);
	else if (result >> 32 || returns_address(nr))
		fprintf(out, "%#llx", ull(result));
	else
		fprintf(out, "%llu", ull(result));
}
