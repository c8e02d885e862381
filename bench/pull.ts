import { adversity } from './pull/adversity.ts'
import { cold } from './pull/cold.ts'
import { crowds } from './pull/crowds.ts'
import { memory } from './pull/memory.ts'
import { writeResult } from './support/result.ts'
import { together } from './support/scenario.ts'

writeResult('pull', together('Pulling', [await cold(), await crowds(), await memory(), await adversity()]))
