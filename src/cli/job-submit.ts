import { PurserError } from '../model/errors.ts'
import { defineVerb } from './line/verb.ts'
import { containerOptions } from './options/container.ts'
import { jobFile } from './options/job-file.ts'
import { statusOfJob, tellWhy, writeJobLogs } from './terminal/job-output.ts'
import { printJson } from './terminal/output.ts'

export const verb = defineVerb({
  args: [],
  options: {
    file: { short: 'f', value: 'file', completes: 'file', help: 'the job, in YAML or JSON; - is standard input' },
    id: { value: 'id', help: 'of the job; made up without it' },
    env: { ...containerOptions.env, help: "set a variable over the file's; KEY alone takes it from here" },
    'secret-env-file': {
      ...containerOptions['secret-env-file'],
      help: 'values of the secrets that the file names, one a line; the environment has them otherwise',
    },
    follow: { help: 'write what the steps write, and end as the job does' },
    wait: { help: 'wait for the end of the job, and end as it does' },
    'idempotency-key': { value: 'key', help: 'asked again with it, it is the same job' },
  },
  async run({ client, flags, format }) {
    const { file, id, follow, wait } = flags
    if (file === undefined) {
      throw new PurserError('invalid_argument', 'job submit needs a file', { remedy: 'give -f FILE', field: 'file' })
    }
    const secrets = new Map(flags['secret-env-file'].flat().map(pairOf))
    const job = await jobFile(client, file, secrets)
    const request = { ...job, env: { ...job.env, ...Object.fromEntries(flags.env.flat().map(pairOf)) } }
    const submitted = await client.jobs.submit(request, { id, idempotencyKey: flags['idempotency-key'] })
    if (!follow && !wait) {
      if (format === 'table') process.stdout.write(`${submitted.id}\n`)
      else printJson(submitted, format)
      return 0
    }
    if (follow) await writeJobLogs(client, submitted.id, { follow, attempt: undefined, timestamps: false })
    const ended = await client.jobs.ended(submitted.id)
    if (!follow && format === 'table') process.stdout.write(`${ended.id}\n`)
    else if (format !== 'table') printJson(ended, format)
    tellWhy(ended)
    return statusOfJob(ended)
  },
})

function pairOf(variable: string): [string, string] {
  const at = variable.indexOf('=')
  return [variable.slice(0, at), variable.slice(at + 1)]
}
