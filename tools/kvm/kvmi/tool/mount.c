// SPDX-License-Identifier: GPL-2.0-only
/*
 * kvmi mount: a guest as a directory of files, for the programs that read dumps and know
 * nothing of introspection.  What is read is what the guest has at that moment.
 */
#define FUSE_USE_VERSION 31
#define _GNU_SOURCE	/* asprintf() */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse.h>
#include <fuse_lowlevel.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "tool.h"

/*
 * Memory begins there in the file "core", whatever comes first and changes from one
 * opening to the next: with that, its size is that of memory alone.
 */
#define CORE_START	(8ull << 20)

enum kind { NONE, ROOT, CORE, MEM, VCPU, REGS };

/* A file that is open */
struct handle {
	struct handle *prev, *next;
	enum kind kind;
	struct image image;	/* CORE and MEM */
	char *text;		/* REGS */
	size_t size;
};

static struct {
	struct tool *tool;
	bool writable, paused;
	char *vmcoreinfo;
	time_t since;			/* of the mount */
	uint64_t memory, memory_end;	/* as when last looked at */
	struct handle *open;		/* all that are, in no order */
	char message[256];		/* of libfuse */
	int ended;			/* why there is no guest any more */
} fs;

/* What the reader is to be told of an error of ours */
static int to_errno(int err)
{
	if (err == -EPIPE || err == -EPROTO || err == -ECANCELED)
		fs.ended = err;
	switch (err) {
	case -ENOMEM:
	case -EINTR:
	case -EPERM:
	case -ETIMEDOUT:
		return err;
	default:
		return -EIO;
	}
}

static enum kind kind_of(const char *path, unsigned int *vcpu)
{
	unsigned int i;
	char name[32];

	if (!strcmp(path, "/"))
		return ROOT;
	if (!strcmp(path, "/core"))
		return CORE;
	if (!strcmp(path, "/mem"))
		return MEM;
	for (i = 0; i < fs.tool->vcpus; i++) {
		*vcpu = i;
		snprintf(name, sizeof(name), "/vcpu%u", i);
		if (!strcmp(path, name))
			return VCPU;
		if (!strncmp(path, name, strlen(name)) && !strcmp(path + strlen(name), "/regs"))
			return REGS;
	}
	return NONE;
}

static int fs_getattr(const char *path, struct stat *st, struct fuse_file_info *fi)
{
	unsigned int vcpu;
	enum kind kind = kind_of(path, &vcpu);

	(void)fi;
	st->st_uid = getuid();
	st->st_gid = getgid();
	st->st_nlink = 1;
	st->st_mtime = fs.since;
	st->st_mode = S_IFREG | 0400;
	switch (kind) {
	case ROOT:
	case VCPU:
		st->st_mode = S_IFDIR | 0500;
		st->st_nlink = 2 + (kind == ROOT ? fs.tool->vcpus : 0);
		return 0;
	case CORE:
		st->st_size = CORE_START + fs.memory;
		return 0;
	case MEM:
		st->st_size = fs.memory_end;
		if (fs.writable)
			st->st_mode |= 0200;
		return 0;
	case REGS:
		return 0;
	default:
		return -ENOENT;
	}
}

static int fs_readdir(const char *path, void *buf, fuse_fill_dir_t fill, off_t offset,
		      struct fuse_file_info *fi, enum fuse_readdir_flags flags)
{
	unsigned int vcpu;
	char name[32];

	(void)offset;
	(void)fi;
	(void)flags;
	fill(buf, ".", NULL, 0, 0);
	fill(buf, "..", NULL, 0, 0);
	if (kind_of(path, &vcpu) == VCPU) {
		fill(buf, "regs", NULL, 0, 0);
		return 0;
	}
	fill(buf, "core", NULL, 0, 0);
	fill(buf, "mem", NULL, 0, 0);
	for (vcpu = 0; vcpu < fs.tool->vcpus; vcpu++) {
		snprintf(name, sizeof(name), "vcpu%u", vcpu);
		fill(buf, name, NULL, 0, 0);
	}
	return 0;
}

static int make_image(struct image *image, enum image_format format)
{
	struct kvmi_vm_get_info_reply info;
	int err = 0;

	*image = (struct image){ .format = format, .running = !fs.paused };
	if (format == IMAGE_ELF) {
		/* There may be more than at the beginning */
		if (!kint_get_info(fs.tool->conn, &info))
			fs.tool->vcpus = info.vcpu_count;
		err = vmcoreinfo_find(fs.tool, false, &fs.vmcoreinfo);
		if (!err && fs.vmcoreinfo)
			image->vmcoreinfo = strdup(fs.vmcoreinfo);
	}
	if (!err)
		err = image_make(fs.tool, image, CORE_START);
	if (err)
		image_free(image);
	else
		fs.memory = image->memory;
	if (!err && format == IMAGE_RAW)
		fs.memory_end = image->size;
	return err;
}

