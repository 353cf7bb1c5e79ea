-- The trace doors: actions, the profile's helpers, and what the filter stands on.

local core, native, register_filter = ...

-- src/trace/carry.rs, Verdict.
local REPLACES, DELETES = {}, {}
for verdict in ("TUtZ"):gmatch(".") do REPLACES[verdict:byte()] = true end
for verdict in ("DEdY"):gmatch(".") do DELETES[verdict:byte()] = true end

local RECORDED = "^[SDTXYZRUE]"

-- Bytes of a connection's values.
local LONGEST = 512

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

-- A function that does what the settings ask for beyond traceparent, or nothing: headers for the server, variables.
local function request_tail(plan)
    local variables = plan.variables
    if not plan.changes_requests and not variables then
        return nil
    end
    return function(txn, ctx)
        local http = txn.http
        if plan.changes_requests then
            local changes = native.request_headers(ctx, txn.f:fe_name())
            for n = 1, #changes, 2 do
                if changes[n + 1] then
                    http:req_set_header(changes[n], changes[n + 1])
                else
                    http:req_del_header(changes[n])
                end
            end
        end
        if variables then
            txn:set_var("txn.otel.trace_id", ctx:sub(4, 35))
            txn:set_var("txn.otel.sampled", tonumber(ctx:sub(55, 55)) & 1 == 1)
            if ctx:find(RECORDED, 56) then
                txn:set_var("txn.otel.span_id", ctx:sub(57, 72))
            end
        end
    end
end

-- A function that tells the client of its trace, or nothing where the settings do not ask for it.
local function response_tail(plan)
    local name = plan.response
    if not name then
        return nil
    end
    return function(txn, ctx)
        -- Rules may ask twice, and a server may have metrics of its own.
        local value = not txn:get_var("txn.otel.told") and native.response_value(ctx)
        if value then
            txn:set_var("txn.otel.told", true)
            if name == "server-timing" then
                txn.http:res_add_header(name, value)
            else
                txn.http:res_set_header(name, value)
            end
        end
    end
end

-- A function that gives what follows the fixed values: reuse, unless it is known, and two queues, which are left out; what the
-- settings ask for, in hexadecimal; and the request line, which was carried from the start. None where the settings ask for
-- nothing.
local function gatherer(wanted, most, hex)
    if #wanted == 0 then
        return nil
    end
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
            values[n] = hex(value, most)
        end
        return (reuse_known and "  " or "   ") .. table.concat(values, " ") .. " "
    end
end

-- What every trace door needs. The names are those of lua/otel.cfg.
return function()
    core.register_converters("otel_begin", native.begin)
    core.register_converters("otel_end", native.finish)

    -- Looking a method up by its name costs as much as some of them do: each is looked up once.
    local begin = native.begin_parts
    local get_var, set_var, set_header, headers_of, method, url, version
    local plan = native.plan()
    local head, sends_traceparent, request_rest = plan.head, plan.traceparent, request_tail(plan)
    local response_rest = response_tail(plan)
    -- A request that was started has a traceparent: where there is none, nobody needs to ask for the variable. Unless none is sent.
    local ask_first = not sends_traceparent

    -- What filters started, and will end: the filter's object by the SERVER span's id, while HAProxy holds it. Others leave it
    -- alone.
    local owned

    local function own(ctx, by)
        owned = owned or setmetatable({}, { __mode = "v" })
        owned[ctx:sub(57, 72)] = by
    end

    local function is_of_filter(ctx)
        return owned[ctx:sub(57, 72)]
    end

    -- A connection in TCP mode.
    local function start_connection(txn, by)
        if txn:get_var("txn.otel.ctx") or by and txn:get_var("sess.otel.profile") then
            return
        end
        local ctx
        if head then
            local f = txn.f
            ctx = begin("", "", "", "", "1", "1", f:fe_name(), f:src(), f:ssl_fc() and "1" or "0")
        else
            ctx = begin("", "", "", "", "1", "1")
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
        if ask_first or by then
            if get_var(txn, "txn.otel.ctx") or by and get_var(txn, "sess.otel.profile") then
                return
            end
        end
        local block, verb, target, http_version = headers_of(f), method(f), url(f), version(f)
        local ctx, traceparent, verdict
        local asked = ask_first or by
        if not (asked or head) then
            ctx, traceparent, verdict = begin(block, verb, target, http_version)
        end
        if not ctx then
            -- It has a traceparent: ours, if it was started before, or a caller's. Or more is to be handed over.
            if not asked and get_var(txn, "txn.otel.ctx") then
                return
            end
            if head then
                local secure = f:ssl_fc() and "1" or "0"
                ctx, traceparent, verdict =
                    begin(block, verb, target, http_version, single, "1", f:fe_name(), f:src(), secure)
            else
                ctx, traceparent, verdict = begin(block, verb, target, http_version, single, "1")
            end
        end
        set_var(txn, "txn.otel.ctx", ctx)
        if sends_traceparent then
            set_header(http, "traceparent", traceparent)
            if verdict then
                mend_tracestate(txn, ctx)
            end
        end
        if request_rest then
            request_rest(txn, ctx)
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
    local finish, gather = native.finish, gatherer(plan.gathered, plan.value_bytes, native.hex)
    local state, status, be, srv, srv_ip, srv_port, ip, port, fe, tls
    local hdr, queue, connect, answer, retries, be_version
    local fe_port, handshake, idle, date, reused
    local function hand_over(txn, final)
        local ctx = get_var and get_var(txn, "txn.otel.ctx")
        if response_rest and ctx and not final then
            response_rest(txn, ctx)
        end
        if not ctx or #ctx < 56 or owned and not final and is_of_filter(ctx) then
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
        if not ctx or #ctx < 56 or owned and not otherwise and is_of_filter(ctx) then
            return
        end
        local f = txn.f
        local function hex(value)
            return native.hex(value, LONGEST)
        end
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

    -- A filter's end comes when the response has gone: it tells the client before.
    local function tell(txn)
        local ctx = get_var(txn, "txn.otel.ctx")
        if ctx then
            response_rest(txn, ctx)
        end
    end
    register_filter(start, hand_over, hand_over_connection, response_rest and tell)

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
