-- What health checks need of HAProxy: a look at its servers, and acts on them.

local core, native = ...

local health = {}

local YIELD_EVERY = 100

-- Servers of the backends that are checked, as tables for the core and as objects to act on.
function health.look(may_yield)
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

function health.apply(actions, objects)
    for _, action in ipairs(actions) do
        local server = objects[action.backend .. "/" .. action.server]
        if server then
            if tonumber(server:get_rid()) ~= action.id then
                -- Another server by the name of the one that was judged.
                objects[action.backend .. "/" .. action.server] = nil
            elseif action.force == "up" then
                server:check_force_up()
            elseif action.force == "nolb" then
                server:check_force_nolb()
            else
                server:check_force_down()
            end
        end
    end
end

function health.stopping()
    local flag = core.get_info().Stopping
    return flag == 1 or flag == "1" or flag == true
end

return health