static int make_text(struct handle *h, unsigned int vcpu)
{
	FILE *file = open_memstream(&h->text, &h->size);
	int err;

	if (!file)
		return -ENOMEM;
	err = print_vcpu(file, fs.tool, vcpu, NULL, 0);
	if (fclose(file) && !err)
		err = -ENOMEM;
	return err;
}

static struct handle *new_handle(enum kind kind)
{
	struct handle *h = calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	h->kind = kind;
	h->next = fs.open;
	if (h->next)
		h->next->prev = h;
	fs.open = h;
	return h;
}

static void free_handle(struct handle *h)
{
	if (h->prev)
		h->prev->next = h->next;
	else
		fs.open = h->next;
	if (h->next)
		h->next->prev = h->prev;
	image_free(&h->image);
	free(h->text);
	free(h);
}

static int fs_open(const char *path, struct fuse_file_info *fi)
{
	unsigned int vcpu;
	struct handle *h;
	int err;

	h = new_handle(kind_of(path, &vcpu));
	if (!h)
		return -ENOMEM;
	switch (h->kind) {
	case CORE:
		err = make_image(&h->image, IMAGE_ELF);
		break;
	case MEM:
		err = make_image(&h->image, IMAGE_RAW);
		break;
	case REGS:
		err = make_text(h, vcpu);
		break;
	default:
		free_handle(h);
		return -ENOENT;
	}
	if (err) {
		free_handle(h);
		return to_errno(err);
	}
	/* What was read before is not what the guest has now */
	fi->direct_io = 1;
	fi->fh = (uintptr_t)h;
	return 0;
}

static int fs_release(const char *path, struct fuse_file_info *fi)
{
	(void)path;
	free_handle((struct handle *)(uintptr_t)fi->fh);
	return 0;
}

static int fs_read(const char *path, char *buf, size_t size, off_t offset,
		   struct fuse_file_info *fi)
{
	const struct handle *h = (struct handle *)(uintptr_t)fi->fh;
	uint64_t end = h->kind == REGS ? h->size : h->image.size;
	int err;

	(void)path;
	if (offset < 0 || (uint64_t)offset >= end)
		return 0;
	if (size > end - offset)
		size = end - offset;
	if (h->kind == REGS) {
		memcpy(buf, h->text + offset, size);
		return size;
	}
	err = image_read(fs.tool, &h->image, offset, buf, size);
	return err ? to_errno(err) : (int)size;
}

/* To memory, up to where there is none */
static int fs_write(const char *path, const char *buf, size_t size, off_t offset,
		    struct fuse_file_info *fi)
{
	const struct handle *h = (struct handle *)(uintptr_t)fi->fh;
	const struct image_part *part;
	size_t done, n;
	int err;

	(void)path;
	for (done = 0; done < size; done += n) {
		n = image_extent(&h->image, offset + done, size - done, &part);
		err = -ENOENT;
		if (part)
			err = kint_write_physical(fs.tool->conn, part->gpa +
						  (offset + done - part->offset), buf + done, n);
		if (err && done)
			break;
		if (err == -ENOENT)
			return -ENXIO;
		if (err)
			return to_errno(err);
	}
	return done;
}

/* Like that of a device, its size is what it is */
static int fs_truncate(const char *path, off_t size, struct fuse_file_info *fi)
{
	unsigned int vcpu;

	(void)size;
	(void)fi;
	return kind_of(path, &vcpu) == MEM ? 0 : -EACCES;
}

static const struct fuse_operations operations = {
	.getattr = fs_getattr,
	.readdir = fs_readdir,
	.open = fs_open,
	.release = fs_release,
	.read = fs_read,
	.write = fs_write,
	.truncate = fs_truncate,
};

/* The last thing that libfuse has to say, without its end of line */
static void keep_message(enum fuse_log_level level, const char *format, va_list args)
{
	if (level > FUSE_LOG_ERR)
		return;
	vsnprintf(fs.message, sizeof(fs.message), format, args);
	fs.message[strcspn(fs.message, "\n")] = 0;
}

static bool is_empty(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *e;
	bool empty = true;

	if (!dir)
		return false;
	while (empty && (e = readdir(dir)))
		empty = !strcmp(e->d_name, ".") || !strcmp(e->d_name, "..");
	closedir(dir);
	return empty;
}

/* Says what is wrong */
static bool may_mount(const char *path)
{
	struct stat st, parent;
	char *above;
	int fd;

	fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (fd < 0) {
		error("mount: /dev/fuse: %s%s", strerror(errno),
		      errno == ENOENT || errno == ENODEV ? "; modprobe fuse" : "");
		return false;
	}
	close(fd);
	if (stat(path, &st)) {
		error("mount %s: %s%s", path, strerror(errno), errno == ENOTCONN ?
		      ": left by one that was killed, umount it first" : "");
		return false;
	}
	if (!S_ISDIR(st.st_mode)) {
		error("mount %s: Not a directory", path);
		return false;
	}
	if (asprintf(&above, "%s/..", path) < 0)
		return false;
	fd = stat(above, &parent);
	free(above);
	if (!fd && parent.st_dev != st.st_dev) {
		error("mount %s: something is mounted there", path);
		return false;
	}
	if (!is_empty(path)) {
		error("mount %s: the directory is not empty", path);
		return false;
	}
	return true;
}

