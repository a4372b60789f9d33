#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""guestinfo.py ADDRESS: where the vCPUs of a guest are, and which Linux it runs.

An example of a tool.  It stops the guest for as long as that takes.
LD_LIBRARY_PATH says where libkint.so.1 is, if it is not installed.
"""
import atexit
import ctypes as c
import errno
import os
import sys
import time

kint = c.CDLL("libkint.so.1")
kint.kint_event_is_own.restype = c.c_bool
ALLOW = 0  # KVMI_EVENT_ACTION_ALLOW
PAUSE = 1  # KVMI_VCPU_EVENT_PAUSE

# The beginning of struct kint_event, with that of the vCPU's registers
REGS = "rax rbx rcx rdx rsi rdi rsp rbp r8 r9 r10 r11 r12 r13 r14 r15 rip rflags".split()
class Event(c.Structure):
    _fields_ = [("seq", c.c_uint32), ("id", c.c_uint16), ("is_vcpu", c.c_bool),
                ("notified", c.c_bool), ("size", c.c_uint16), ("vcpu", c.c_uint16),
                ("cookie", c.c_uint32), ("mode", c.c_uint8), ("as_id", c.c_uint8),
                ("view", c.c_uint16), ("padding", c.c_uint32)]
    _fields_ += [(r, c.c_uint64) for r in REGS] + [("more", c.c_byte * 4096)]

class Slot(c.Structure):  # struct kvmi_memslot
    _fields_ = [("gfn", c.c_uint64), ("npages", c.c_uint64), ("flags", c.c_uint64)]

def check(ret):
    if ret < 0:
        sys.exit("guestinfo: " + os.strerror(-ret))
    return ret

def printable(data):
    """What a guest has in its memory is not to move the cursor, nor to have no end"""
    text = data[:200].split(bytes(1))[0].decode(errors="replace").strip()
    return "".join(ch if ch.isprintable() else "?" for ch in text)

def memory(conn):
    """Pairs of an address and up to 1 MiB of memory from there on, which overlap a bit"""
    slots = (Slot * 512)()
    n = check(kint.kint_get_memslots(conn, 0, slots, 512, None))
    for slot in slots[:n]:
        end = (slot.gfn + slot.npages) << 12
        for gpa in range(slot.gfn << 12, end, 1 << 20):
            buf = c.create_string_buffer(min(end - gpa, (1 << 20) + 256))
            if not kint.kint_read_physical(conn, c.c_uint64(gpa), buf, c.c_size_t(len(buf))):
                yield gpa, buf.raw

if len(sys.argv) != 2:
    sys.exit(__doc__)
listener, conn, vcpus, event = c.c_void_p(), c.c_void_p(), c.c_uint32(), Event()
check(kint.kint_listen(sys.argv[1].encode(), c.byref(listener)))
atexit.register(kint.kint_listener_free, listener)  # removes the socket file
check(kint.kint_accept(listener, None, -1, c.byref(conn)))
check(kint.kint_pause_all(conn, True, c.byref(vcpus)))
open_events, end = [], time.monotonic() + 1
while len(open_events) < vcpus.value and time.monotonic() < end:
    err = kint.kint_next_event(conn, c.byref(event), int(1000 * (end - time.monotonic())) + 1)
    if err == -errno.EAGAIN:
        break  # the guest has not started all of them yet, or they wait for another tool
    check(err)
    # What a tool was to be asked about that was lost is for the next one that knows it
    if event.id != PAUSE or not kint.kint_event_is_own(conn, c.byref(event)):
        continue
    print(f"vCPU {event.vcpu} at {event.rip:#x}, stack at {event.rsp:#x}")
    open_events.append(Event.from_buffer_copy(event))
for gpa, data in memory(conn):
    at = data.find(b"Linux version ")
    if at >= 0:
        print(f"{gpa + at:#x}: {printable(data[at:])}")
        break
for event in open_events:
    check(kint.kint_reply(conn, c.byref(event), ALLOW))
check(kint.kint_detach(conn))
