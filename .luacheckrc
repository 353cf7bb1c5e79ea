-- HAProxy's own names, beside Lua's: a script calls them and must not assign to them.
std = "lua54"
max_line_length = 132
read_globals = { "act", "core", "filter", "Map", "Regex" }