/* Until it is unmounted, a signal comes, or there is no guest any more */
static void serve(struct tool *tool, struct fuse_session *session)
{
	struct fuse_buf buf = { 0 };
	struct pollfd fds[] = {
		{ .fd = fuse_session_fd(session), .events = POLLIN },
		{ .fd = kint_fd(tool->conn), .events = POLLIN },
		{ .fd = tool->signal_fd, .events = POLLIN },
	};
	int n;

	fcntl(fds[0].fd, F_SETFL, O_NONBLOCK);
	while (!fs.ended && !fuse_session_exited(session)) {
		if (poll(fds, 3, -1) < 0 && errno != EINTR)
			break;
		if (fds[2].revents)
			break;
		if (fds[1].revents)
			fs.ended = still_wanted(tool);
		if (!fds[0].revents || fs.ended)
			continue;
		n = fuse_session_receive_buf(session, &buf);
		if (n > 0)
			fuse_session_process_buf(session, &buf);
		else if (n != -EINTR && n != -EAGAIN)
			break;
	}
	free(buf.mem);
}

static int mount_and_serve(struct tool *tool, const char *path)
{
	struct fuse_args args = { 0 };
	struct fuse *fuse = NULL;

	fuse_set_log_func(keep_message);
	if (!fuse_opt_add_arg(&args, "kvmi") &&
	    !fuse_opt_add_arg(&args, "-ofsname=kvmi,subtype=kvmi,default_permissions") &&
	    (fs.writable || !fuse_opt_add_arg(&args, "-oro")))
		fuse = fuse_new(&args, &operations, sizeof(operations), NULL);
	if (!fuse || fuse_mount(fuse, path)) {
		error("mount %s: %s", path, *fs.message ? fs.message : "it was refused");
		if (fuse)
			fuse_destroy(fuse);
		fuse_opt_free_args(&args);
		return EXIT_ERROR;
	}
	fuse_opt_free_args(&args);
	printf("mounted at %s: core, mem and vcpuN/regs of ", path);
	session_describe(tool, stdout);
	fflush(stdout);
	serve(tool, fuse_get_session(fuse));
	/* Whoever has a file open keeps an empty shell of it, and cannot release it any more */
	fuse_unmount(fuse);
	fuse_destroy(fuse);
	while (fs.open)
		free_handle(fs.open);
	if (fs.ended) {
		error("mount %s: %s", path, explain(fs.ended));
		return EXIT_ERROR;
	}
	return EXIT_OK;
}

static int mount_guest(struct tool *tool, const char *path)
{
	struct held held = { 0 };
	struct image image;
	int err, ret = EXIT_ERROR;

	fs.tool = tool;
	fs.since = time(NULL);
	err = fs.paused ? hold_guest(tool, &held) : 0;
	if (!err)
		err = vmcoreinfo_find(tool, true, &fs.vmcoreinfo);
	if (!err)
		err = make_image(&image, IMAGE_RAW);
	if (!err) {
		image_free(&image);
		ret = mount_and_serve(tool, path);
		if (!fs.ended)
			err = let_go(tool, &held);
	}
	if (!err && ret == EXIT_OK) {
		printf("unmounted; the guest goes on");
		print_left(&held);
		putchar('\n');
	}
	tell_image_error(tool, err);
	free(held.events);
	free(fs.vmcoreinfo);
	return err ? EXIT_ERROR : ret;
}

static void print_usage(void)
{
	printf("usage: kvmi mount DIR --listen ADDRESS [options] [common options]\n"
	       "  --pause        have the guest stand still while it is mounted\n"
	       "  --write        mem can be written to\n"
	       "DIR is an empty directory.  ^C or umount ends it.\n");
}

int cmd_mount(struct tool *tool, int argc, char **argv)
{
	static const struct option options[] = {
		{ "pause", no_argument, NULL, 'p' },
		{ "write", no_argument, NULL, 'w' },
		{ NULL, 0, NULL, 0 }
	};
	int opt, ret;

	while ((opt = next_option(tool, argc, argv, options)) != -1) {
		switch (opt) {
		case 'h':
			print_usage();
			return EXIT_OK;
		case 'p':
			fs.paused = true;
			break;
		case 'w':
			fs.writable = true;
			break;
		default:
			return EXIT_USAGE;
		}
	}
	if (argc != optind + 1) {
		error("mount: give one DIR to mount the guest at");
		return EXIT_USAGE;
	}
	if (!may_mount(argv[optind]))
		return EXIT_ERROR;
	ret = session_open(tool);
	return ret ? ret : mount_guest(tool, argv[optind]);
}
