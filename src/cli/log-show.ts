import { defineVerb } from './line/verb.ts'
import { humanSize, printJson } from './terminal/output.ts'

export const verb = defineVerb({
  args: [],
  options: {},
  async run({ client, format }) {
    const log = await client.get<LogStatus>('/v1/log')
    if (format !== 'table') {
      printJson(log, format)
      return 0
    }
    const lines = [
      `head      ${log.head}`,
      `sealed    ${log.sealed}`,
      `first     ${log.first}`,
      `segments  ${log.segments}, ${humanSize(log.bytes)}`,
      `directory ${log.directory}`,
      ...(log.problem === undefined ? [] : [`problem   ${log.problem}`]),
    ]
    process.stdout.write(`${lines.join('\n')}\n`)
    return 0
  },
})

export interface LogStatus {
  head: number
  sealed: number
  first: number
  segments: number
  bytes: number
  directory: string
  key: string
  checkpoint: string
  problem?: string
}
