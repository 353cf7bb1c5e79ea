-- The loader:
--
--     lua-load-per-thread otel.lua [config=/etc/haproxy/vitals.toml] [key=value ...]
--
-- haproxy_vitals.so is looked for beside this file, then where package.cpath says (lua-prepend-path ... cpath). It is
-- looked at before it is loaded: HAProxy would die of a file that is cut short. Lua 5.3 must understand all of this, to
-- say that it is too old. A second line without options changes nothing.

local HAPROXY_MIN = "3.0"
local LUA = "Lua 5.4"
local MODULE = "haproxy_vitals"
-- Set in package.loaded when this file was loaded into a Lua state.
local LOADED = "haproxy-vitals/otel.lua"

local here = debug.getinfo(1, "S").source:match("^@(.*)/[^/]*$") or "."
package.cpath = here .. "/?.so;" .. package.cpath

-- HAProxy reads on after an error, and would list all that it knows for each name of ours that it does not.
local function stand_in()
    local function nothing() end
    local function action(name, places, arguments)
        for _, place in ipairs(places) do
            pcall(core.register_action, name, { place }, nothing, arguments)
        end
    end
    action("otel_start", { "http-req", "tcp-req" }, 0)
    action("otel_end", { "http-res", "http-after-res" }, 0)
    action("otel_attr", { "http-req", "http-res", "http-after-res", "tcp-req", "tcp-res" }, 2)
    pcall(core.register_filter, "otel", {}, nothing)
    pcall(core.register_service, "otel_metrics", "http", nothing)
    pcall(core.register_fetches, "vitals_health", nothing)
end

-- Ends the start of HAProxy with one line. Without a position: it would name this file, not what is wrong.
local function refuse(problem, has_names)
    -- Other threads load this file when the configuration has been read.
    if not has_names and (core.thread or 0) <= 1 then
        stand_in()
    end
    error("haproxy-vitals: " .. tostring(problem):gsub("^.-haproxy%-vitals: ", ""):gsub("%s+", " "), 0)
end

-- "3.2.26-1" as a number to compare; nil for what is no version.
local function number_of(version)
    local major, minor = tostring(version):match("^(%d+)%.(%d+)")
    return major and tonumber(major) * 1000 + tonumber(minor)
end

local function check_haproxy()
    local fine, info = pcall(core.get_info)
    local version = fine and type(info) == "table" and info.Version
    local number = number_of(version)
    if _VERSION ~= LUA or number and number < number_of(HAPROXY_MIN) then
        local needed = ("%s/otel.lua: need HAProxy %s or newer, built with %s"):format(here, HAPROXY_MIN, LUA)
        refuse(("%s; this is HAProxy %s with %s"):format(needed, version or "of unknown version", _VERSION))
    end
end

-- What an ELF file says of itself; nil for any other.
local function elf_header(file)
    local ident = file:read(16) or ""
    if #ident < 16 or ident:sub(1, 4) ~= "\127ELF" then
        return nil
    end
    local is_wide, order = ident:byte(5) == 2, ident:byte(6) == 2 and ">" or "<"
    local word = is_wide and "I8" or "I4"
    local fields = order .. "I2I2I4" .. word:rep(3) .. "I4I2I2I2I2I2"
    local rest = file:read(string.packsize(fields)) or ""
    if #rest < string.packsize(fields) then
        return nil
    end
    local values = { fields:unpack(rest) }
    local elf = { kind = ident:sub(5, 6), machine = values[2], segments = values[5], sections = values[6] }
    elf.segment_size, elf.segment_count, elf.section_size, elf.section_count = table.unpack(values, 9, 12)
    -- Of a segment: its type, its place in the file, two addresses, its length in the file.
    elf.segment = order .. (is_wide and "I4xxxx" or "I4") .. word:rep(4)
    return elf
end

-- How long an ELF file is at least. Absurd numbers make it longer than any file.
local function elf_length(file, elf)
    local length = 0
    local function reaches(at, size)
        local last = at + size
        length = (at < 0 or size < 0 or last < 0) and math.maxinteger or math.max(length, last)
    end
    reaches(elf.sections, elf.section_size * elf.section_count)
    reaches(elf.segments, elf.segment_size * elf.segment_count)
    for index = 0, elf.segment_count - 1 do
        file:seek("set", elf.segments + index * elf.segment_size)
        local entry = file:read(string.packsize(elf.segment)) or ""
        if #entry < string.packsize(elf.segment) then
            break -- Beyond the end already.
        end
        local _, at, _, _, size = elf.segment:unpack(entry)
        reaches(at, size)
    end
    return length
end

local MACHINES = { [3] = "x86", [40] = "ARM", [62] = "x86-64", [183] = "AArch64", [243] = "RISC-V" }

local function describe(elf)
    local bits = elf.kind:byte(1) == 2 and "64-bit" or "32-bit"
    local order = elf.kind:byte(2) == 2 and "big-endian" or "little-endian"
    return ("%s, %s, %s"):format(MACHINES[elf.machine] or "machine " .. elf.machine, bits, order)
end

local function check_module(path, own)
    local file, why = io.open(path, "rb")
    if not file then
        refuse(why .. ": HAProxy must be able to read it")
    end
    local elf = elf_header(file)
    if not elf then
        refuse(path .. ": not a shared object, or cut short: put the haproxy_vitals.so of a build there")
    elseif elf.kind ~= own.kind or elf.machine ~= own.machine then
        local found, needed = describe(elf), describe(own)
        refuse(("%s: built for %s: need a build for %s, which HAProxy runs on"):format(path, found, needed))
    end
    local needed, size = elf_length(file, elf), file:seek("end")
    if size < needed then
        refuse(("%s: cut short, %d bytes of at least %d: copy it again"):format(path, size, needed))
    end
    file:close()
end

local function load_module()
    local path = package.searchpath(MODULE, package.cpath)
    if not path then
        local needed = ("put it beside %s/otel.lua, or name its folder: lua-prepend-path FOLDER/?.so cpath"):format(here)
        refuse(("%s.so: no such file that can be read, looked for by %s; %s"):format(MODULE, package.cpath, needed))
    end
    -- A system without ELF files, or without /proc, loads it without a look.
    local process = io.open("/proc/self/exe", "rb")
    local own = process and elf_header(process)
    if process then
        process:close()
    end
    if own then
        check_module(path, own)
    end
    local fine, module = pcall(require, MODULE)
    if not fine then
        local why = tostring(module):gsub("^error loading module .- from file .-:%s*", "")
        refuse(("%s: cannot be loaded: %s; need a build of it for this machine"):format(path, why))
    end
    return module
end

-- Images load it before the configuration of their users, who may have written the line too.
if select("#", ...) == 0 and package.loaded[LOADED] then
    return
end
check_haproxy()
local vitals = load_module()
local ok, problem = pcall(vitals.register, { ... })
if not ok then
    -- An older haproxy_vitals.so does not tell.
    refuse(problem, not vitals.has_names or vitals.has_names())
end
package.loaded[LOADED] = true
