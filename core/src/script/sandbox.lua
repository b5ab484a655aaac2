-- What scripts see: the library of Lua less what reaches outside, with tables that can't be changed.
--
-- Lua 5.1 has no tables that are read-only. So a script sees an empty table whose metatable leads to the real one, and what could look behind it,
-- or write into it, is replaced. Called once for each interpreter with the functions of the host; returns what that calls.

local host, libraries = ...

local error, type, select, tostring, rawget, rawset = error, type, select, tostring, rawget, rawset
local getmetatable, setmetatable, next, pairs, setfenv = getmetatable, setmetatable, next, pairs, setfenv
local pcall, xpcall, loadstring, collectgarbage = pcall, xpcall, loadstring, collectgarbage
local coroutine, table, string = coroutine, table, string

local READONLY = 'Attempt to modify a readonly table'

-- The real table of each that scripts see, and the metatable that they see of it.
local real_of, metatable_of = {}, {}

local function refuse() error(READONLY, 2) end

local function protect(real, metatable)
    local shown = setmetatable({}, { __index = real, __newindex = refuse })
    real_of[shown], metatable_of[shown] = real, metatable
    return shown
end

local function kind(count, at, value)
    if count < at then return 'no value' end
    return type(value)
end

local function wants(expected, at, name, count, value)
    error("bad argument #" .. at .. " to '" .. name .. "' (" .. expected .. " expected, got " .. kind(count, at, value) .. ")", 3)
end

local function wants_table(name, count, value)
    if type(value) ~= 'table' then
        error("bad argument #1 to '" .. name .. "' (table expected, got " .. kind(count, 1, value) .. ")", 3)
    end
end

local function wants_value(at, name, count)
    if count < at then error("bad argument #" .. at .. " to '" .. name .. "' (value expected)", 3) end
end

-- What a script is told by its own pcall: the text of an error, and nothing where the script itself is to end.
local function caught(succeeded, err, ...)
    if succeeded then return true, err, ... end
    if host.killed() then error(err, 0) end
    if type(err) == 'userdata' then err = host.unwrap(err) end
    if type(err) == 'table' then
        local text = rawget(err, 'err')
        if text ~= nil then return false, text end
    end
    return false, err
end

local function kept(succeeded, err, ...)
    if succeeded then return true, err, ... end
    if host.killed() then error(err, 0) end
    if type(err) == 'userdata' then err = host.unwrap(err) end
    return false, err, ...
end

local function handler(err)
    local source, line = host.position()
    if type(err) == 'userdata' then err = host.unwrap(err) end
    if type(err) ~= 'table' or real_of[err] then err = { err = 'ERR ' .. tostring(err) } end
    if source then
        rawset(err, 'source', source)
        rawset(err, 'line', line)
    end
    return err
end

local string_metatable = getmetatable('')

local basics = {
    assert = assert, error = error, gcinfo = gcinfo, ipairs = ipairs, rawequal = rawequal, select = select,
    tonumber = tonumber, tostring = tostring, type = type, unpack = unpack, _VERSION = _VERSION,
}

-- The interpreter outlives the script, so how it collects is not the script's to choose.
function basics.collectgarbage(...)
    local what = ...
    if what == 'count' or what == 'step' or what == 'collect' or what == nil then return collectgarbage(what or 'collect') end
    if what == 'stop' or what == 'restart' or what == 'setpause' or what == 'setstepmul' then return 0 end
    if type(what) ~= 'string' then wants('string', 1, 'collectgarbage', select('#', ...), what) end
    error("bad argument #1 to 'collectgarbage' (invalid option '" .. what .. "')", 2)
end

function basics.pcall(...)
    if select('#', ...) == 0 then return end
    return caught(pcall(...))
end

function basics.xpcall(...)
    local count = select('#', ...)
    wants_value(2, 'xpcall', count)
    local f, h = ...
    local function handle(err)
        if type(err) == 'userdata' then err = host.unwrap(err) end
        return h(err)
    end
    return kept(xpcall(f, handle))
end

function basics.next(...)
    local t, key = ...
    local real = real_of[t]
    if real then return next(real, key) end
    wants_table('next', select('#', ...), t)
    return next(t, key)
end

