import { startBenchRegistry } from './support/images.ts'
import { writeResult } from './support/result.ts'
import { claims } from './warm/claims.ts'
import { coldStarts } from './warm/cold-starts.ts'
import { replay } from './warm/replay.ts'

const SCENARIOS = {
  claims: { title: 'Claims of warm tasks', run: claims },
  'cold-starts': { title: 'Cold starts, beside claims', run: coldStarts },
  replay: { title: 'Bursty calls, with a pool and without', run: replay },
}

/** PURSER_WARM=claims,replay measures these alone. Each is written as soon as it is known. */
const wanted = process.env.PURSER_WARM?.split(',') ?? Object.keys(SCENARIOS)
await using registry = await startBenchRegistry(['tiny:latest'])
const image = registry.reference('tiny:latest')
for (const [name, { title, run }] of Object.entries(SCENARIOS)) {
  if (wanted.includes(name)) writeResult(`warm-${name}`, { title, ...(await run(image)) })
}
