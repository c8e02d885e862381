import { many } from './run/many.ts'
import { others } from './run/others.ts'
import { start } from './run/start.ts'
import { startBenchRegistry } from './support/images.ts'
import { writeResult } from './support/result.ts'

const SCENARIOS = {
  start: { title: 'Run of a present image: from the request to the started process', run: start },
  others: { title: 'Starts beside docker, podman and runc', run: others },
  many: { title: 'Two hundred containers', run: many },
}

/** PURSER_RUN=start,many measures these alone. Each is written as soon as it is known. */
const wanted = process.env.PURSER_RUN?.split(',') ?? Object.keys(SCENARIOS)
await using registry = await startBenchRegistry(['tiny:latest'])
const image = registry.reference('tiny:latest')
for (const [name, { title, run }] of Object.entries(SCENARIOS)) {
  if (wanted.includes(name)) writeResult(`run-${name}`, { title, ...(await run(image)) })
}