function basics.pairs(...)
    local t = ...
    if real_of[t] then return basics.next, t, nil end
    wants_table('pairs', select('#', ...), t)
    return next, t, nil
end

function basics.rawget(...)
    local t, key = ...
    local count = select('#', ...)
    wants_table('rawget', count, t)
    wants_value(2, 'rawget', count)
    return rawget(real_of[t] or t, key)
end

function basics.rawset(...)
    local t, key, value = ...
    local count = select('#', ...)
    wants_table('rawset', count, t)
    wants_value(2, 'rawset', count)
    wants_value(3, 'rawset', count)
    if real_of[t] then error(READONLY, 0) end
    if key == nil then error('index is nil', 0) end
    if key ~= key then error('index is NaN', 0) end
    return rawset(t, key, value)
end

function basics.getmetatable(...)
    local value = ...
    if type(value) == 'string' then return string_metatable end
    if real_of[value] then return metatable_of[value] end
    wants_value(1, 'getmetatable', select('#', ...))
    return getmetatable(value)
end

function basics.setmetatable(...)
    local t, metatable = ...
    local count = select('#', ...)
    wants_table('setmetatable', count, t)
    if type(metatable) ~= 'table' and (metatable ~= nil or count < 2) then
        error("bad argument #2 to 'setmetatable' (nil or table expected)", 2)
    end
    if real_of[t] then error(READONLY, 0) end
    local own = getmetatable(t)
    if type(own) == 'table' and rawget(own, '__metatable') ~= nil then error('cannot change a protected metatable', 2) end
    return setmetatable(t, metatable)
end

-- Code that was compiled before could do anything to the interpreter, so only text is taken.
local BINARY = "%s:1: unexpected symbol near 'char(27)'"

-- What Lua calls a chunk of this name in its errors.
local function shown_name(name)
    local first = name:sub(1, 1)
    if first == '=' or first == '@' then return name:sub(2) end
    return '[string "' .. name:gsub('[\n%z].*', ''):gsub('\27', '\27') .. '"]'
end

