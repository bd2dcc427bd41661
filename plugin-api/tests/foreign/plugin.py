"""A plugin whose every entry is a Python function: its tables are made with ctypes, without a line of C.

abi.py beside it is made from the ABI's sources. Usage: plugin.py LIBRARY, where LIBRARY is the host that calls it.
"""

import ctypes
import sys
import threading

import abi


class Shout:
    def __init__(self, host, instance, config):
        self.host, self.instance, self.config = host, instance, config
        self.waiting = {}


instances, attached, keep = {}, [], []


def text(data):
    return ctypes.string_at(data.data, data.len).decode() if data.len else ""


def host_bytes(value):
    kept = ctypes.create_string_buffer(value, len(value))
    keep.append(kept)
    return abi.Bytes(ctypes.addressof(kept), len(value))


def fail(error, status, said):
    buffer = abi.TextBuffer.from_address(error)
    buffer.len = min(len(said), buffer.capacity)
    ctypes.memmove(buffer.data, said, buffer.len)
    return status


def call_host(host, name, *arguments):
    return getattr(abi.HostTable.from_address(host), name)(host, *arguments)


def thread_attach(host):
    attached.append(threading.get_ident())
    return abi.STATUS_OK


def thread_detach(host):
    attached.remove(threading.get_ident())


def create(host, request, handle, error):
    made = abi.CreateRequest.from_address(request)
    instance = Shout(host, made.instance, text(made.config))
    record = abi.LogRecord(ctypes.sizeof(abi.LogRecord), abi.LOG_INFO, 0, host_bytes(b"plugin"))
    places = " ".join(text(place) for place in (made.data_dir, made.cache_dir, made.resource_dir))
    record.text = host_bytes(f"{text(made.name)} {instance.config} {places}".encode())
    record.fields = abi.Bytes(None, 0)
    if call_host(host, "log_enabled", made.instance, abi.LOG_INFO) and not call_host(
        host, "log_enabled", made.instance, abi.LOG_TRACE
    ):
        call_host(host, "log", made.instance, ctypes.addressof(record))
    call_host(host, "extension", b"some/1", 6)
    number = len(instances) + 1
    instances[number] = instance
    ctypes.c_void_p.from_address(handle).value = number
    return abi.STATUS_OK


def start(handle, request, error):
    call = abi.StepRequest.from_address(request).call
    host = instances[handle].host
    left = call_host(host, "deadline_ns", call)
    call_host(host, "progress", call, left, 2 * left, b"warming", 7)
    return abi.STATUS_OK


def configure(handle, request, error):
    instances[handle].config = text(abi.ConfigureRequest.from_address(request).config)
    return abi.STATUS_OK


def nothing(handle, request, error):
    return abi.STATUS_OK


def snapshot(handle, request, snapshot, error):
    call = abi.StepRequest.from_address(request).call
    state = instances[handle].config.encode()
    abi.Snapshot.from_address(snapshot).format = 3
    return call_host(instances[handle].host, "sink_write", call, state, len(state))


def restore(handle, request, error):
    given = abi.RestoreRequest.from_address(request)
    said = f"{given.format} of {text(given.plugin_version)}: {text(given.state)}"
    return fail(error, abi.STATUS_DATA_LOSS, said.encode())


def destroy(handle, request, error):
    del instances[handle]
    return abi.STATUS_OK


