import { adversity } from './pull/adversity.ts'
import { cold } from './pull/cold.ts'
import { crowds } from './pull/crowds.ts'
import { memory } from './pull/memory.ts'
import { writeResult } from './support/result.ts'

// Each is written as soon as it is known.
writeResult('pull-cold', { title: 'Cold pulls', ...(await cold()) })
writeResult('pull-crowds', { title: 'Many images at once, many callers of one', ...(await crowds()) })
writeResult('pull-memory', { title: 'Memory and API while pulling', ...(await memory()) })
writeResult('pull-adversity', { title: 'A slow link, and a daemon that is killed', ...(await adversity()) })