local function loaders(globals)
    local function load(text, name)
        if text:byte() == 27 then return nil, BINARY:format(shown_name(name)) end
        local f, err = loadstring(text, name)
        if f then setfenv(f, globals) end
        return f, err
    end
    local function by_string(...)
        local count = select('#', ...)
        local text, name = ...
        if type(text) == 'number' then text = tostring(text) end
        if type(text) ~= 'string' then wants('string', 1, 'loadstring', count, text) end
        if type(name) == 'number' then name = tostring(name) end
        if name ~= nil and type(name) ~= 'string' then wants('string', 2, 'loadstring', count, name) end
        return load(text, name or text)
    end
    local function by_parts(...)
        local count = select('#', ...)
        local reader, name = ...
        if type(reader) ~= 'function' then wants('function', 1, 'load', count, reader) end
        if name ~= nil and type(name) ~= 'string' then wants('string', 2, 'load', count, name) end
        local parts = {}
        while true do
            local succeeded, part = kept(pcall(reader))
            if not succeeded then return nil, part end
            if part == nil or part == '' then break end
            if type(part) ~= 'string' and type(part) ~= 'number' then return nil, 'reader function must return a string' end
            parts[#parts + 1] = part
        end
        return load(table.concat(parts), name or '=(load)')
    end
    return by_string, by_parts
end

local function copy(from)
    local to = {}
    for key, value in pairs(from) do to[key] = value end
    return to
end

-- Functions that write into a table that they are given.
local function writer(f, name)
    return function(...)
        local t = ...
        -- What scripts see of such a table is empty, and stays so.
        if real_of[t] then return end
        wants_table(name, select('#', ...), t)
        return f(...)
    end
end

-- Functions that walk over a table that they are given.
local function walker(f, name)
    return function(...)
        local t = ...
        wants_table(name, select('#', ...), t)
        if real_of[t] then return f(real_of[t], select(2, ...)) end
        return f(...)
    end
end

local tables = copy(table)
tables.remove, tables.sort = writer(table.remove, 'remove'), writer(table.sort, 'sort')
tables.foreach, tables.maxn = walker(table.foreach, 'foreach'), walker(table.maxn, 'maxn')

function tables.insert(...)
    local t = ...
    local count = select('#', ...)
    if real_of[t] then error(READONLY, 0) end
    wants_table('insert', count, t)
    if count ~= 2 and count ~= 3 then error("wrong number of arguments to 'insert'", 2) end
    return table.insert(...)
end

local coroutines = copy(coroutine)

function coroutines.resume(...)
    local thread = ...
    if type(thread) ~= 'thread' then
        error("bad argument #1 to 'resume' (coroutine expected)", 2)
    end
    return kept(coroutine.resume(...))
end

local maths = copy(math)
maths.random, maths.randomseed = host.random, host.randomseed

local shared = {
    string = protect(copy(string)), table = protect(tables), math = protect(maths), coroutine = protect(coroutines), os = protect({ clock = os.clock }),
}
for name, functions in pairs(libraries) do
    shared[name] = protect(functions)
end

-- Methods of strings are found without a detour, and what leads to them is shown with one.
string_metatable.__index = copy(string)
string_metatable = protect({ __index = shared.string })

local server = {
    LOG_DEBUG = 0, LOG_VERBOSE = 1, LOG_NOTICE = 2, LOG_WARNING = 3, REPL_NONE = 0, REPL_AOF = 1, REPL_SLAVE = 2, REPL_REPLICA = 2, REPL_ALL = 3,
    SERVER_NAME = 'valkey', VALKEY_VERSION = host.version, VALKEY_VERSION_NUM = host.version_number,
    REDIS_VERSION = '7.2.4', REDIS_VERSION_NUM = 0x070204,
    sha1hex = host.sha1hex, error_reply = host.error_reply, status_reply = host.status_reply, log = host.log,
    setresp = host.setresp, set_repl = host.set_repl,
}

function server.replicate_commands() return true end
function server.breakpoint() return false end
function server.debug() end

local shown_server = protect(server)

local function missing(_, name)
    error("Script attempted to access nonexistent global variable '" .. tostring(name) .. "'", 2)
end

-- The globals of scripts, and the table behind them.
local function sandbox(shown_server)
    local globals = copy(basics)
    for name, library in pairs(shared) do globals[name] = library end
    local metatable = { __index = missing }
    local shown = protect(setmetatable(globals, metatable), protect(metatable))
    globals._G, globals.redis, globals.server = shown, shown_server, shown_server
    globals.loadstring, globals.load = loaders(shown)
    return shown, globals
end

local script_globals, script_real = sandbox(shown_server)
script_real.__redis__err__handler, script_real.__server__err__handler = handler, handler

-- Functions of libraries see all that but what is about debugging. While a library is loaded, it sees little but what it registers them with.
local library_server = copy(server)
library_server.replicate_commands, library_server.breakpoint, library_server.debug = nil, nil, nil
local library_globals, library_real = sandbox(protect(library_server))

local loading_server = setmetatable({ log = host.log, register_function = host.register_function }, { __index = missing })
for name, value in pairs(server) do
    if name:find('^LOG_') or name:find('VERSION') or name == 'SERVER_NAME' then loading_server[name] = value end
end
local shown_loading_server = protect(loading_server)
local loading_globals = setmetatable({ redis = shown_loading_server, server = shown_loading_server }, { __index = missing })

local library = { server = library_server }

function library.compile(text, name)
    local f, err = loadstring(text, name)
    if f then setfenv(f, library_globals) end
    return f, err
end

-- The globals of a library are the same table when it is loaded and when its functions run; what is behind it is another.
function library.load(f)
    local metatable = getmetatable(library_globals)
    metatable.__index, real_of[library_globals] = loading_globals, loading_globals
    local succeeded, err = xpcall(f, handler)
    metatable.__index, real_of[library_globals] = library_real, library_real
    return succeeded, err
end

function library.run(f, keys, argv)
    return xpcall(function() return f(keys, argv) end, handler)
end

-- Makes a text a function of a script.
local function compile(text, name)
    local f, err = loadstring(text, name)
    if f then setfenv(f, script_globals) end
    return f, err
end

-- Runs one. Returns whether it succeeded, and its result, or a table with its error.
local function run(f, keys, argv)
    script_real.KEYS, script_real.ARGV = keys, argv
    return xpcall(f, handler)
end

return compile, run, server, library
