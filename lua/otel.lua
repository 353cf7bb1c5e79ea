-- The loader:
--
--     lua-load-per-thread otel.lua [config=/etc/haproxy/vitals.toml] [key=value ...]
--
-- haproxy_vitals.so is looked for beside this file, then where package.cpath says (lua-prepend-path ... cpath).

local here = (debug.getinfo(1, "S").source:match("^@(.*)/[^/]*$") or ".")
package.cpath = here .. "/?.so;" .. package.cpath

local vitals = require("haproxy_vitals")

-- Without a position: it would name this file, not the line that is wrong.
local ok, problem = pcall(vitals.register, { ... })
if not ok then
    error((tostring(problem):gsub("^.-: (haproxy%-vitals: )", "%1")), 0)
end
