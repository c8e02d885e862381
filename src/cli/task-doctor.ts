import { ERROR_CODES } from '../model/errors.ts'
import { defineVerb } from './line/verb.ts'
import { print } from './terminal/output.ts'

interface Diagnosis {
  namespace: string
  id: string
  status: string
  verdict: string
  findings: string[]
  remedy?: string
  shim: { pids: number[]; answeredMs?: number }
}

export const verb = defineVerb({
  args: [],
  options: { all: { short: 'a', help: 'of all namespaces' } },
  async run({ client, format, flags }) {
    const items = await client.taskDoctor<Diagnosis>(flags.all ? 'all' : 'namespace')
    print(items, format, {
      ...(flags.all ? { NAMESPACE: ({ namespace }: Diagnosis) => namespace } : {}),
      CONTAINER: ({ id }) => id,
      STATUS: ({ status }) => status,
      SHIM: ({ shim }) => shim.pids.join(' '),
      ANSWERS: ({ shim: { answeredMs } }) => (answeredMs === undefined ? 'no' : `${answeredMs} ms`),
      VERDICT: ({ verdict }) => verdict,
      FOUND: ({ findings }) => findings.join('; '),
      REMEDY: ({ remedy = '' }) => remedy,
    })
    return items.every(({ verdict }) => verdict === 'healthy') ? 0 : ERROR_CODES.failed_precondition.exit
  },
})
