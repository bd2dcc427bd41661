//! The smallest plugin in Zig: one capability that gives back what it is given. `extman` is the header, as Zig translates it.

const std = @import("std");
const extman = @import("extman");

const Echo = struct { host: *const extman.ExtmanHostTable };

fn equal(bytes: extman.ExtmanBytes, text: []const u8) bool {
    return bytes.len == text.len and std.mem.eql(u8, bytes.data[0..bytes.len], text);
}

fn fail(err: ?*extman.ExtmanTextBuffer, status: extman.ExtmanStatus, text: [:0]const u8) extman.ExtmanStatus {
    return extman.extman_fail(err, status, text.ptr);
}

fn create(
    host: ?*const extman.ExtmanHostTable,
    _: ?*const extman.ExtmanCreateRequest,
    handle: ?*extman.ExtmanInstanceHandle,
    err: ?*extman.ExtmanTextBuffer,
) callconv(.c) extman.ExtmanStatus {
    const echo = std.heap.page_allocator.create(Echo) catch {
        return fail(err, extman.EXTMAN_STATUS_RESOURCE_EXHAUSTED, "out of memory");
    };
    echo.* = .{ .host = host.? };
    handle.?.* = echo;
    return extman.EXTMAN_STATUS_OK;
}

fn destroy(
    handle: extman.ExtmanInstanceHandle,
    _: ?*const extman.ExtmanStepRequest,
    _: ?*extman.ExtmanTextBuffer,
) callconv(.c) extman.ExtmanStatus {
    const echo: *Echo = @ptrCast(@alignCast(handle.?));
    std.heap.page_allocator.destroy(echo);
    return extman.EXTMAN_STATUS_OK;
}

fn invoke(
    handle: extman.ExtmanInstanceHandle,
    request: ?*const extman.ExtmanRequest,
    _: ?*extman.ExtmanOutcome,
    err: ?*extman.ExtmanTextBuffer,
) callconv(.c) extman.ExtmanStatus {
    const echo: *const Echo = @ptrCast(@alignCast(handle.?));
    const asked = request.?;
    if (!equal(asked.capability, "bytes.echo")) {
        return fail(err, extman.EXTMAN_STATUS_UNIMPLEMENTED, "this plugin has only bytes.echo");
    }
    var status = extman.extman_begin(echo.host, asked.call, asked.content_type);
    if (status == extman.EXTMAN_STATUS_OK) {
        status = extman.extman_write(echo.host, asked.call, asked.input);
    }
    return extman.extman_status_from_host(status);
}

const lifecycle = extman.ExtmanLifecycleVtable{
    .struct_size = @sizeOf(extman.ExtmanLifecycleVtable),
    .create = create,
    .destroy = destroy,
};

const capability = extman.ExtmanCapabilityVtable{
    .struct_size = @sizeOf(extman.ExtmanCapabilityVtable),
    .invoke = invoke,
};

const module = extman.ExtmanPluginModule{
    .struct_size = @sizeOf(extman.ExtmanPluginModule),
    .magic = extman.EXTMAN_MODULE_MAGIC,
    .abi_major = extman.EXTMAN_ABI_MAJOR,
    .abi_minor = extman.EXTMAN_ABI_MINOR,
    .lifecycle = &lifecycle,
    .capability = &capability,
};

export fn extman_plugin_entry() callconv(.c) *const extman.ExtmanPluginModule {
    return &module;
}
