// SPDX-License-Identifier: GPL-2.0-only
/*
 * The socket that the tool listens on
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include "test.h"

static const char *dir;

static const char *path_of(const char *name)
{
	static char path[300];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static const char *address_of(const char *name)
{
	static char address[300];

	snprintf(address, sizeof(address), "unix:%s/%s", dir, name);
	return address;
}

static struct sockaddr_un sun_of(const char *name)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };

	memcpy(sun.sun_path, path_of(name), strnlen(path_of(name), sizeof(sun.sun_path)));
	return sun;
}

static unsigned int mode_of(const char *name)
{
	struct stat st;

	return lstat(path_of(name), &st) ? 0 : st.st_mode;
}

static bool somebody_listens(const char *name)
{
	struct sockaddr_un sun = sun_of(name);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	bool ok;

	ok = !connect(fd, (struct sockaddr *)&sun, sizeof(sun));
	close(fd);
	return ok;
}

/* A socket file that nobody listens on */
static void leave_dead(const char *name)
{
	struct sockaddr_un sun = sun_of(name);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	if (bind(fd, (struct sockaddr *)&sun, sizeof(sun)))
		abort();
	close(fd);
}

static bool test_mode(mode_t mask, unsigned int mode, unsigned int expected)
{
	struct kint_listen_options opts = { .mode = mode };
	mode_t old = umask(mask);
	struct kint_listener *l = NULL;

	CHECK(!(last = kint_listen_with(address_of("a"), mode ? &opts : NULL, &l)));
	umask(old);
	CHECK(mode_of("a") == (S_IFSOCK | expected));
	CHECK(somebody_listens("a"));
	kint_listener_free(l);
	CHECK(!mode_of("a"));
	return true;
}

static bool test_group(void)
{
	struct kint_listen_options opts = { .set_group = true, .group = 12345 };
	struct kint_listener *l = NULL;
	struct stat st;

	last = kint_listen_with(address_of("a"), &opts, &l);
	if (last == -EPERM)
		return !mode_of("a");	/* only root may choose any group */
	CHECK(!last && !lstat(path_of("a"), &st) && st.st_gid == 12345);
	kint_listener_free(l);
	return true;
}

static bool test_others(void)
{
	struct kint_listener *l = NULL, *other = NULL;
	int fd = open(path_of("file"), O_CREAT | O_WRONLY, 0600);

	/* What is no socket stays */
	CHECK((last = kint_listen(address_of("file"), &l)) == -EEXIST);
	CHECK(mode_of("file") == (S_IFREG | 0600));
	CHECK((last = kint_listen(address_of("."), &l)) == -EEXIST);
	close(fd);
	unlink(path_of("file"));

	/* A socket that somebody uses as well */
	CHECK(!(last = kint_listen(address_of("a"), &l)));
	CHECK((last = kint_listen(address_of("a"), &other)) == -EADDRINUSE);
	CHECK(somebody_listens("a"));
	/* It was removed: what is there now is another's */
	unlink(path_of("a"));
	CHECK(!(last = kint_listen(address_of("a"), &other)));
	kint_listener_free(l);
	CHECK(somebody_listens("a"));
	kint_listener_free(other);
	CHECK(!mode_of("a"));

	leave_dead("a");
	CHECK(!(last = kint_listen(address_of("a"), &l)));
	CHECK(somebody_listens("a"));
	kint_listener_free(l);
	return true;
}

/* Many start at once: one gets it, with a socket that can be connected to */
static bool test_race(void)
{
	int status, listening = 0, refused = 0, i, done[2];
	struct kint_listener *l;
	char c = 0;

	leave_dead("a");
	if (pipe(done))
		abort();
	for (i = 0; i < 16; i++) {
		if (fork())
			continue;
		close(done[1]);
		last = kint_listen(address_of("a"), &l);
		if (last)
			_exit(last == -EADDRINUSE ? 1 : 2);
		/* Until all are told */
		if (read(done[0], &c, 1))
			_exit(3);
		status = !somebody_listens("a");
		kint_listener_free(l);
		_exit(status ? 4 : 0);
	}
	close(done[0]);
	for (i = 0; i < 15; i++) {
		wait(&status);
		refused += WIFEXITED(status) && WEXITSTATUS(status) == 1;
	}
	close(done[1]);
	wait(&status);
	listening += WIFEXITED(status) && !WEXITSTATUS(status);
	CHECK(listening == 1 && refused == 15);
	CHECK(!mode_of("a"));
	return true;
}

