# SPDX-License-Identifier: GPL-2.0
# For gdb: the tasks and the log of a Linux guest, out of its core.
import gdb

TASK = gdb.lookup_type("struct task_struct")
RING = gdb.lookup_type("struct printk_ringbuffer")
INFO = gdb.lookup_type("struct printk_info")
DESC = gdb.lookup_type("struct prb_desc")
memory = gdb.selected_inferior()


def symbol(name):
    return int(gdb.parse_and_eval(f"(unsigned long)&{name}"))


def at(address, type):
    return gdb.Value(address).cast(type.pointer()).dereference()


def offset(type, name):
    return next(f.bitpos // 8 for f in type.fields() if f.name == name)


def text(value):
    return value.string(errors="replace")


def tasks():
    link = offset(TASK, "tasks")
    first = address = symbol("init_task")
    while True:
        task = at(address, TASK)
        yield int(task["pid"]), text(task["comm"])
        address = int(task["tasks"]["next"]) - link
        if address == first:
            return


# Each descriptor says where its text is; the newest has the greatest number
def log():
    ring = at(int(gdb.parse_and_eval("*(unsigned long *)&prb")), RING)
    descs, data = ring["desc_ring"], ring["text_data_ring"]
    count, size = 1 << int(descs["count_bits"]), 1 << int(data["size_bits"])
    lines = []
    for i in range(count):
        desc = at(int(descs["descs"]) + i * DESC.sizeof, DESC)
        info = at(int(descs["infos"]) + i * INFO.sizeof, INFO)
        begin = int(desc["text_blk_lpos"]["begin"])
        # Bits 63:62: a record that is committed or finalized; odd begins have no text
        if int(desc["state_var"]["counter"]) >> 62 & 3 not in (1, 2) or begin & 1:
            continue
        # A block starts with the number of its descriptor.  It is in one piece: if
        # there is no room for it at the end, it's at the beginning.
        if begin // size != (int(desc["text_blk_lpos"]["next"]) - 1) // size:
            begin = 0
        begin = begin % size
        line = memory.read_memory(int(data["data"]) + begin + 8, int(info["text_len"]))
        lines.append((int(info["seq"]), int(info["ts_nsec"]), bytes(line)))
    for seq, ns, line in sorted(lines):
        yield ns, line.decode(errors="replace")


for pid, comm in tasks():
    print("task", pid, comm)
for ns, line in log():
    print("log [%5d.%06d] %s" % (ns // 10**9, ns // 1000 % 10**6, line))
