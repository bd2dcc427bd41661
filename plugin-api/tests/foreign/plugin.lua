-- A plugin whose every entry is a Lua function: LuaJIT reads the header itself, without a line of C.
-- Usage: luajit plugin.lua HEADER LIBRARY, where HEADER is the preprocessed header and LIBRARY the host that calls it.
local ffi = require("ffi")

local file = assert(io.open(arg[1]))
ffi.cdef(file:read("*a") .. "\nconst char *drive(const ExtmanPluginModule *module);")
file:close()

local OK, CANCELLED, UNIMPLEMENTED, DATA_LOSS = 0, 106, 302, 303
local instances, kept = {}, {}

local function text(bytes)
    return bytes.len == 0 and "" or ffi.string(bytes.data, bytes.len)
end

local function keep(value)
    kept[#kept + 1] = value
    return value
end

local function set(bytes, value)
    bytes.data, bytes.len = keep(ffi.new("uint8_t[?]", #value, value)), #value
end

local function fail(err, status, said)
    local len = math.min(#said, tonumber(err.capacity))
    ffi.copy(err.data, said, len)
    err.len = len
    return status
end

local function number(handle)
    return tonumber(ffi.cast("uintptr_t", handle))
end

local function of(handle)
    return instances[number(handle)]
end

local function write(host, call, data)
    return host.sink_write(host, call, data, #data)
end

local lifecycle = keep(ffi.new("ExtmanLifecycleVtable"))
lifecycle.struct_size = ffi.sizeof("ExtmanLifecycleVtable")

lifecycle.create = function(host, request, handle, err)
    local record = ffi.new("ExtmanLogRecord", ffi.sizeof("ExtmanLogRecord"), 3)
    set(record.target, "plugin")
    set(record.text, table.concat({ text(request.name), text(request.config), text(request.data_dir), text(request.cache_dir),
        text(request.resource_dir) }, " "))
    if host.log_enabled(host, request.instance, 3) == 1 and host.log_enabled(host, request.instance, 5) == 0 then
        host.log(host, request.instance, record)
    end
    host.extension(host, "some/1", 6)
    instances[#instances + 1] = { host = host, instance = request.instance, config = text(request.config), calls = 0 }
    handle[0] = ffi.cast("void *", #instances)
    return OK
end

lifecycle.start = function(handle, request, err)
    local host = of(handle).host
    local left = host.deadline_ns(host, request.call)
    host.progress(host, request.call, left, 2 * left, "warming", 7)
    return OK
end

lifecycle.configure = function(handle, request, err)
    of(handle).config = text(request.config)
    return OK
end

local function nothing(handle, request, err)
    return OK
end
lifecycle.drain = nothing
lifecycle.stop = nothing

lifecycle.snapshot = function(handle, request, snapshot, err)
    snapshot.format = 3
    return write(of(handle).host, request.call, of(handle).config)
end

lifecycle.restore = function(handle, request, err)
    local said = string.format("%d of %s: %s", tonumber(request.format), text(request.plugin_version), text(request.state))
    return fail(err, DATA_LOSS, said)
end

lifecycle.destroy = function(handle, request, err)
    instances[number(handle)] = nil
    return OK
end

local capability = keep(ffi.new("ExtmanCapabilityVtable"))
capability.struct_size = ffi.sizeof("ExtmanCapabilityVtable")

capability.invoke = function(handle, request, outcome, err)
    local host = of(handle).host
    if text(request.capability) ~= "text.shout" then
        outcome.valid, outcome.retryable, outcome.retry_after_ms = 3, 1, 250
        return fail(err, UNIMPLEMENTED, "only text.shout")
    end
    if host.cancelled(host, request.call) ~= 0 then
        return fail(err, CANCELLED, "cancelled")
    end
    local pair, part = request.metadata[0], request.parts[0]
    host.sink_begin(host, request.call, "text/plain", 10)
    write(host, request.call, text(request.input):upper())
    write(host, request.call, text(pair.key) .. "=" .. text(pair.value))
    write(host, request.call, text(part.name) .. " " .. text(part.content_type) .. " " .. text(part.data))
    write(host, request.call, string.format("%s %s %s %d", text(request.capability_version), text(request.content_type),
        text(request.accept), tonumber(request.flags)))
    host.emit_metadata(host, request.call, "model", 5, "none", 4)
    outcome.valid, outcome.tokens_in, outcome.tokens_out = 12, 5, 4
    return OK
end

local function complete(host, call, status)
    local outcome = ffi.new("ExtmanOutcome", ffi.sizeof("ExtmanOutcome"))
    outcome.valid, outcome.tokens_out = 8, 9
    host.complete(host, call, status, outcome, nil, 0)
end

capability.cancel = function(handle, call)
    complete(of(handle).host, call, CANCELLED)
end

-- The first call is completed at once, the second when it is cancelled: LuaJIT has no threads.
local async = keep(ffi.new("ExtmanAsyncVtable"))
async.struct_size = ffi.sizeof("ExtmanAsyncVtable")
async.submit = function(handle, request, outcome, err)
    local instance = of(handle)
    instance.calls = instance.calls + 1
    if instance.calls == 1 then
        complete(instance.host, request.call, OK)
    end
    return OK
end

local health = keep(ffi.new("ExtmanHealthVtable"))
health.struct_size = ffi.sizeof("ExtmanHealthVtable")
health.check = function(handle, request, report, said)
    local host = of(handle).host
    local part = ffi.new("ExtmanCheck", ffi.sizeof("ExtmanCheck"), 3)
    set(part.name, "model")
    set(part.message, "loaded")
    part.health, part.duration_ns, part.value = 1, 1500, 2.5
    host.emit_check(host, request.call, part)
    report.valid, report.health, report.queue_depth = 17, 1, 3
    host.push_health(host, of(handle).instance, report, "well", 4)
    return fail(said, OK, "all is well")
end

local module = keep(ffi.new("ExtmanPluginModule"))
module.struct_size, module.magic = ffi.sizeof("ExtmanPluginModule"), 0x4c504e414d545845ULL
module.abi_major, module.abi_minor = 1, 0
module.lifecycle, module.capability, module.health = lifecycle, capability, health
module.extension = function(id, len)
    return ffi.string(id, len) == "extman.async/1" and ffi.cast("const void *", async) or nil
end
module.thread_attach = function(host)
    return OK
end
module.thread_detach = function(host) end

io.write(ffi.string(ffi.load(arg[2]).drive(module)))
assert(next(instances) == nil)
