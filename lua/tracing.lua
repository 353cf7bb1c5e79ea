-- Tracing by Lua's hooks, where native ones cannot be had: actions, and what the filter stands on.

local core, native, register_filter = ...

-- A record's first byte: its end is wanted. src/trace/record/head.rs.
local RECORDED <const> = 1

-- Where a record has the SERVER span's id.
local SPAN_BEGIN <const>, SPAN_END <const> = 33, 40

-- Numbers that the record takes for HAProxy's truths.
local BITS = { [true] = 1, [false] = 0 }

local function is_recorded(held)
    return held:byte() & RECORDED ~= 0
end

-- `tracestate`: what replaces the header, or "".
local function set_tracestate(http, tracestate)
    if tracestate == "" then
        http:req_del_header("tracestate")
    else
        http:req_set_header("tracestate", tracestate)
    end
end

-- The trace in variables, for rules and logs.
local function set_variables(txn, held)
    local trace, span, sampled = native.context(held)
    txn:set_var("txn.otel.trace_id", trace)
    txn:set_var("txn.otel.sampled", sampled)
    if span then
        txn:set_var("txn.otel.span_id", span)
    end
end

-- A function that does what the settings ask for beyond traceparent, or nothing: headers for the server, variables.
local function request_tail(plan)
    local variables = plan.variables
    if not plan.changes_requests and not variables then
        return nil
    end
    return function(txn, held)
        local http = txn.http
        if plan.changes_requests then
            local changes = native.request_headers(held, txn.f:fe_name())
            for n = 1, #changes, 2 do
                if changes[n + 1] then
                    http:req_set_header(changes[n], changes[n + 1])
                else
                    http:req_del_header(changes[n])
                end
            end
        end
        if variables then
            set_variables(txn, held)
        end
    end
end

-- A function that tells the client of its trace, or nothing where the settings do not ask for it.
local function response_tail(plan)
    local name = plan.response
    if not name then
        return nil
    end
    return function(txn, held)
        -- Rules may ask twice, and a server may have metrics of its own.
        local value = not txn:get_var("txn.otel.told") and native.response_value(held)
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

-- A function that gives the response's headers that the settings ask for, by their places; or nothing where they ask for none.
local function header_gatherer(wanted)
    local names, is_empty = {}, true
    for n, one in ipairs(wanted) do
        if one.kind == "header" then
            names[n], is_empty = one.name, false
        end
    end
    return not is_empty and function(f)
        local values = {}
        for n, name in pairs(names) do
            values[n] = f:res_fhdr(name, -1)
        end
        return values
    end or nil
end

-- A function that gives the values that the settings ask for, in their order; or one that gives nothing. `headers`: those that
-- were gathered before, by their places, where they are gone by now.
local function gatherer(wanted)
    local count = #wanted
    if count == 0 then
        return function() end
    end
    return function(txn, f, headers)
        local values = {}
        for n, one in ipairs(wanted) do
            if one.kind == "header" and headers then
                values[n] = headers[n]
            elseif one.kind == "header" then
                values[n] = f:res_fhdr(one.name, -1)
            elseif one.kind == "variable" then
                values[n] = txn:get_var(one.name)
            else
                values[n] = f[one.name](f)
            end
        end
        return table.unpack(values, 1, count)
    end
end

