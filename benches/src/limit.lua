-- A sliding-window limit of the calls of a client. Its time and what bounds it come as arguments; the name of its key is declared, or comes last.
local name = KEYS[1] or ARGV[4]
local now, window, most = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
redis.call('ZREMRANGEBYSCORE', name, 0, now - window)
if redis.call('ZCARD', name) < most then
    redis.call('ZADD', name, now, ARGV[1])
    redis.call('PEXPIRE', name, window)
    return 1
end
return 0
