-- The Lua side of the module: what require("haproxy_vitals") returns. Built into haproxy_vitals.so.
-- No policy here: it registers, hands values over, and applies answers.

local core, native = ...

local api = { version = native.version }

local SWEEP_MS = 1000
local TICK_MS = 50
local YIELD_EVERY = 100

-- src/trace/carry.rs, Verdict.
local REPLACES, DELETES = {}, {}
for verdict in ("TUt"):gmatch(".") do REPLACES[verdict:byte()] = true end
for verdict in ("DEd"):gmatch(".") do DELETES[verdict:byte()] = true end

-- HAProxy's truths as the log prints them.
local BITS = { [true] = 1, [false] = 0 }

local function mend_tracestate(txn, ctx)
    local verdict = ctx:byte(56)
    if REPLACES[verdict] then
        txn.http:req_set_header("tracestate", ctx:match("^[^\t]*", 89))
    elseif DELETES[verdict] then
        txn.http:req_del_header("tracestate")
    end
end

-- A function that gives what follows the fixed values: reuse, unless it is known, and two queues, which are left out; what the
-- settings ask for, in hexadecimal; and the request line, which was carried from the start. None where the settings ask for
-- nothing.
local function gatherer(wanted)
    if #wanted == 0 then
        return nil
    end
    local hex = native.hex
    return function(txn, f, reuse_known)
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
        return (reuse_known and "  " or "   ") .. table.concat(values, " ") .. " "
    end
end

