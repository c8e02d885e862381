import { startCommands } from './support/commands.ts'
import { type Measure, writeResult } from './support/result.ts'
import { quantile, timed } from './support/statistics.ts'

const ALONE = 2000
const CALLERS = 64
const TOGETHER = 20_000
const WARM_UP = 2000
/** As many as composite commands have by default, so that none waits; and so few that most do. */
const PLACES = 512
const FEW_PLACES = 16

/** Commands of all callers, at the rate at which they end. */
async function together(places: number): Promise<{ perSecond: number; times: number[] }> {
  await using commands = await startCommands(places)
  await commands.many(WARM_UP, CALLERS)
  let times: number[] = []
  const totalMs = await timed(async () => {
    times = await commands.many(TOGETHER, CALLERS)
  })
  return { perSecond: (times.length / totalMs) * 1000, times }
}

async function oneByOne(): Promise<number[]> {
  await using commands = await startCommands(PLACES)
  await commands.many(WARM_UP, 1)
  return await commands.many(ALONE, 1)
}

const alone = await oneByOne()
const free = await together(PLACES)
const waiting = await together(FEW_PLACES)
const callers = `${CALLERS} callers`
const measures: Measure[] = [
  { what: 'command with no effect, p50', unit: 'ms', purser: quantile(alone, 0.5), budget: { atMost: 3 } },
  { what: 'command with no effect, p99', unit: 'ms', purser: quantile(alone, 0.99) },
  {
    what: `commands with no effect, ${callers}, places for all`,
    unit: '1/s',
    purser: free.perSecond,
    budget: { atLeast: 5000 },
  },
  {
    what: `command with no effect, ${callers}, places for all, p50`,
    unit: 'ms',
    purser: quantile(free.times, 0.5),
  },
  {
    what: `commands with no effect, ${callers}, ${FEW_PLACES} places: most wait in BullMQ`,
    unit: '1/s',
    purser: waiting.perSecond,
  },
  {
    what: `command with no effect, ${callers}, ${FEW_PLACES} places: most wait in BullMQ, p50`,
    unit: 'ms',
    purser: quantile(waiting.times, 0.5),
  },
]
const percentiles = (times: readonly number[]): number[] =>
  [0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99].map((share) => quantile(times, share))

writeResult('no-effect', {
  title: 'A command that does nothing on the host',
  method: `The daemon's own log, intake, relay, BullMQ worker and harness in one process, on a Redis with appendfsync always on
disk; the handler returns at once. From the request until its outcome is in the log. ${ALONE} one at a time and ${TOGETHER} by ${CALLERS} callers, after
warming up, at a worker with ${PLACES} places, as composite commands have by default: a command finds one free, and is two appends, accepted with started and
its outcome, each fsynced. Then ${TOGETHER} at a worker with ${FEW_PLACES} places: those that find none free go through BullMQ, with three appends.`,
  measures,
  samples: {
    'alone, percentiles 1 to 99': percentiles(alone),
    'places for all, percentiles 1 to 99': percentiles(free.times),
    'few places, percentiles 1 to 99': percentiles(waiting.times),
  },
})
