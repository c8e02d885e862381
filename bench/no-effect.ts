import { startCommands } from './support/commands.ts'
import { writeResult } from './support/result.ts'
import { quantile, timed } from './support/statistics.ts'

const ALONE = 2000
const CALLERS = 64
const TOGETHER = 20_000
const WARM_UP = 2000

await using commands = await startCommands(CALLERS)
await commands.many(WARM_UP, 1)
const alone = await commands.many(ALONE, 1)
await commands.many(WARM_UP, CALLERS)
let together: number[] = []
const totalMs = await timed(async () => {
  together = await commands.many(TOGETHER, CALLERS)
})

writeResult('no-effect', {
  title: 'A command through the queue that does nothing on the host',
  method: `The daemon's own log, intake, relay, BullMQ worker and harness in one process, on a Redis with appendfsync always on
disk; the handler returns at once. From the request until its outcome is in the log: command.accepted, command.started and
command.succeeded are three appends, each fsynced. ${ALONE} one at a time, then ${TOGETHER} by ${CALLERS} callers, after warming up.`,
  measures: [
    { what: 'command through the queue, p50', unit: 'ms', purser: quantile(alone, 0.5), budget: { atMost: 3 } },
    { what: 'command through the queue, p99', unit: 'ms', purser: quantile(alone, 0.99) },
    {
      what: `commands through the queue, ${CALLERS} callers`,
      unit: '1/s',
      purser: (together.length / totalMs) * 1000,
      budget: { atLeast: 5000 },
    },
    { what: `command through the queue, ${CALLERS} callers, p50`, unit: 'ms', purser: quantile(together, 0.5) },
  ],
  samples: {
    'alone, percentiles 1 to 99': [0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99].map((share) => quantile(alone, share)),
    'together, percentiles 1 to 99': [0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99].map((share) => quantile(together, share)),
  },
})