-- The filter door: `filter lua.otel [client-span=off]`. HAProxy makes one object of it for each stream, and tells it of the
-- begin before the first rule and of the end after the last byte, whatever came between. An error in a callback would end the
-- request: none leaves here.
local function register_filter(start, hand_over, hand_over_connection)
    local Filter = { id = "haproxy-vitals", flags = filter.FLT_CFG_FL_HTX }
    Filter.__index = Filter

    -- `self` is of the `filter` line.
    function Filter:new()
        return setmetatable({}, self)
    end

    local function guard(fine, ...)
        if fine then
            return ...
        end
        native.fault("filter", (...))
    end

    -- In TCP mode HAProxy calls a side ended when it looks at its data no more, which is at once: the filter asks for the data of
    -- both sides, and has no method for them.
    local function open_response(self, _, channel)
        guard(pcall(filter.register_data_filter, self, channel))
        self.response = "open"
    end

    -- The sides end in any order. The request's may also end alone: rejected, or without a server; then HAProxy's state says so.
    local function close(self, txn, channel)
        local over
        if channel:is_resp() then
            self.response = "over"
            over = self.request == "over"
        else
            self.request = "over"
            over = self.response == "over" or not self.response and txn.f:txn_sess_term_state() ~= "--"
        end
        if over then
            self.end_analyze = false
            -- HAProxy says it later, and only to its log: all is over, and the server has not closed, so the client has left.
            local cut = channel:is_resp() and channel:may_recv()
            hand_over_connection(txn, cut and "CD" or "--")
        end
    end

    local function close_side(self, txn, channel)
        guard(pcall(close, self, txn, channel))
    end

    local function open(self, txn, channel)
        local ctx, connection = start(txn, self.single, self)
        if not ctx then
            self.end_analyze = false
        elseif connection then
            filter.register_data_filter(self, channel)
            self.start_analyze, self.end_analyze = open_response, close_side
        end
    end

    function Filter:start_analyze(txn, channel)
        self.start_analyze = false
        guard(pcall(open, self, txn, channel))
    end

    -- The request's side mostly ends first: when both are complete, and then it receives no more. Otherwise, unless HAProxy's state
    -- already says what went wrong, the response's side knows how it ended.
    function Filter:end_analyze(txn, channel)
        if not channel:may_recv() or channel:is_resp() or txn.f:txn_sess_term_state() ~= "--" then
            self.end_analyze = false
            guard(pcall(hand_over, txn, true))
        end
    end

    -- HAProxy makes `line`, a copy of the class, for each `filter` line and thread, when threads start: `haproxy -c` does not.
    core.register_filter("otel", Filter, function(line, arguments)
        line.__index = line
        line.single = ""
        for _, argument in ipairs(arguments) do
            if argument == "client-span=off" then
                line.single = "1"
            elseif argument ~= "client-span=on" then
                local known = "`; known: client-span=on, client-span=off"
                error("haproxy-vitals: filter lua.otel: unknown argument `" .. argument .. known, 0)
            end
        end
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

    -- What filters started, and will end: the filter's object by the SERVER span's id, while HAProxy holds it. Others leave it
    -- alone.
    local owned

    local function own(ctx, by)
        owned = owned or setmetatable({}, { __mode = "v" })
        owned[ctx:sub(57, 72)] = by
    end

    local function is_of_filter(ctx)
        return owned and owned[ctx:sub(57, 72)]
    end

    -- A connection in TCP mode.
    local function start_connection(txn, by)
        if txn:get_var("txn.otel.ctx") or by and txn:get_var("sess.otel.profile") then
            return
        end
        local ctx
        if head then
            local f = txn.f
            ctx = begin("", "", "", "", "1", f:fe_name(), f:src(), f:ssl_fc() and "1" or "0")
        else
            ctx = begin("", "", "", "", "1")
        end
        txn:set_var("txn.otel.ctx", ctx)
        if by and #ctx >= 56 then
            own(ctx, by)
            return ctx, true
        end
    end

    -- Once per request, whoever asks first. `single`: one span for both legs, if it is given and not empty. `by`: the filter, which
    -- comes before every rule and leaves the request to the profile where there is one. The answer is what is carried, if
    -- the end is wanted; an action must not return anything.
    local function start(txn, single, by)
        local f, http = txn.f, txn.http
        if not http then
            return start_connection(txn, by)
        end
        if not get_var then
            get_var, set_var, set_header = txn.get_var, txn.set_var, http.req_set_header
            headers_of, method, url, version = f.req_hdrs, f.method, f.url, f.req_ver
        end
        if get_var(txn, "txn.otel.ctx") or by and get_var(txn, "sess.otel.profile") then
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
        if by and #ctx >= 56 then
            own(ctx, by)
            return ctx
        end
    end

    -- Hands over what is known. `final`: nothing follows any more, so HAProxy's state says how it ended. The fields stand in
    -- the order of lua/otel.cfg, but for those that would cost more than they say: queue positions, and for actions the
    -- frontend's port, handshake and idle timers, start, connection reuse. Without a start it is the stamp of otel_start less the
    -- time that the request's headers took.
    local finish, gather = native.finish, gatherer(plan.gathered)
    local state, status, be, srv, srv_ip, srv_port, ip, port, fe, tls
    local hdr, queue, connect, answer, retries, be_version
    local fe_port, handshake, idle, date, reused
    local function hand_over(txn, final)
        local ctx = get_var and get_var(txn, "txn.otel.ctx")
        if not ctx or #ctx < 56 or not final and is_of_filter(ctx) then
            return
        end
        local f = txn.f
        if not state then
            state, status, be, srv = f.txn_sess_term_state, f.txn_status, f.be_name, f.srv_name
            srv_ip, srv_port = f.bc_dst, f.bc_dst_port
            ip, port, fe, tls = f.src, f.src_port, f.fe_name, f.ssl_fc_protocol
            hdr, queue, connect, answer = f.req_timer_hdr, f.req_timer_queue, f.bc_timer_connect, f.res_timer_hdr
            retries, be_version = f.txn_conn_retries, f.bc_http_major
            fe_port, handshake, idle = f.dst_port, f.fc_timer_handshake, f.req_timer_idle
            date, reused = f.request_date, f.bc_reused
        end
        -- A server's answer that is no error has not ended yet: the state would say nothing.
        local code, server = status(f), srv(f)
        local ended = (final or not server or code >= 400) and state(f) or "--"
        local again = retries(f)
        if again and again > 0 and f:txn_redispatched() then
            again = "+" .. again
        end
        -- Values are joined by spaces: a text of spaces stands for several that are absent.
        if final then
            -- stylua: ignore
            finish(
                ctx, ended, code, be(f), server, srv_ip(f), srv_port(f), ip(f), port(f), fe(f), fe_port(f), tls(f),
                handshake(f), idle(f), hdr(f), queue(f), connect(f), answer(f), again, date(f, "us"), "", be_version(f),
                server and BITS[reused(f)], gather and gather(txn, f, true) or "  "
            )
            return
        end
        -- stylua: ignore
        finish(
            ctx, ended, code, be(f), server, srv_ip(f), srv_port(f), ip(f), port(f), fe(f), "", tls(f),
            " ", hdr(f), queue(f), connect(f), answer(f), again, " ", be_version(f),
            gather and gather(txn, f) or "   "
        )
    end

    -- The same for a connection in TCP mode: src/trace/connection.rs. `otherwise`: its state, where HAProxy does not say another.
    local function hand_over_connection(txn, otherwise)
        local ctx = txn:get_var("txn.otel.ctx")
        if not ctx or #ctx < 56 or not otherwise and is_of_filter(ctx) then
            return
        end
        local f, hex = txn.f, native.hex
        local ended, waited = f:txn_sess_term_state(), f:req_timer_queue() or -1
        -- HAProxy counts from the end of a request's headers, which it has at -1 where there is no request.
        waited = waited > 0 and waited - 1 or waited
        local bytes_in, bytes_out
        -- HAProxy counts the bytes when all is over, which is after the end that a filter sees.
        if not otherwise then
            bytes_in, bytes_out = f:bytes_in(), f:bytes_out()
        end
        -- stylua: ignore
        native.finish_connection(
            ctx, ended == "--" and otherwise or ended, "", f:be_name(), f:srv_name(), f:bc_dst(), f:bc_dst_port(),
            f:src(), f:src_port(), f:fe_name(), f:dst_port(), f:ssl_fc_protocol(),
            f:fc_timer_handshake(), " ", waited, f:bc_timer_connect(), "",
            (f:txn_redispatched() and "+" or "") .. (f:txn_conn_retries() or 0), f:accept_date("us"), "    ",
            hex(f:dst()), hex(bytes_in), hex(bytes_out), hex(f:ssl_fc_cipher()), hex(f:ssl_fc_sni()), hex(f:ssl_fc_alpn()), ""
        )
    end

    core.register_action("otel_start", { "http-req", "tcp-req" }, start)

    -- The end of a connection in TCP mode, in the log line. It prints nothing.
    core.register_fetches("otel_tcp_end", function(txn)
        local fine, problem = pcall(hand_over_connection, txn)
        if not fine then
            native.fault("connection", problem)
        end
        return ""
    end)

    -- For the profile, which calls it where it is needed only.
    core.register_action("otel_tracestate", { "http-req" }, function(txn)
        local ctx = txn:get_var("txn.otel.ctx")
        if ctx then
            mend_tracestate(txn, ctx)
        end
    end)

    -- The request's end is stamped here: the body is still to come.
    core.register_action("otel_end", { "http-res", "http-after-res" }, hand_over)

    register_filter(start, hand_over, hand_over_connection)

    local everywhere = { "http-req", "http-res", "http-after-res", "tcp-req", "tcp-res" }
    core.register_action("otel_attr", everywhere, function(txn, name, variable)
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

-- Servers of the backends that are checked, as tables for the core and as objects to act on.
local function look(may_yield)
    local seen, objects = {}, {}
    for _, backend in ipairs(native.health_backends()) do
        local proxy = core.backends[backend]
        -- Collected first: leaving a loop over servers early is not safe in early 3.2.
        local servers = {}
        if proxy then
            for _, server in pairs(proxy.servers) do
                servers[#servers + 1] = server
            end
        end
        for number, server in ipairs(servers) do
            local stats = server:get_stats()
            if stats then
                local name = server:get_name()
                seen[#seen + 1] = {
                    backend = backend,
                    server = name,
                    id = tonumber(server:get_rid()) or 0,
                    address = server:get_addr() or "",
                    status = stats.status or "",
                    native_check = (stats.check_status or "") ~= "",
                    tracks = server:tracking() ~= nil,
                }
                objects[backend .. "/" .. name] = server
            end
            if may_yield and number % YIELD_EVERY == 0 then
                core.yield()
            end
        end
    end
    return seen, objects
end

local function apply(actions, objects)
    for _, action in ipairs(actions) do
        local server = objects[action.backend .. "/" .. action.server]
        if server then
            if tonumber(server:get_rid()) ~= action.id then
                -- Another server by the name of the one that was judged.
                objects[action.backend .. "/" .. action.server] = nil
            elseif action.force == "up" then
                server:check_force_up()
            else
                server:check_force_down()
            end
        end
    end
end

local function stopping()
    local flag = core.get_info().Stopping
    return flag == 1 or flag == "1" or flag == true
end

local LEVELS = { warning = core.warning, notice = core.notice, info = core.info }

local function say_what_waits()
    for _, line in ipairs(native.take_log()) do
        core.log(LEVELS[line.level] or core.info, "haproxy-vitals: " .. line.text)
    end
end

-- One loop per process. An error ends a round, never the loop. Without health checks nothing needs to be quick.
local function tend()
    local checks = #native.health_backends() > 0
    local objects, due, pause = {}, 0, checks and TICK_MS or SWEEP_MS
    while true do
        pcall(function()
            if due <= 0 then
                due = SWEEP_MS
                say_what_waits()
                if checks and stopping() then
                    native.health_stop()
                    checks = false
                elseif checks then
                    local seen
                    seen, objects = look(true)
                    apply(native.health_sweep(seen), objects)
                end
            end
            if checks then
                apply(native.health_changes(), objects)
            end
        end)
        due = due - pause
        core.msleep(pause)
    end
end

local function register_commands()
    for _, topic in ipairs({ "config", "health", "traces" }) do
        core.register_cli(
            { "show", "vitals", topic },
            "show vitals " .. topic .. " : " .. native.usage(topic),
            function(applet)
                applet:send(native.show(topic))
            end
        )
    end
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
    core.register_init(function()
        local problem = native.start()
        if problem then
            error("haproxy-vitals: " .. problem, 0)
        end
        if core.thread <= 1 then
            local known = {}
            for name in pairs(core.backends) do
                known[#known + 1] = name
            end
            native.health_known_backends(known)
            local seen, objects = look(false)
            apply(native.health_initial(seen), objects)
        end
    end)
    if core.thread <= 1 then
        core.register_task(tend)
    end
end

return api
