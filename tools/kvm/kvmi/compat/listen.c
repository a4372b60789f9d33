// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Listening, the thread that accepts VMs, and what is known of a VM.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>
#include "compat.h"

/* Not as fast as somebody can connect */
#define PAUSE_US 100000

struct context {
	struct kint_listener *listener;
	int stop_fd;			/* readable when the thread is to end */
	pthread_t thread;
	pid_t pid;
	bool over;			/* kvmi_uninit() was called by the thread itself */
	kvmi_new_guest_cb accept_cb;
	kvmi_handshake_cb hsk_cb;
	void *cb_ctx;
};

static int handshake(const struct kint_peer *peer, uint8_t hash[20], void *arg)
{
	struct kvmi_qemu2introspector qemu = { .struct_size = sizeof(qemu) };
	struct kvmi_introspector2qemu answer = { .struct_size = sizeof(answer) };
	struct context *ctx = arg;
	int refused;

	memcpy(qemu.uuid, peer->uuid, sizeof(qemu.uuid));
	memcpy(qemu.name, peer->name, sizeof(qemu.name));
	/* The caller takes it for a string */
	qemu.name[sizeof(qemu.name) - 1] = 0;
	qemu.start_time = peer->start_time;
	refused = ctx->hsk_cb(&qemu, &answer, ctx->cb_ctx);
	memcpy(hash, answer.cookie_hash, sizeof(answer.cookie_hash));
	return refused;
}

/* What the host can do does not change */
static void learn(struct domain *d)
{
	struct kvmi_vm_get_features_reply features;

	if (kint_get_features(d->conn, &features))
		return;
	d->exec_only = features.flags & KVMI_FEATURE_EXEC_ONLY;
	d->views = features.views;
}

/* The name is the VM's owner's choice, and a log may be shown by a terminal */
static void note_connected(const char *name)
{
	char text[sizeof(((struct kint_peer *)0)->name)];
	unsigned int i;

	for (i = 0; i < sizeof(text) - 1 && name[i]; i++)
		text[i] = name[i] >= 0x20 && name[i] < 0x7f ? name[i] : '?';
	text[i] = 0;
	note(KVMI_LOG_LEVEL_INFO, "VM %s connected", text);
}

static void new_guest(struct context *ctx, struct kint_conn *conn)
{
	unsigned char uuid[16];
	struct domain *d;
	void *dom;
	int err = 0;

	kint_set_interrupt_fd(conn, -1);
	memcpy(uuid, kint_peer_info(conn)->uuid, sizeof(uuid));
	note_connected(kint_peer_info(conn)->name);
	dom = domain_new(conn);
	if (!dom) {
		note(KVMI_LOG_LEVEL_ERROR, "no resources for a VM: %s", strerror(errno));
		kint_detach(conn);
		return;
	}
	d = domain_enter(dom);
	if (d) {
		learn(d);
		err = views_take_back(d);
		domain_leave(d, 0);
	}
	if (err) {
		note(KVMI_LOG_LEVEL_ERROR, "views of another tool: %s", strerror(-err));
		kvmi_domain_close(dom, true);
		return;
	}
	if (ctx->accept_cb(dom, &uuid, ctx->cb_ctx))
		kvmi_domain_close(dom, true);
}

static void context_free(struct context *ctx)
{
	kint_listener_free(ctx->listener);
	close(ctx->stop_fd);
	free(ctx);
}

static void *accept_vms(void *arg)
{
	struct context *ctx = arg;
	struct kint_options opts = {
		.interrupt_fd = ctx->stop_fd,
		.handshake = ctx->hsk_cb ? handshake : NULL,
		.handshake_arg = ctx,
	};
	struct kint_conn *conn = NULL;
	int err;

	for (;;) {
		err = kint_accept(ctx->listener, &opts, -1, &conn);
		if (err == -EINTR && !ctx->over)
			return NULL;
		/* It is to be asked, whoever was there before: libkvmi has no rules */
		if (!err && !ctx->over)
			err = kint_clear_rules(conn);
		if (!err && !ctx->over)
			new_guest(ctx, conn);
		else if (conn)
			kint_detach(conn);
		conn = NULL;
		if (ctx->over)
			break;
		if (!err)
			continue;
		note(KVMI_LOG_LEVEL_WARNING, "somebody connected, and %s",
		     err == -ECANCELED ? "was refused" : strerror(-err));
		usleep(PAUSE_US);
	}
	context_free(ctx);
	return NULL;
}

/* 0 stands for none to libkint, and is the first that a program without standard files has */
static int make_stop_fd(void)
{
	int fd = eventfd(0, EFD_CLOEXEC), other;

	if (fd)
		return fd;
	other = fcntl(fd, F_DUPFD_CLOEXEC, 1);
	close(fd);
	return other;
}

