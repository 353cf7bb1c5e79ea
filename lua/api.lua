-- The Lua side of the module: what require("haproxy_vitals") returns. Built into haproxy_vitals.so.
-- No policy here: it registers, hands values over, and applies answers.

local core, native, health, register_tracing = ...

local api = { version = native.version }

local LOG_MS = 1000

local LEVELS = {
    error = core.err, warning = core.warning, notice = core.notice, info = core.info, debug = core.debug, trace = core.debug,
}

local function say_what_waits()
    for _, line in ipairs(native.take_log()) do
        core.log(LEVELS[line.level] or core.info, "haproxy-vitals: " .. line.text)
    end
end

local left = false

local function leave()
    if not left and health.stopping() then
        left = true
        native.close_listeners()
    end
end

-- One per process, a task for each round: HAProxy ends a task without a word when all that it ever computed comes to
-- `tune.lua.task-timeout`. The next round waits already: neither that nor an error ends more than one.
local function tend()
    core.register_task(function()
        core.msleep(LOG_MS)
        tend()
    end)
    pcall(leave)
    pcall(say_what_waits)
end

local function register_commands()
    for _, topic in ipairs({ "config", "health", "traces" }) do
        core.register_cli(
            { "show", "vitals", topic },
            "show vitals " .. topic .. " : " .. native.usage(topic),
            function(applet, ...)
                -- The words of the command come too.
                applet:send(native.show(topic, { select(4, ...) }))
            end
        )
    end
end

local function register_sampling()
    core.register_cli({ "vitals", "trace", "sample" }, native.sample_usage, function(applet, ...)
        local frontends = {}
        for name in pairs(core.frontends) do
            frontends[#frontends + 1] = name
        end
        -- The words of the command come too.
        applet:send(native.sample({ select(4, ...) }, frontends))
    end)
end

-- What Prometheus pulls: `http-request use-service lua.otel_metrics`.
local function register_services()
    core.register_service("otel_metrics", "http", function(applet)
        local lines = {}
        for _, line in pairs(applet.headers["accept"] or {}) do
            lines[#lines + 1] = line
        end
        local content_type, text = native.metrics(table.concat(lines, ","))
        applet:set_status(text and 200 or 404)
        text = text or "no metrics are made: set metrics.enabled\n"
        applet:add_header("content-type", content_type or "text/plain")
        applet:add_header("content-length", tostring(#text))
        applet:start_response()
        applet:send(text)
    end)
end

local registered, has_names = false, false

-- Whether HAProxy knows the names that its configuration may use: also after a refusal.
function api.has_names()
    return has_names or native.is_native()
end

-- Loads the settings and takes part in HAProxy's life. `options` is a table of settings, shaped like the TOML file;
-- its list part are `key=value` texts, as they stand behind the file name in lua-load. An error is raised here, at
-- load time: HAProxy prints it and does not start.
function api.register(options)
    if registered then
        error("haproxy-vitals: register was called before in this Lua state", 2)
    end
    registered = true
    -- HAProxy could not print what the call below would raise.
    if options ~= nil and type(options) ~= "table" then
        error("haproxy-vitals: register: expected a table of options, found a " .. type(options), 2)
    end
    local failure, warnings = native.configure(options or {})
    if failure then
        error("haproxy-vitals: " .. failure, 2)
    end
    has_names = true
    -- As HAProxy's own warnings about its configuration. core.Warning would say them to the log servers alone where
    -- there are some: not to whoever runs `haproxy -c`.
    for _, text in ipairs(warnings) do
        io.stderr:write("[WARNING]  haproxy-vitals: ", text, "\n")
    end
    -- Each request leaves a coroutine and two strings behind: short-lived garbage, which this mode collects cheaply.
    collectgarbage("generational")
    if not native.is_native() then
        register_tracing()
    end
    register_commands()
    register_sampling()
    register_services()
    health.register(api)
    core.register_init(function()
        local info = core.get_info()
        local problem = native.start(info.Version, info.node)
        if problem then
            error("haproxy-vitals: " .. problem, 0)
        end
        for _, name in ipairs(native.plan().frontends) do
            if not core.frontends[name] then
                error("haproxy-vitals: `traces.trust_of." .. name .. "`: HAProxy has no frontend of this name", 0)
            end
        end
        if core.thread > 1 then
            return
        elseif native.has_started() then
            health.begin()
        else
            core.register_task(health.begin)
        end
    end)
    if core.thread <= 1 then
        core.register_task(tend)
        health.follow()
    end
end

return api
