-- Health checks on the Lua side: shows HAProxy's servers to the checker and applies its answers. Built into haproxy_vitals.so.
-- Whatever goes wrong in here leaves the servers as they are.

local core, native = ...

local health = {}

local SWEEP_TICKS = 5 -- of 200 ms each: src/host/health/hub.rs, TICK
local FALLBACK_MS = 50
local FALLBACK_ROUNDS = 20
local SILENCE_S = 5
local TURN_WORK = 500 -- servers looked at or forced, and words heard: some 10 ms of computing
local LOST_S = 2
local YIELD_EVERY = 100
local DOWNS_OF_AGENT = 3
local WATCH_S = 1
local MOVED_MS = 10
local WATCH_WORK = 300 -- words heard: one each second, and a change counts as so many
local CHANGE_WORK = 30
local MAX_WATCHES = 64

-- How HAProxy's servers are told apart: by backend and name. `seen_changes` counts events.
local watched, objects, seen_changes, stopped = {}, {}, 0, false
-- What the task that listens has done: see `tend`.
local worked = 0

-- A server as a table for the core; nil for one that is deleted.
local function view(backend, server)
    local stats, name = server:get_stats(), server:get_name()
    if not stats or not name then
        return nil
    end
    return {
        backend = backend,
        server = name,
        id = tonumber(server:get_rid()) or 0,
        address = server:get_addr() or "",
        status = stats.status or "",
        native_check = (stats.check_status or "") ~= "",
        tracks = server:tracking() ~= nil,
        weight = server:get_weight(),
    }
end