static struct context *begin(const char *address, const struct kint_listen_options *opts,
			     kvmi_new_guest_cb accept_cb, kvmi_handshake_cb hsk_cb, void *cb_ctx)
{
	struct context *ctx;
	int err;

	if (!accept_cb) {
		errno = EINVAL;
		return NULL;
	}
	ctx = calloc(1, sizeof(*ctx));
	if (!ctx)
		return NULL;
	ctx->accept_cb = accept_cb;
	ctx->hsk_cb = hsk_cb;
	ctx->cb_ctx = cb_ctx;
	ctx->pid = getpid();
	ctx->stop_fd = make_stop_fd();
	err = ctx->stop_fd < 0 ? -errno : kint_listen_with(address, opts, &ctx->listener);
	if (!err) {
		err = -pthread_create(&ctx->thread, NULL, accept_vms, ctx);
		if (err)
			kint_listener_free(ctx->listener);
	}
	if (!err)
		return ctx;
	if (ctx->stop_fd >= 0)
		close(ctx->stop_fd);
	free(ctx);
	errno = -err;
	return NULL;
}

void *kvmi_init_unix_socket(const char *socket, kvmi_new_guest_cb accept_cb,
			    kvmi_handshake_cb hsk_cb, void *cb_ctx)
{
	struct kint_listen_options opts = { .mode = 0777 };
	char address[PATH_MAX + 8];
	struct context *ctx;
	struct stat st;

	if (snprintf(address, sizeof(address), "unix:%s", socket) >= (int)sizeof(address)) {
		errno = ENAMETOOLONG;
		return NULL;
	}
	ctx = begin(address, &opts, accept_cb, hsk_cb, cb_ctx);
	/* A socket is replaced even if somebody listens there */
	if (!ctx && errno == EADDRINUSE && !lstat(socket, &st) && S_ISSOCK(st.st_mode) &&
	    !unlink(socket))
		ctx = begin(address, &opts, accept_cb, hsk_cb, cb_ctx);
	return ctx;
}

void *kvmi_init_vsock(unsigned int port, kvmi_new_guest_cb accept_cb,
		      kvmi_handshake_cb hsk_cb, void *cb_ctx)
{
	char address[32];

	snprintf(address, sizeof(address), "vsock:%u", port);
	return begin(address, NULL, accept_cb, hsk_cb, cb_ctx);
}

void kvmi_uninit(void *context)
{
	struct context *ctx = context;
	uint64_t one = 1;
	ssize_t n;

	if (!ctx)
		return;
	/* A child that was forked does not have the thread */
	if (ctx->pid == getpid()) {
		n = write(ctx->stop_fd, &one, sizeof(one));
		(void)n;	/* the counter cannot overflow */
		/* A function that was called by the thread, which ends when that returns */
		if (pthread_equal(ctx->thread, pthread_self())) {
			pthread_detach(ctx->thread);
			ctx->over = true;
			return;
		}
		pthread_join(ctx->thread, NULL);
	}
	context_free(ctx);
}

void kvmi_close(void *context)
{
	kvmi_uninit(context);
}

/* ---- The VM ---- */

bool kvmi_domain_is_connected(const void *dom)
{
	struct domain *d = domain_enter(dom);
	bool connected;

	if (!d)
		return false;
	pump(d);
	connected = !d->gone;
	domain_leave(d, 0);
	return connected;
}

void kvmi_domain_name(const void *dom, char *dest, size_t dest_size)
{
	struct domain *d = domain_enter(dom);

	if (dest_size)
		snprintf(dest, dest_size, "%s", d ? kint_peer_info(d->conn)->name : "");
	if (d)
		domain_leave(d, 0);
}

int kvmi_connection_fd(const void *dom)
{
	struct domain *d = domain_enter(dom);
	int fd;

	if (!d)
		return -1;
	fd = d->poll_fd;
	domain_leave(d, 0);
	return fd;
}

int64_t kvmi_get_starttime(const void *dom)
{
	struct domain *d = domain_enter(dom);
	int64_t start;

	if (!d)
		return -1;
	start = kint_peer_info(d->conn)->start_time * 1000;
	domain_leave(d, 0);
	return start;
}

int kvmi_get_version(void *dom, unsigned int *version)
{
	struct domain *d = domain_enter(dom);

	if (!d)
		return -1;
	*version = kint_version(d->conn)->version;
	return domain_leave(d, 0);
}

