// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The VMs there are, and who is using them.
 *
 * A caller may close a VM while another thread waits for its events, e.g. when the
 * device manager has connected again.  Every function looks up what it is given.  A
 * VM that is not in the list any more is ENOTCONN, and it is freed by the one that
 * closes it after the last user has left.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "compat.h"

static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t unused = PTHREAD_COND_INITIALIZER;
static struct domain *domains;

static void domain_free(struct domain *d)
{
	events_free(d);
	vcpus_free(d);
	access_free(d);
	if (d->poll_fd >= 0)
		close(d->poll_fd);
	if (d->wake_fd >= 0)
		close(d->wake_fd);
	pthread_mutex_destroy(&d->lock);
	free(d);
}

/*
 * The connection stays the caller's if there is an error, which is NULL.  What a caller of
 * the library is given is a number that no other VM will have: the address of one that was
 * freed is soon that of another.
 */
void *domain_new(struct kint_conn *conn)
{
	static uintptr_t last;
	struct epoll_event ev = { .events = EPOLLIN };
	struct domain *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	pthread_mutex_init(&d->lock, NULL);
	d->conn = conn;
	d->queue_end = &d->queue;
	d->end = kint_peer_info(conn)->max_gpa / 4096;
	d->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	d->poll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (d->wake_fd < 0 || d->poll_fd < 0 ||
	    epoll_ctl(d->poll_fd, EPOLL_CTL_ADD, d->wake_fd, &ev) ||
	    epoll_ctl(d->poll_fd, EPOLL_CTL_ADD, kint_fd(conn), &ev)) {
		domain_free(d);
		return NULL;
	}
	pthread_mutex_lock(&registry_lock);
	last++;
	d->handle = (void *)last;
	d->next = domains;
	domains = d;
	pthread_mutex_unlock(&registry_lock);
	return d->handle;
}

/* NULL if there is no such VM.  On success it is locked, until domain_leave(). */
struct domain *domain_enter(const void *dom)
{
	struct domain *d;

	if (logging()) {
		errno = EDEADLK;
		return NULL;
	}
	pthread_mutex_lock(&registry_lock);
	for (d = domains; d && d->handle != dom; d = d->next)
		;
	if (d)
		d->users++;
	pthread_mutex_unlock(&registry_lock);
	if (d)
		pthread_mutex_lock(&d->lock);
	else
		errno = ENOTCONN;
	return d;
}

/* Returns what the caller of the library gets: 0, or -1 with errno */
int domain_leave(struct domain *d, int err)
{
	if (err == -EPIPE || err == -EPROTO) {
		d->gone = true;
		err = -ENOTCONN;
	}
	pthread_mutex_unlock(&d->lock);
	pthread_mutex_lock(&registry_lock);
	if (!--d->users)
		pthread_cond_broadcast(&unused);
	pthread_mutex_unlock(&registry_lock);
	if (!err)
		return 0;
	errno = -err;
	return -1;
}

void kvmi_domain_close(void *dom, bool do_shutdown)
{
	uint64_t one = 1;
	struct domain **p, *d;
	ssize_t n;

	if (logging())
		return;
	pthread_mutex_lock(&registry_lock);
	for (p = &domains; *p && (*p)->handle != dom; p = &(*p)->next)
		;
	d = *p;
	if (!d) {
		pthread_mutex_unlock(&registry_lock);
		return;
	}
	*p = d->next;
	__atomic_store_n(&d->closing, true, __ATOMIC_SEQ_CST);
	n = write(d->wake_fd, &one, sizeof(one));
	(void)n;	/* the counter cannot overflow */
	while (d->users)
		pthread_cond_wait(&unused, &registry_lock);
	pthread_mutex_unlock(&registry_lock);
	if (do_shutdown)
		kint_detach(d->conn);
	else
		kint_close(d->conn);
	domain_free(d);
}