def invoke(handle, request, outcome, error):
    asked = abi.Request.from_address(request)
    host = instances[handle].host
    if text(asked.capability) != "text.shout":
        said = abi.Outcome.from_address(outcome)
        said.valid = abi.OUTCOME_RETRYABLE | abi.OUTCOME_RETRY_AFTER
        said.retryable, said.retry_after_ms = 1, 250
        return fail(error, abi.STATUS_UNIMPLEMENTED, b"only text.shout")
    if call_host(host, "cancelled", asked.call):
        return fail(error, abi.STATUS_CANCELLED, b"cancelled")
    pair = abi.Metadata.from_address(asked.metadata)
    part = abi.InputPart.from_address(asked.parts)
    call_host(host, "sink_begin", asked.call, b"text/plain", 10)
    for word in (
        text(asked.input).upper(),
        f"{text(pair.key)}={text(pair.value)}",
        f"{text(part.name)} {text(part.content_type)} {text(part.data)}",
        f"{text(asked.capability_version)} {text(asked.content_type)} {text(asked.accept)} {asked.flags}",
    ):
        call_host(host, "sink_write", asked.call, word.encode(), len(word))
    call_host(host, "emit_metadata", asked.call, b"model", 5, b"none", 4)
    said = abi.Outcome.from_address(outcome)
    said.valid, said.tokens_in, said.tokens_out = abi.OUTCOME_TOKENS_IN | abi.OUTCOME_TOKENS_OUT, 5, 4
    return abi.STATUS_OK


def finish(host, call, status):
    outcome = abi.Outcome(ctypes.sizeof(abi.Outcome), abi.OUTCOME_TOKENS_OUT)
    outcome.tokens_out = 9
    call_host(host, "complete", call, status, ctypes.addressof(outcome), None, 0)


def submit(handle, request, outcome, error):
    call = abi.Request.from_address(request).call
    instance = instances[handle]
    cancelled = threading.Event()
    instance.waiting[call] = cancelled

    def work():
        # The second call waits until it is cancelled.
        is_cancelled = cancelled.wait(60 if len(instance.waiting) > 1 else 0)
        finish(instance.host, call, abi.STATUS_CANCELLED if is_cancelled else abi.STATUS_OK)

    threading.Thread(target=work).start()
    return abi.STATUS_OK


def cancel(handle, call):
    instances[handle].waiting[call].set()


def check(handle, request, report, said):
    call = abi.CheckRequest.from_address(request).call
    instance = instances[handle]
    part = abi.Check(ctypes.sizeof(abi.Check), abi.CHECK_VALID_DURATION | abi.CHECK_VALID_VALUE)
    part.name, part.message, part.health = host_bytes(b"model"), host_bytes(b"loaded"), abi.HEALTH_UP
    part.duration_ns, part.value = 1500, 2.5
    call_host(instance.host, "emit_check", call, ctypes.addressof(part))
    filled = abi.Report.from_address(report)
    filled.valid, filled.health, filled.queue_depth = abi.REPORT_HEALTH | abi.REPORT_QUEUE_DEPTH, abi.HEALTH_UP, 3
    call_host(instance.host, "push_health", instance.instance, report, b"well", 4)
    fail(said, 0, b"all is well")
    return abi.STATUS_OK


def table(kind, **entries):
    types = dict(kind._fields_)
    made = kind(ctypes.sizeof(kind))
    for name, function in entries.items():
        setattr(made, name, types[name](function))
    keep.append(made)
    return made


asynchronous = table(abi.AsyncVtable, submit=submit)


def extension(name, length):
    return ctypes.addressof(asynchronous) if ctypes.string_at(name, length) == abi.EXTENSION_ASYNC else None


lifecycle = table(
    abi.LifecycleVtable,
    create=create,
    start=start,
    configure=configure,
    drain=nothing,
    stop=nothing,
    snapshot=snapshot,
    restore=restore,
    destroy=destroy,
)
module = table(
    abi.PluginModule, extension=extension, thread_attach=thread_attach, thread_detach=thread_detach
)
module.magic, module.abi_major, module.abi_minor = abi.MODULE_MAGIC, abi.ABI_MAJOR, abi.ABI_MINOR
module.lifecycle = ctypes.addressof(lifecycle)
module.capability = ctypes.addressof(table(abi.CapabilityVtable, invoke=invoke, cancel=cancel))
module.health = ctypes.addressof(table(abi.HealthVtable, check=check))

host = ctypes.CDLL(sys.argv[1])
host.drive.restype = ctypes.c_char_p
sys.stdout.write(host.drive(ctypes.byref(module)).decode())
assert not instances and not attached, (instances, attached)