-- Servers of the backends that are checked, as tables for the core and as objects to act on.
local function look(may_yield)
    local seen, found = {}, {}
    for backend in pairs(watched) do
        local proxy = core.backends[backend]
        -- Collected first: leaving a loop over servers early is not safe in early 3.2.
        local servers = {}
        if proxy then
            for _, server in pairs(proxy.servers) do
                servers[#servers + 1] = server
            end
        end
        worked = worked + #servers
        for number, server in ipairs(servers) do
            local one = view(backend, server)
            if one then
                seen[#seen + 1] = one
                found[backend .. "/" .. one.server] = server
            end
            if may_yield and number % YIELD_EVERY == 0 then
                core.yield()
            end
        end
    end
    return seen, found
end

-- How often in a row a server was forced down, until somebody was warned of that. Goes with the server.
local downs = {}

-- Down once more: HAProxy's agent raises a server whenever it says `up`. Once or twice it may have been an operator.
local function warn_of_agent(server, action)
    local key = action.backend .. "/" .. action.server
    local count = downs[key] or 0
    if count > DOWNS_OF_AGENT then
        return
    end
    count = action.force == "down" and math.min(count + 1, DOWNS_OF_AGENT) or 0
    downs[key] = count
    if count == DOWNS_OF_AGENT and (server:get_stats().agent_status or "") ~= "" then
        downs[key] = count + 1
        native.health_raised_by_agent(action.backend, action.server)
    end
end

local function apply_to(server, action)
    if action.force then
        warn_of_agent(server, action)
    end
    if action.force == "up" then
        server:check_force_up()
    elseif action.force == "nolb" then
        server:check_force_nolb()
    elseif action.force == "down" then
        server:check_force_down()
    end
    if action.weight then
        local problem = server:set_weight(action.weight .. "%")
        if problem then
            native.health_weight_refused(action.backend, action.server, problem)
        end
    end
end

local function apply(actions)
    worked = worked + #actions
    for _, action in ipairs(actions) do
        local key = action.backend .. "/" .. action.server
        local server = objects[key]
        if server then
            if tonumber(server:get_rid()) ~= action.id then
                -- Another server by the name of the one that was judged.
                objects[key] = nil
            else
                apply_to(server, action)
            end
        end
    end
end

local function stopping()
    local flag = core.get_info().Stopping
    return flag == 1 or flag == "1" or flag == true
end

health.stopping = stopping

-- True when all servers were compared. What events told meanwhile is newer than what was looked at.
local function sweep()
    local before = seen_changes
    local seen, found = look(true)
    if before ~= seen_changes then
        return false
    end
    objects = found
    apply(native.health_sweep(seen))
    return true
end

local function guard(site, body, ...)
    local fine, problem = pcall(body, ...)
    if not fine then
        native.fault(site, problem)
    end
    return fine and problem
end

-- The net below events, and the end: ticks count until the next sweep.
local due = 0

local function tick()
    if stopping() then
        stopped = true
        apply(native.health_stop())
        return
    end
    due = due - 1
    if due <= 0 then
        due = SWEEP_TICKS
        -- Events in between: once more at the next tick.
        if not sweep() then
            due = 1
        end
    end
end

-- The newest of the tasks that listen, and when it last heard a word, in seconds.
local turn, heard = 0, 0

local function hear(word)
    heard, worked = core.now().sec, worked + 1
    if word == "change" then
        apply(native.health_changes())
    else
        tick()
    end
end

-- Waits for words of the checker, as long as they come. True at the end of the turn.
local function listen(address, mine)
    local socket = core.tcp()
    local word
    socket:settimeout(SILENCE_S)
    if socket:connect(address) and socket:send("wait\n") then
        word = socket:receive("*l")
        -- What changed before somebody listened.
        guard("health", hear, "change")
        while word and not stopped and mine == turn do
            guard("health", hear, word)
            if worked > TURN_WORK then
                break
            end
            word = socket:receive("*l")
        end
    end
    socket:close()
    return word ~= nil
end

-- HAProxy counts what a task computes over its whole life against `tune.lua.task-timeout`, and ends it without a word to
-- Lua: so no task lives long. One listens at a time, until the process stops.
local function tend()
    turn, worked = turn + 1, 0
    local mine, address = turn, native.health_address()
    local is_over = address and guard("health socket", listen, address, mine)
    -- Not heard, or no longer: asking instead, for a while.
    for round = 1, is_over and 0 or FALLBACK_ROUNDS do
        if not stopped and mine == turn then
            core.msleep(FALLBACK_MS)
            guard("health", hear, "change")
            if round % 4 == 0 then
                guard("health", hear, "tick")
            end
        end
    end
    if not stopped and mine == turn then
        core.register_task(tend)
    end
end

-- Begins a turn when the one before has come to no end of its own.
local function mind()
    core.sleep(1)
    if stopped then
        return
    end
    if core.now().sec - heard > LOST_S then
        heard = core.now().sec
        core.register_task(tend)
    end
    core.register_task(mind)
end

-- HAProxy tells of a server's address before it has it everywhere: who looks at once may see the former one.
local moved, looks_again = {}, false

local function look_again()
    core.msleep(MOVED_MS)
    local batch, seen = moved, {}
    moved, looks_again = {}, false
    for _, place in pairs(batch) do
        seen[#seen + 1] = view(place.backend, place.server)
    end
    if not stopped then
        apply(native.health_notice(seen))
    end
end

local function note_move(key, backend, server)
    moved[key] = { backend = backend, server = server }
    if not looks_again then
        looks_again = true
        core.register_task(function() guard("health event", look_again) end)
    end
end

-- What HAProxy tells of a server, as soon as it happens.
local function on_event(event, data)
    local backend, name = data.proxy_name, data.name
    if stopped or not watched[backend] then
        return
    end
    seen_changes = seen_changes + 1
    local key = backend .. "/" .. name
    if event == "SERVER_DEL" then
        objects[key], downs[key] = nil, nil
        native.health_forget(backend, name, tonumber(data.rid) or 0)
        return
    end
    local server = data.reference
    local one = server and view(backend, server)
    if one then
        objects[key] = server
        apply(native.health_notice({ one }))
        if event == "SERVER_INETADDR" then
            note_move(key, backend, server)
        end
    end
end

-- Before the first request.
function health.begin()
    local known = {}
    for name in pairs(core.backends) do
        known[#known + 1] = name
    end
    for _, name in ipairs(native.health_known_backends(known)) do
        watched[name] = true
    end
    local seen
    seen, objects = look(false)
    apply(native.health_initial(seen))
end

-- From then on. Nothing at all without health checks.
function health.follow()
    if #native.health_backends() == 0 then
        return
    end
    heard = core.now().sec
    core.register_task(tend)
    core.register_task(mind)
    core.event_sub({
        "SERVER_ADD",
        "SERVER_DEL",
        "SERVER_UP",
        "SERVER_DOWN",
        "SERVER_STATE",
        "SERVER_ADMIN",
        "SERVER_INETADDR",
    }, function(event, data)
        guard("health event", on_event, event, data)
    end)
end

-- Asks over a connection of its own, so that nothing but the caller waits.
local function ask(line, seconds)
    local address = native.health_address()
    if not address then
        return nil, "health checks are off"
    end
    local socket = core.tcp()
    -- The answer comes within the bound: this one is for a checker that has gone.
    socket:settimeout(seconds + 1)
    local answer, problem
    if socket:connect(address) and socket:send(line) then
        answer, problem = socket:receive("*l")
    end
    socket:close()
    if not answer then
        return nil, problem or "the checker does not answer"
    end
    return native.health_answer(answer)
end

local function check(spec)
    if type(spec) ~= "table" then
        return nil, "expected a table, found a " .. type(spec)
    end
    local line, seconds = native.health_request(spec)
    if not line then
        return nil, seconds
    end
    local fine, result, problem = pcall(ask, line, seconds)
    if fine then
        return result, problem
    end
    return nil, tostring(result)
end

local watches = 0

-- Until the checker or the caller leaves: false. True at the end of the turn: see `tend`.
local function follow(line, handle, tell)
    local socket, work = core.tcp(), 0
    socket:settimeout(SILENCE_S)
    local refused
    if socket:connect(native.health_address()) and socket:send(line) then
        while not (refused or handle.stopped or work > WATCH_WORK or stopping()) do
            local said = socket:receive("*l")
            work = work + 1
            if not said then
                work = 0
                break
            elseif said ~= "tick" then
                local result, problem = native.health_answer(said)
                if result then
                    work = work + CHANGE_WORK
                    tell(result)
                else
                    refused = problem
                end
            end
        end
    end
    socket:close()
    if refused then
        error(refused, 0)
    end
    return work > WATCH_WORK
end

-- A task that is told each change of a target.
local function watch(spec)
    local interval = type(spec) == "table" and (spec.interval or WATCH_S)
    if type(spec) ~= "table" or type(spec.on_change) ~= "function" then
        return nil, "expected a table with `on_change`, a function"
    end
    -- What is no number at all is neither less nor more.
    if type(interval) ~= "number" or not (interval >= 0.1 and interval <= 3600) then
        return nil, "`interval`: expected seconds, 0.1 to 3600"
    end
    local line, problem = native.health_request(spec, interval)
    if not line then
        return nil, problem
    end
    if watches >= MAX_WATCHES then
        return nil, MAX_WATCHES .. " targets are watched"
    end
    watches = watches + 1
    local handle = { stop = function(self) self.stopped = true end }
    local last
    local function tell(result)
        if result.state ~= last and not handle.stopped then
            last = result.state
            guard("on_change", spec.on_change, result)
        end
    end
    local function turn_of_watch()
        local is_over = native.health_address() and guard("watch", follow, line, handle, tell)
        if not is_over then
            core.msleep(math.floor(interval * 1000))
        end
        if handle.stopped or stopping() then
            watches = watches - 1
        else
            core.register_task(turn_of_watch)
        end
    end
    core.register_task(turn_of_watch)
    return handle
end

-- What scripts and rules may use.
function health.register(api)
    api.check, api.watch = check, watch

    function api.status(server)
        return native.health_status(tostring(server))
    end

    core.register_fetches("vitals_health", function(_, backend, server)
        return native.health_word(backend or "", server or "")
    end)
    core.register_cli({ "vitals", "health" }, native.health_usage, function(applet, ...)
        -- The words of the command come too.
        applet:send(native.health_command({ select(3, ...) }))
    end)
end

return health
