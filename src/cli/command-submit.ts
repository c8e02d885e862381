import type { CommandType } from '../client/index.ts'
import { PurserError } from '../model/errors.ts'
import { defineVerb } from './line/verb.ts'
import { wholeNumber } from './options/numbers.ts'
import { printJson } from './terminal/output.ts'

const WAIT_SECONDS = 60

export const verb = defineVerb({
  args: [
    { name: 'type', count: '1' },
    { name: 'subject', count: '0-1', completes: 'subject' },
  ],
  options: {
    payload: { value: 'json', parse: objectOf, help: 'JSON object; empty by default' },
    'idempotency-key': { value: 'key', help: 'asked again with it, nothing is done twice' },
    priority: { value: 'n', parse: wholeNumber(1, 2_097_151), help: '1 is the most urgent, 100 the default' },
    deadline: { value: 'time', help: 'RFC 3339: cancelled when it has not ended by then' },
    wait: { value: 'seconds', parse: wholeNumber(0, 86_400), help: `for its end; ${WAIT_SECONDS} by default` },
  },
  async run({ client, flags, args: [type = '', subject], format }) {
    const { payload, priority, deadline, wait = WAIT_SECONDS } = flags
    const idempotencyKey = flags['idempotency-key']
    // The daemon says which types there are, and what they take.
    const options = { subject, payload, priority, deadline, idempotencyKey } as object
    const accepted = await client.submit(type as CommandType, options)
    if (wait === 0) {
      printJson(accepted, format)
      return 0
    }
    const patience = AbortSignal.timeout(wait * 1000)
    try {
      printJson(await client.ended(accepted.id, patience), format)
    } catch (error) {
      if (!patience.aborted) throw error
      printJson(await client.command(accepted.id), format)
    }
    return 0
  },
})

function objectOf(text: string): Record<string, unknown> {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    // Told below: it is not a JSON object either.
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return { ...value }
  throw new PurserError('invalid_argument', `${JSON.stringify(text.slice(0, 80))} is not a JSON object`, {
    remedy: `write one, such as '{"mode":"dry-run"}'`,
  })
}
