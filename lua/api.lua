-- The Lua side of the module: what require("haproxy_vitals") returns. Built into haproxy_vitals.so.
-- No policy here: it registers, hands values over, and applies answers.

local core, native, health = ...

local api = { version = native.version }

local LOG_MS = 1000

-- src/trace/carry.rs, Verdict.
local REPLACES, DELETES = {}, {}
for verdict in ("TUt"):gmatch(".") do REPLACES[verdict:byte()] = true end
for verdict in ("DEd"):gmatch(".") do DELETES[verdict:byte()] = true end

local function mend_tracestate(txn, ctx)
    local verdict = ctx:byte(56)
    if REPLACES[verdict] then
        txn.http:req_set_header("tracestate", ctx:match("^[^\t]*", 89))
    elseif DELETES[verdict] then
        txn.http:req_del_header("tracestate")
    end
end

-- A function that gives what follows the fixed values: reuse and two queues, which are left out; what the settings ask for, in
-- hexadecimal; and the request line, which was carried from the start. None where the settings ask for nothing.
local function gatherer(wanted)
    if #wanted == 0 then
        return nil
    end
    local hex = native.hex
    return function(txn, f)
        local values = {}
        for n, one in ipairs(wanted) do
            local value
            if one.kind == "header" then
                value = f:res_fhdr(one.name, -1)
            elseif one.kind == "variable" then
                value = txn:get_var(one.name)
            else
                value = f[one.name](f)
            end
            values[n] = hex(value)
        end
        return "   " .. table.concat(values, " ") .. " "
    end
end

-- The filter door: `filter lua.otel [client-span=off]`. HAProxy makes one object of it for each stream, and tells it of the
-- begin before the first rule and of the end after the last byte, whatever came between. An error in a callback would end the
-- request: none leaves here.
local function register_filter(start, hand_over)
    local Filter = { id = "haproxy-vitals", flags = filter.FLT_CFG_FL_HTX }
    Filter.__index = Filter

    -- `self` is what the parsing of a `filter` line returned.
    function Filter:new()
        return setmetatable({}, self)
    end

    function Filter:start_analyze(txn)
        self.start_analyze = false
        local fine, wanted = pcall(start, txn, self.single, true)
        if not fine then
            native.fault("filter", wanted)
        end
        if not (fine and wanted) then
            self.end_analyze = false
        end
    end

    -- The request's side mostly ends first: when both are complete, and then it receives no more. Otherwise, unless HAProxy's state
    -- already says what went wrong, the response's side knows how it ended.
    function Filter:end_analyze(txn, channel)
        if not channel:may_recv() or channel:is_resp() or txn.f:txn_sess_term_state() ~= "--" then
            self.end_analyze = false
            local fine, problem = pcall(hand_over, txn, true)
            if not fine then
                native.fault("filter", problem)
            end
        end
    end

    core.register_filter("otel", Filter, function(class, arguments)
        local single = ""
        for _, argument in ipairs(arguments) do
            if argument == "client-span=off" then
                single = "1"
            elseif argument ~= "client-span=on" then
                local known = "`; known: client-span=on, client-span=off"
                error("haproxy-vitals: filter lua.otel: unknown argument `" .. argument .. known, 0)
            end
        end
        local line = setmetatable({ single = single }, class)
        line.__index = line
        return line
    end)
end

