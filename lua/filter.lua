-- The filter door: `filter lua.otel [client-span=off]`. HAProxy makes one object of it for each stream, and tells it of the
-- begin before the first rule and of the end after the last byte, whatever came between. An error in a callback would end the
-- request: none leaves here.

local core, native = ...

return function(start, hand_over, hand_over_connection, answered)
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
            guard(pcall(hand_over, txn, true, self.headers))
        end
    end

    local function take(self, txn)
        self.headers = answered(txn)
    end

    -- Costs as much as the others, so it is there only where something is to be done with responses.
    if answered then
        function Filter:http_headers(txn, message)
            if message.channel:is_resp() then
                guard(pcall(take, self, txn))
            end
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
