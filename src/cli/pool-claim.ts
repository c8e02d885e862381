import { parseDuration } from '../oci/size.ts'
import { defineVerb } from './line/verb.ts'
import { containerOptions, labelsOf, sealedVariables } from './options/container.ts'
import { printJson } from './terminal/output.ts'

export const verb = defineVerb({
  args: [{ name: 'name', count: '1' }],
  options: {
    env: containerOptions.env,
    'env-file': containerOptions['env-file'],
    'secret-env': containerOptions['secret-env'],
    'secret-env-file': containerOptions['secret-env-file'],
    label: containerOptions.label,
    payload: { value: 'text', help: 'for the process: in /run/purser/claim.json, and on its standard input' },
    wait: { value: 'duration', parse: parseDuration, help: 'when no task is ready, wait for one so long' },
    'no-cold': { help: 'when no task is ready, fail at once' },
    'idempotency-key': containerOptions['idempotency-key'],
  },
  async run({ client, flags, args: [name = ''], format }) {
    const { wait, payload } = flags
    const variables = [...flags['env-file'].flat(), ...flags.env.flat(), ...(await sealedVariables(client, flags))]
    const claimed = await client.claim(name, {
      payload: {
        env: Object.fromEntries(variables.map(variableOf)),
        labels: labelsOf(flags.label),
        ...(payload === undefined ? {} : { payload }),
        whenEmpty: wait !== undefined ? 'wait' : flags['no-cold'] ? 'refuse' : 'cold',
      },
      deadline: wait === undefined ? undefined : new Date(Date.now() + wait).toISOString(),
      idempotencyKey: flags['idempotency-key'],
    })
    if (format === 'table') process.stdout.write(`${claimed.id}\n`)
    else printJson(claimed, format)
    return 0
  },
})

function variableOf(text: string): [string, string] {
  const at = text.indexOf('=')
  return [text.slice(0, at), text.slice(at + 1)]
}
