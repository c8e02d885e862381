import { adversity } from './pull/adversity.ts'
import { cold } from './pull/cold.ts'
import { crowds } from './pull/crowds.ts'
import { memory } from './pull/memory.ts'
import { writeResult } from './support/result.ts'

const SCENARIOS = {
  cold: { title: 'Cold pulls', run: cold },
  crowds: { title: 'Many images at once, many callers of one', run: crowds },
  memory: { title: 'Memory and API while pulling', run: memory },
  adversity: { title: 'A slow link, and a daemon that is killed', run: adversity },
}

/** PURSER_PULL=cold,memory measures these alone. Each is written as soon as it is known. */
const wanted = process.env.PURSER_PULL?.split(',') ?? Object.keys(SCENARIOS)
for (const [name, { title, run }] of Object.entries(SCENARIOS)) {
  if (wanted.includes(name)) writeResult(`pull-${name}`, { title, ...(await run()) })
}