/* By libkvmi's ids; 1 is no command of the kernel's */
static const struct {
	int v7;
	uint16_t id;
} commands[] = {
	{ V7_GET_VERSION, KVMI_GET_VERSION },
	{ KVMI_CHECK_COMMAND, KVMI_VM_CHECK_COMMAND },
	{ KVMI_CHECK_EVENT, KVMI_VM_CHECK_EVENT },
	{ KVMI_GET_GUEST_INFO, KVMI_VM_GET_INFO },
	{ KVMI_GET_VCPU_INFO, KVMI_VCPU_GET_INFO },
	{ KVMI_PAUSE_VCPU, KVMI_VM_PAUSE_VCPU },
	{ KVMI_CONTROL_VM_EVENTS, KVMI_VM_CONTROL_EVENTS },
	{ KVMI_CONTROL_EVENTS, KVMI_VCPU_CONTROL_EVENTS },
	{ KVMI_CONTROL_CR, KVMI_VCPU_CONTROL_CR },
	{ KVMI_CONTROL_MSR, KVMI_VCPU_CONTROL_MSR },
	{ KVMI_GET_REGISTERS, KVMI_VCPU_GET_REGISTERS },
	{ KVMI_SET_REGISTERS, KVMI_VCPU_SET_REGISTERS },
	{ KVMI_GET_CPUID, KVMI_VCPU_GET_CPUID },
	{ KVMI_GET_XSAVE, KVMI_VCPU_GET_XSAVE2 },
	{ KVMI_READ_PHYSICAL, KVMI_VM_READ_PHYSICAL },
	{ KVMI_WRITE_PHYSICAL, KVMI_VM_WRITE_PHYSICAL },
	{ KVMI_INJECT_EXCEPTION, KVMI_VCPU_INJECT_EXCEPTION },
	{ KVMI_GET_PAGE_ACCESS, KVMI_VM_GET_PAGE_ACCESS },
	{ KVMI_SET_PAGE_ACCESS, KVMI_VM_SET_PAGE_ACCESS },
	{ KVMI_GET_MTRR_TYPE, KVMI_VCPU_GET_MTRR_TYPE },
	{ KVMI_GET_MAX_GFN, KVMI_VM_GET_MAX_GFN },
	{ KVMI_SWITCH_EPT_VIEW, KVMI_VCPU_SET_VIEW },
	{ KVMI_GET_EPT_VIEW, KVMI_VCPU_GET_VIEW },
	{ V7_VCPU_TRANSLATE_GVA, KVMI_VCPU_TRANSLATE_GVA },
	{ V7_VCPU_GET_XCR, KVMI_VCPU_GET_XCR },
	{ V7_VCPU_SET_XSAVE, KVMI_VCPU_SET_XSAVE2 },
	{ KVMI_VCPU_CREATE_EPT_VIEW, KVMI_VM_CREATE_VIEW },
	{ KVMI_VCPU_DESTROY_EPT_VIEW, KVMI_VM_DESTROY_VIEW },
	{ KVMI_VCPU_CHANGE_GFN, KVMI_VM_CHANGE_GFN },
	{ V7_VCPU_CONTROL_SINGLESTEP, KVMI_VCPU_CONTROL_SINGLESTEP },
};

int kvmi_check_command(void *dom, int id)
{
	struct domain *d = domain_enter(dom);
	int err = -ENOENT;
	unsigned int i;

	if (!d)
		return -1;
	for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (commands[i].v7 == id)
			err = kint_check_command(d->conn, commands[i].id);
	return domain_leave(d, err);
}

int kvmi_check_event(void *dom, int id)
{
	struct domain *d = domain_enter(dom);

	if (!d)
		return -1;
	if (event_id_of(id) < 0)
		return domain_leave(d, -ENOENT);
	return domain_leave(d, kint_check_event(d->conn, event_id_of(id)));
}

int kvmi_get_vcpu_count(void *dom, unsigned int *count)
{
	struct domain *d = domain_enter(dom);
	struct kvmi_vm_get_info_reply info;
	int err;

	if (!d)
		return -1;
	err = kint_get_info(d->conn, &info);
	if (!err)
		*count = info.vcpu_count;
	return domain_leave(d, err);
}

/*
 * Callers take it for the size of memory.  Slots go up to ROM below 4 GiB, the device
 * manager knows better.
 */
int kvmi_get_maximum_gfn(void *dom, unsigned long long *gfn)
{
	struct domain *d = domain_enter(dom);
	int err = 0;

	if (!d)
		return -1;
	if (!d->end)
		err = kint_get_max_gfn(d->conn, &d->end);
	*gfn = d->end;
	return domain_leave(d, err);
}

int kvmi_shutdown_guest(void *dom)
{
	struct domain *d = domain_enter(dom);

	return d ? domain_leave(d, kint_shutdown(d->conn)) : -1;
}

int kvmi_control_vm_events(void *dom, int id, bool enable)
{
	struct domain *d = domain_enter(dom);
	int err = -EINVAL;

	if (!d)
		return -1;
	if (id == KVMI_EVENT_UNHOOK || id == KVMI_EVENT_CREATE_VCPU)
		err = kint_control_vm_events(d->conn, event_id_of(id), enable);
	if (!err && enable)
		d->vm_events |= 1u << id;
	else if (!err)
		d->vm_events &= ~(1u << id);
	return domain_leave(d, err);
}