static bool test_names(void)
{
	char name[200];
	struct kint_listener *l = NULL;
	size_t most = 107 - strlen(dir) - 1;

	memset(name, 'x', sizeof(name));
	name[most] = 0;
	CHECK(!(last = kint_listen(address_of(name), &l)));
	CHECK(somebody_listens(name));
	kint_listener_free(l);
	name[most] = 'x';
	name[most + 1] = 0;
	CHECK((last = kint_listen(address_of(name), &l)) == -ENAMETOOLONG);
	CHECK((last = kint_listen("unix:", &l)) == -EINVAL);
	CHECK((last = kint_listen("tcp:1", &l)) == -EINVAL);
	CHECK((last = kint_listen("vsock:", &l)) == -EINVAL || last == -EAFNOSUPPORT);
	CHECK((last = kint_listen(address_of("no/where"), &l)) == -ENOENT);
	return true;
}

/* Whoever can read the directory can lock it */
static bool test_locked(void)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY);
	struct kint_listener *l = NULL;

	CHECK(!flock(fd, LOCK_EX));
	CHECK(!(last = kint_listen(address_of("a"), &l)));
	close(fd);
	kint_listener_free(l);
	return true;
}

static bool is_readable(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };

	return poll(&pfd, 1, 0) == 1;
}

/* Those who connect and leave, as fast as they can, do not keep a tool from leaving */
static bool test_flood(void)
{
	struct kint_options opts = { .timeout_ms = TEST_TIMEOUT_MS };
	struct kint_listener *l = NULL;
	struct kint_conn *conn;
	int fds[2], i;

	CHECK(!(last = kint_listen(address_of("a"), &l)));
	for (i = 0; i < 10; i++)
		CHECK(somebody_listens("a"));
	if (pipe(fds))
		abort();
	CHECK(write(fds[1], "", 1) == 1);
	opts.interrupt_fd = fds[0];
	CHECK((last = kint_accept(l, &opts, -1, &conn)) == -EINTR);
	CHECK(is_readable(kint_listener_fd(l)));
	/* And when they have left, nobody is there */
	opts.interrupt_fd = -1;
	CHECK((last = kint_accept(l, &opts, 1000, &conn)) == -EAGAIN);
	CHECK(!is_readable(kint_listener_fd(l)));
	close(fds[0]);
	close(fds[1]);
	kint_listener_free(l);
	return true;
}

/* Who only has a copy of the listener leaves the socket file to the other */
static bool test_fork(void)
{
	struct kint_listener *l = NULL;
	int status;
	pid_t child;

	CHECK(!(last = kint_listen(address_of("a"), &l)));
	child = fork();
	if (!child) {
		kint_listener_free(l);
		_exit(0);
	}
	CHECK(waitpid(child, &status, 0) == child && !status);
	CHECK(somebody_listens("a"));
	kint_listener_free(l);
	CHECK(!mode_of("a"));
	return true;
}

void listener_tests(void)
{
	char template[] = "/tmp/kvmi-test.XXXXXX";

	dir = mkdtemp(template);
	if (!dir)
		abort();
	result("socket of mode 0600, whatever the umask", test_mode(0, 0, 0600));
	result("socket of a chosen mode", test_mode(077, 0666, 0666));
	result("socket of a chosen group", test_group());
	result("what others have at the socket's name", test_others());
	result("sockets of many that start at once", test_race());
	result("names of sockets", test_names());
	result("a child that was forked stops listening", test_fork());
	result("somebody holds the lock of the directory", test_locked());
	result("many that connect and leave", test_flood());
	if (rmdir(dir))
		result("nothing is left in the directory", false);
}
