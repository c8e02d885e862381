import type { Redis } from 'ioredis'

/**
 * The one way into the log. Each append is checked first, then written, so that either all of it happens or nothing does;
 * several go in one call, as Redis runs a call whole and then fsyncs once, however many reads it took.
 *
 * KEYS  1 events, 2 meta, 3 fences, then of each append: idempotency (or any key when unused), a documents hash per change
 * ARGV  1 epoch, 2 number of appends, then of each append:
 *       1 fenced command id or '', 2 its token ('' = take the fence), 3 '1' = release the fence,
 *       4 idempotency value or '', 5 its lifetime in seconds, 6 number of changes, 7 number of events,
 *       then per change: field, expected version, new JSON ('' = delete),
 *       then per event, in the order of the log: which change it belongs to (1…), JSON
 * Reply of each append {'ok', first position} | {'conflict', field, version} | {'fenced'} | {'superseded', epoch} |
 *       {'duplicate', value} | {'error', message} |
 *       {'foreign'}: the stream has entries beyond the head, which somebody else wrote; nothing was appended
 *
 * A document's version is the position of its last event: it is never used again, even when the document goes.
 */
const APPEND = `
local function append(key, arg, changes, events)
  local fenced, token = ARGV[arg], ARGV[arg + 1]
  if fenced ~= '' and token ~= '' and redis.call('HGET', KEYS[3], fenced) ~= token then return {'fenced'} end
  if ARGV[arg + 3] ~= '' then
    local used = redis.call('GET', KEYS[key])
    if used then return {'duplicate', used} end
  end
  local at = arg + 7
  for change = 1, changes do
    local stored = redis.call('HGET', KEYS[key + change], ARGV[at])
    local version = stored and string.match(stored, '^(%d+) ') or '0'
    if version ~= ARGV[at + 1] then return {'conflict', ARGV[at], version} end
    at = at + 3
  end
  local first = tonumber(redis.call('HGET', KEYS[2], 'head') or '0') + 1
  local position = first - 1
  local last = {}
  for event = at, at + 2 * events - 2, 2 do
    position = position + 1
    local added = redis.pcall('XADD', KEYS[1], string.format('%d-0', position), 'e', ARGV[event + 1])
    if type(added) == 'table' and added.err then
      if position == first and string.find(added.err, 'equal or smaller', 1, true) then return {'foreign'} end
      return {'error', added.err}
    end
    last[tonumber(ARGV[event])] = position
  end
  at = arg + 7
  for change = 1, changes do
    if ARGV[at + 2] == '' then redis.call('HDEL', KEYS[key + change], ARGV[at])
    else redis.call('HSET', KEYS[key + change], ARGV[at], string.format('%d ', last[change]) .. ARGV[at + 2]) end
    at = at + 3
  end
  redis.call('HSET', KEYS[2], 'head', string.format('%d', position))
  if fenced ~= '' and token == '' then redis.call('HSET', KEYS[3], fenced, string.format('%d', first)) end
  if fenced ~= '' and ARGV[arg + 2] == '1' then redis.call('HDEL', KEYS[3], fenced) end
  if ARGV[arg + 3] ~= '' then redis.call('SET', KEYS[key], ARGV[arg + 3], 'EX', ARGV[arg + 4]) end
  return {'ok', first}
end

local epoch = redis.call('HGET', KEYS[2], 'epoch')
local replies = {}
local key, arg = 4, 3
for number = 1, tonumber(ARGV[2]) do
  local changes, events = tonumber(ARGV[arg + 5]), tonumber(ARGV[arg + 6])
  if epoch ~= ARGV[1] then replies[number] = {'superseded', epoch or ''}
  else
    local whole, reply = pcall(append, key, arg, changes, events)
    if whole then replies[number] = reply
    else replies[number] = {'error', type(reply) == 'table' and reply.err or tostring(reply)} end
  end
  key = key + 1 + changes
  arg = arg + 7 + 3 * changes + 2 * events
end
return replies
`

export type AppendReply =
  | ['ok', number]
  | ['conflict', string, string]
  | ['fenced']
  | ['superseded', string]
  | ['duplicate', string]
  | ['foreign']
  | ['error', string]

/**
 * Takes entries beyond the head out of the stream, and keeps them in another as evidence.
 *
 * KEYS  1 events, 2 meta, 3 quarantine
 * Reply the ids they had
 */
const QUARANTINE = `
local head = redis.call('HGET', KEYS[2], 'head') or '0'
local ids = {}
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], '(' .. head .. '-0', '+')) do
  redis.call('XADD', KEYS[3], '*', 'id', entry[1], 'fields', cjson.encode(entry[2]))
  redis.call('XDEL', KEYS[1], entry[1])
  ids[#ids + 1] = entry[1]
end
redis.call('XSETID', KEYS[1], head .. '-0')
return ids
`

export type QuarantineCall = (events: string, meta: string, quarantine: string) => Promise<string[]>

type Pipeline = ReturnType<Redis['pipeline']>
type AppendCall = (this: Pipeline, keyCount: number, ...keysAndArguments: (string | number)[]) => Pipeline

/** Registers the scripts on a connection; calls go out as EVALSHA. */
export function defineScripts(redis: Redis) {
  redis.defineCommand('purserAppend', { lua: APPEND })
  redis.defineCommand('purserQuarantine', { lua: QUARANTINE, numberOfKeys: 3 })
  const quarantine = Reflect.get(redis, 'purserQuarantine') as QuarantineCall
  return {
    quarantine: quarantine.bind(redis),
    /** Adds the call to what a pipeline will send. */
    append(pipeline: Pipeline, keys: readonly string[], args: readonly (string | number)[]): void {
      const append = Reflect.get(pipeline, 'purserAppend') as AppendCall
      append.call(pipeline, keys.length, ...keys, ...args)
    },
  }
}