-- What every trace door needs. The names are those of lua/otel.cfg.
local function register_tracing()
    core.register_converters("otel_begin", native.begin)
    core.register_converters("otel_end", native.finish)

    -- Looking a method up by its name costs as much as some of them do: each is looked up once.
    local begin = native.begin_parts
    local get_var, set_var, set_header, headers_of, method, url, version
    local plan = native.plan()
    local head = plan.head

    -- Once per request, whoever asks first. `single`: one span for both legs, if it is given and not empty. `tell`: the answer
    -- is whether the end of the request is wanted; an action must not return anything.
    local function start(txn, single, tell)
        local f, http = txn.f, txn.http
        if not get_var then
            get_var, set_var, set_header = txn.get_var, txn.set_var, http.req_set_header
            headers_of, method, url, version = f.req_hdrs, f.method, f.url, f.req_ver
        end
        if get_var(txn, "txn.otel.ctx") then
            return
        end
        local ctx, traceparent, verdict
        if head then
            local secure = f:ssl_fc() and "1" or "0"
            ctx, traceparent, verdict =
                begin(headers_of(f), method(f), url(f), version(f), single, f:fe_name(), f:src(), secure)
        else
            ctx, traceparent, verdict = begin(headers_of(f), method(f), url(f), version(f), single)
        end
        set_var(txn, "txn.otel.ctx", ctx)
        set_header(http, "traceparent", traceparent)
        if verdict then
            mend_tracestate(txn, ctx)
        end
        if tell then
            return #ctx >= 56
        end
    end

    -- Hands over what is known. `final`: nothing follows any more, so HAProxy's state says how it ended. The fields stand in
    -- the order of lua/otel.cfg, but for those that would cost more than they say: the frontend's port, handshake and idle
    -- timers, queue positions, connection reuse. The start is the stamp of otel_start less the time that the request's headers
    -- took.
    local finish, gather = native.finish, gatherer(plan.gathered)
    local state, status, be, srv, srv_ip, srv_port, ip, port, fe, tls
    local hdr, queue, connect, answer, retries, be_version
    local function hand_over(txn, final)
        local ctx = get_var and get_var(txn, "txn.otel.ctx")
        if not ctx or #ctx < 56 then
            return
        end
        local f = txn.f
        if not state then
            state, status, be, srv = f.txn_sess_term_state, f.txn_status, f.be_name, f.srv_name
            srv_ip, srv_port = f.bc_dst, f.bc_dst_port
            ip, port, fe, tls = f.src, f.src_port, f.fe_name, f.ssl_fc_protocol
            hdr, queue, connect, answer = f.req_timer_hdr, f.req_timer_queue, f.bc_timer_connect, f.res_timer_hdr
            retries, be_version = f.txn_conn_retries, f.bc_http_major
        end
        -- A server's answer that is no error has not ended yet: the state would say nothing.
        local code, server = status(f), srv(f)
        local ended = (final or not server or code >= 400) and state(f) or "--"
        -- Values are joined by spaces: a text of spaces stands for several that are absent.
        -- stylua: ignore
        finish(
            ctx, ended, code, be(f), server, srv_ip(f), srv_port(f), ip(f), port(f), fe(f), "", tls(f),
            " ", hdr(f), queue(f), connect(f), answer(f), retries(f), " ", be_version(f),
            gather and gather(txn, f) or "   "
        )
    end

    core.register_action("otel_start", { "http-req" }, start)

    -- For the profile, which calls it where it is needed only.
    core.register_action("otel_tracestate", { "http-req" }, function(txn)
        local ctx = txn:get_var("txn.otel.ctx")
        if ctx then
            mend_tracestate(txn, ctx)
        end
    end)

    -- The request's end is stamped here: the body is still to come.
    core.register_action("otel_end", { "http-res", "http-after-res" }, hand_over)

    register_filter(start, hand_over)

    core.register_action("otel_attr", { "http-req", "http-res", "http-after-res" }, function(txn, name, variable)
        local ctx = txn:get_var("txn.otel.ctx")
        local value = txn:get_var(variable)
        if not ctx or #ctx < 56 or value == nil then
            return
        end
        local longer = native.attribute(ctx, name, value)
        if longer then
            txn:set_var("txn.otel.ctx", longer)
        end
    end, 2)
end

local LEVELS = { warning = core.warning, notice = core.notice, info = core.info }

local function say_what_waits()
    for _, line in ipairs(native.take_log()) do
        core.log(LEVELS[line.level] or core.info, "haproxy-vitals: " .. line.text)
    end
end

-- One loop per process. An error ends a round, never the loop.
local function tend()
    while true do
        pcall(say_what_waits)
        core.msleep(LOG_MS)
    end
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

local registered = false

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
    -- As HAProxy's own warnings about its configuration. core.Warning would say them to the log servers alone where
    -- there are some: not to whoever runs `haproxy -c`.
    for _, text in ipairs(warnings) do
        io.stderr:write("[WARNING]  haproxy-vitals: ", text, "\n")
    end
    -- Each request leaves a coroutine and two strings behind: short-lived garbage, which this mode collects cheaply.
    collectgarbage("generational")
    register_tracing()
    register_commands()
    register_sampling()
    health.register(api)
    core.register_init(function()
        local info = core.get_info()
        local problem = native.start(info.Version, info.node)
        if problem then
            error("haproxy-vitals: " .. problem, 0)
        end
        if core.thread <= 1 then
            health.begin()
        end
    end)
    if core.thread <= 1 then
        core.register_task(tend)
        health.follow()
    end
end

return api