return function()
    -- Looking a method up by its name costs as much as some of them do: each is looked up once.
    local begin, finish = native.begin, native.finish
    local get_var, set_var, set_header, headers_of, method, url, version
    local plan = native.plan()
    local with_arrival, sends_traceparent, request_rest = plan.arrival, plan.traceparent, request_tail(plan)
    local response_rest, gather, gather_headers =
        response_tail(plan), gatherer(plan.gathered), header_gatherer(plan.gathered)
    -- A request that was started has a traceparent: without one the variable need not be asked for. Unless none is sent.
    local ask_first = not sends_traceparent

    -- What filters started, and will end: the filter's object by the SERVER span's id, while HAProxy holds it. Actions leave it
    -- alone.
    local owned

    local function own(held, by)
        owned = owned or setmetatable({}, { __mode = "v" })
        owned[held:sub(SPAN_BEGIN, SPAN_END)] = by
    end

    local function is_of_filter(held)
        return owned[held:sub(SPAN_BEGIN, SPAN_END)]
    end

    -- What a HAProxy that is built without TLS does not know is nil.
    local function of_tls(f, name)
        local ask = f[name]
        return ask and ask(f)
    end

    local function secure(f)
        return of_tls(f, "ssl_fc") and "1" or "0"
    end

    -- A connection in TCP mode.
    local function start_connection(txn, by)
        if txn:get_var("txn.otel.ctx") then
            return
        end
        local held
        if with_arrival then
            local f = txn.f
            held = begin("", "", "", "", "1", "1", "TCP", f:fe_name(), f:src(), secure(f))
        else
            held = begin("", "", "", "", "1", "1", "TCP")
        end
        txn:set_var("txn.otel.ctx", held)
        if plan.variables then
            set_variables(txn, held)
        end
        if by and is_recorded(held) then
            own(held, by)
            return held, true
        end
    end

    -- Once per request: the first call counts. `single`: one span for both legs, if it is given and not empty. `by`: the filter,
    -- which comes before every rule. The answer is what HAProxy holds, if the end is wanted; an action must not return
    -- anything.
    local function start(txn, single, by)
        local f, http = txn.f, txn.http
        if not http then
            return start_connection(txn, by)
        end
        if not get_var then
            get_var, set_var, set_header = txn.get_var, txn.set_var, http.req_set_header
            headers_of, method, url, version = f.req_hdrs, f.method, f.url, f.req_ver
        end
        local asked = ask_first or by
        if asked and get_var(txn, "txn.otel.ctx") then
            return
        end
        local block, verb, target, http_version = headers_of(f), method(f), url(f), version(f)
        local held, traceparent, tracestate
        if not (asked or with_arrival) then
            held, traceparent, tracestate = begin(block, verb, target, http_version, "", "", "")
        end
        if not held then
            -- It has a traceparent: ours, if it was started before, or a caller's. Or more is to be handed over.
            if not asked and get_var(txn, "txn.otel.ctx") then
                return
            end
            if with_arrival then
                held, traceparent, tracestate =
                    begin(block, verb, target, http_version, single, "1", "", f:fe_name(), f:src(), secure(f))
            else
                held, traceparent, tracestate = begin(block, verb, target, http_version, single, "1", "")
            end
        end
        set_var(txn, "txn.otel.ctx", held)
        if sends_traceparent then
            set_header(http, "traceparent", traceparent)
            if tracestate then
                set_tracestate(http, tracestate)
            end
        end
        if request_rest then
            request_rest(txn, held)
        end
        if by and is_recorded(held) then
            own(held, by)
            return held
        end
    end

    -- Hands over what is known. `final`: nothing follows any more, so HAProxy's state says how it ended. Actions leave out what
    -- costs more than it says: the frontend's port, handshake and idle timers, date, reuse. Without a date the request began at
    -- otel_start less the time that its headers took.
    local state, status, be, srv, srv_ip, srv_port, ip, port, fe, tls
    local hdr, queue, connect, answer, retries, be_version
    local fe_port, handshake, idle, date, reused, fe_version
    local function hand_over(txn, final, headers)
        local held = get_var and get_var(txn, "txn.otel.ctx")
        if response_rest and held and not final then
            response_rest(txn, held)
        end
        if not held or not is_recorded(held) or owned and not final and is_of_filter(held) then
            return
        end
        local f = txn.f
        if not state then
            state, status, be, srv = f.txn_sess_term_state, f.txn_status, f.be_name, f.srv_name
            srv_ip, srv_port = f.bc_dst, f.bc_dst_port
            ip, port, fe, tls = f.src, f.src_port, f.fe_name, f.ssl_fc_protocol or function() end
            hdr, queue, connect, answer = f.req_timer_hdr, f.req_timer_queue, f.bc_timer_connect, f.res_timer_hdr
            retries, be_version, fe_version = f.txn_conn_retries, f.bc_http_major, f.fc_http_major
            fe_port, handshake, idle = f.dst_port, f.fc_timer_handshake, f.req_timer_idle
            date = f.request_date
            -- Not in 3.0.
            reused = f.bc_reused or function() end
        end
        -- A server's answer that is no error has not ended yet: the state would say nothing.
        local code, server = status(f), srv(f)
        local ended = (final or not server or code >= 400) and state(f) or "--"
        local again = retries(f)
        local moved = again and again > 0 and f:txn_redispatched() or nil
        if final then
            -- stylua: ignore
            finish(
                held, ended, code, be(f), server, srv_ip(f), srv_port(f), ip(f), port(f), fe(f), fe_port(f), tls(f),
                handshake(f), idle(f), hdr(f), queue(f), connect(f), answer(f), again, moved, date(f, "us"),
                fe_version(f), be_version(f), server and BITS[reused(f)], nil, nil, nil, nil, nil, nil, nil, nil,
                gather(txn, f, headers)
            )
            return
        end
        -- stylua: ignore
        finish(
            held, ended, code, be(f), server, srv_ip(f), srv_port(f), ip(f), port(f), fe(f), nil, tls(f),
            nil, nil, hdr(f), queue(f), connect(f), answer(f), again, moved, nil,
            nil, be_version(f), nil, nil, nil, nil, nil, nil, nil, nil, nil,
            gather(txn, f)
        )
    end

    -- A connection in TCP mode. `otherwise`: its state, where HAProxy does not say another.
    local function hand_over_connection(txn, otherwise)
        local held = txn:get_var("txn.otel.ctx")
        if not held or not is_recorded(held) then
            return
        end
        local f = txn.f
        local ended, waited = f:txn_sess_term_state(), f:req_timer_queue() or -1
        -- HAProxy counts from the end of a request's headers, which it has at -1 where there is no request.
        waited = waited > 0 and waited - 1 or waited
        -- HAProxy counts the bytes when all is over, which is after the end that a filter sees.
        -- stylua: ignore
        finish(
            held, ended == "--" and otherwise or ended, nil, f:be_name(), f:srv_name(), f:bc_dst(), f:bc_dst_port(),
            f:src(), f:src_port(), f:fe_name(), f:dst_port(), of_tls(f, "ssl_fc_protocol"),
            f:fc_timer_handshake(), nil, nil, waited, f:bc_timer_connect(), nil,
            f:txn_conn_retries(), f:txn_redispatched(), f:accept_date("us"), nil, nil, nil, nil, nil,
            f:dst(), nil, nil, of_tls(f, "ssl_fc_cipher"), of_tls(f, "ssl_fc_sni"), of_tls(f, "ssl_fc_alpn")
        )
    end

    core.register_action("otel_start", { "http-req", "tcp-req" }, start)

    -- The request's end is stamped here: the body is still to come.
    core.register_action("otel_end", { "http-res", "http-after-res" }, hand_over)

    -- A filter's end comes when the response has gone: it tells the client before, and gathers headers.
    local function answered(txn)
        local held = get_var(txn, "txn.otel.ctx")
        if held and response_rest then
            response_rest(txn, held)
        end
        return held and gather_headers and is_recorded(held) and gather_headers(txn.f) or nil
    end
    register_filter(start, hand_over, hand_over_connection, (response_rest or gather_headers) and answered)

    local everywhere = { "http-req", "http-res", "http-after-res", "tcp-req", "tcp-res" }
    core.register_action("otel_attr", everywhere, function(txn, name, variable)
        local held = txn:get_var("txn.otel.ctx")
        local value = txn:get_var(variable)
        if not held or value == nil then
            return
        end
        local longer = native.attribute(held, name, value)
        if longer then
            txn:set_var("txn.otel.ctx", longer)
        end
    end, 2)
end
