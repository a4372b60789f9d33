// SPDX-License-Identifier: GPL-2.0-only
/*
 * kvmi check: the place of the tool's socket, and who may connect to it.
 */
#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "check.h"

struct user {
	char name[64];
	unsigned int uid, gid;
};

/* Does a line of /etc/passwd or /etc/group begin with this name? */
static const char *after_name(const char *line, const char *name)
{
	size_t length = strlen(name);

	return length && !strncmp(line, name, length) && line[length] == ':' ? line + length : NULL;
}

/* "UID" or "UID:GID" */
static bool user_numbers(const char *text, struct user *user)
{
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	user->uid = strtoul(text, &end, 10);
	user->gid = user->uid;
	if (*end == ':' && end[1] >= '0' && end[1] <= '9')
		user->gid = strtoul(end + 1, &end, 10);
	return !*end;
}

/* By the files: the tool may be linked statically, and getpwnam() needs more then */
static bool find_user(const struct check *c, struct user *user)
{
	bool found = false;
	char line[4096];
	const char *rest;
	FILE *file;

	snprintf(user->name, sizeof(user->name), "%s", c->qemu_user);
	if (user_numbers(c->qemu_user, user))
		return true;
	file = fopen(check_path(c, "/etc/passwd"), "r");
	while (file && !found && fgets(line, sizeof(line), file)) {
		rest = after_name(line, c->qemu_user);
		found = rest && sscanf(rest, ":%*[^:]:%u:%u", &user->uid, &user->gid) == 2;
	}
	if (file)
		fclose(file);
	return found;
}

bool qemu_user_known(const struct check *c)
{
	struct user user;

	return find_user(c, &user);
}

/* Is @name in a list like "a,b,c"? */
static bool in_list(const char *list, const char *name)
{
	size_t length = strlen(name), n;

	for (; *list; list += n + (list[n] == ',')) {
		n = strcspn(list, ",\n");
		if (n == length && !memcmp(list, name, n))
			return true;
		if (list[n] == '\n')
			break;
	}
	return false;
}

static bool in_group(const struct check *c, const struct user *user, unsigned int gid)
{
	bool found = user->gid == gid;
	char line[4096], members[4096];
	unsigned int number;
	FILE *file;

	file = found ? NULL : fopen(check_path(c, "/etc/group"), "r");
	while (file && !found && fgets(line, sizeof(line), file))
		found = sscanf(line, "%*[^:]:%*[^:]:%u:%4095s", &number, members) == 2 &&
			number == gid && in_list(members, user->name);
	if (file)
		fclose(file);
	return found;
}

/* @right: one bit of the three.  Access control lists are not looked at. */
static bool may(const struct check *c, const struct user *user, unsigned int uid, unsigned int gid,
		mode_t mode, mode_t right)
{
	if (!user->uid)
		return true;
	if (user->uid == uid)
		return mode >> 6 & right;
	if (in_group(c, user, gid))
		return mode >> 3 & right;
	return mode & right;
}

/* Is there a way to the directory for QEMU's user?  Says so if not. */
static bool may_reach(struct check *c, const struct user *user, const char *dir)
{
	char path[PATH_MAX], *slash = path;
	struct stat st;

	if (!realpath(dir, path))
		return true;	/* which has been told */
	do {
		slash = strchr(slash + 1, '/');
		if (slash)
			*slash = '\0';
		if (!stat(path, &st) && !may(c, user, st.st_uid, st.st_gid, st.st_mode, 1)) {
			report(c, CHECK_MISSING, "socket",
			       "user %s cannot enter %s: give the socket another directory, or chmod a+x",
			       user->name, path);
			return false;
		}
		if (slash)
			*slash = '/';
	} while (slash);
	return true;
}

static void check_user(struct check *c, const char *dir)
{
	const struct kint_listen_options *opts = &c->tool->listen;
	mode_t mode = opts->mode ? opts->mode : 0600;
	unsigned int group = opts->set_group ? opts->group : getegid();
	struct user user;

	if (!find_user(c, &user) || !may_reach(c, &user, dir))
		return;
	if (may(c, &user, geteuid(), group, mode, 2))
		report(c, CHECK_OK, "socket", "user %s may connect", user.name);
	else
		report(c, CHECK_MISSING, "socket",
		       "mode %o of user %u, group %u: user %s may not connect; add --socket-mode 660 --socket-group %u to the tool's options",
		       mode, geteuid(), group, user.name, user.gid);
}

static void check_unix(struct check *c, const char *path)
{
	char copy[PATH_MAX], *dir;
	struct stat st;

	if (!*path || strlen(path) >= sizeof(((struct sockaddr_un *)0)->sun_path)) {
		report(c, CHECK_MISSING, "socket", "unix:%s: give a path of 1 to 107 bytes", path);
		return;
	}
	strcpy(copy, path);
	dir = dirname(copy);
	if (stat(dir, &st) || !S_ISDIR(st.st_mode)) {
		report(c, CHECK_MISSING, "socket",
		       "%s is no directory: create it for the tool's user", dir);
		return;
	}
	if (access(dir, W_OK | X_OK)) {
		report(c, CHECK_MISSING, "socket",
		       "user %u cannot make a socket in %s (%s): choose another directory, or chown it",
		       geteuid(), dir, strerror(errno));
		return;
	}
	if (st.st_mode & 0002 && !(st.st_mode & S_ISVTX)) {
		report(c, CHECK_MISSING, "socket",
		       "everybody can replace what is in %s, the socket too: chmod o-w", dir);
		return;
	}
	if (!lstat(path, &st) && !S_ISSOCK(st.st_mode)) {
		report(c, CHECK_MISSING, "socket",
		       "%s is there, and no socket: choose another path", path);
		return;
	}
	report(c, CHECK_OK, "socket", "%s can be made, mode %o", path,
	       c->tool->listen.mode ? c->tool->listen.mode : 0600);
	if (c->qemu_user) {
		strcpy(copy, path);
		check_user(c, dirname(copy));
	}
}

void check_socket(struct check *c)
{
	const char *address = c->tool->address;
	int fd;

	if (!address)
		return;
	if (!strncmp(address, "unix:", 5)) {
		check_unix(c, address + 5);
		return;
	}
	if (strncmp(address, "vsock:", 6)) {
		report(c, CHECK_MISSING, "socket", "%s: not of the form unix:PATH or vsock:PORT",
		       address);
		return;
	}
	fd = socket(AF_VSOCK, SOCK_STREAM, 0);
	if (fd < 0) {
		report(c, CHECK_MISSING, "socket", "no vsock (%s): modprobe vhost_vsock",
		       strerror(errno));
		return;
	}
	close(fd);
	report(c, CHECK_OK, "socket", "the kernel has vsock");
}
