/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __KVMI_X86_HOOKS_H
#define __KVMI_X86_HOOKS_H

/*
 * KVM introspection: the hooks in KVM's x86 code.
 *
 * What a tool requests to be intercepted is kept per vCPU.  KVM adds it to its
 * own intercepts when it recomputes them, so that it never removes an intercept
 * that KVM or userspace needs.
 *
 * What a hook returns:
 *  - enum kvmi_verdict: what to do with an instruction
 *  - bool, if its name is a question, e.g. kvmi_wants_msr(): the answer
 *  - bool otherwise: true if KVM is to go on, as without introspection.  Else it
 *    must not, and *@r, if there is one, is what to return to the run loop.
 *  - int: what to return to the run loop
 *  - anything else: what to use instead of what was given
 *
 * Hooks that send events are called on the vCPU's thread, with the vCPU loaded
 * and its SRCU lock held, which may be dropped and retaken.  Those that return
 * enum kvmi_verdict, or have an @r for what to return to the run loop, are such
 * hooks.
 */

/* What to do with an instruction */
enum kvmi_verdict {
	/* Go on */
	KVMI_ALLOW,
	/* Advance RIP past the instruction without executing it */
	KVMI_SKIP,
	/*
	 * Return to the run loop, which either restarts the instruction or
	 * returns to userspace first
	 */
	KVMI_RETRY,
};

#endif /* __KVMI_X86_HOOKS_H */
