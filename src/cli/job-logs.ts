import { PurserError } from '../model/errors.ts'
import { defineVerb } from './line/verb.ts'
import { wholeNumber } from './options/numbers.ts'
import { writeJobLogs } from './terminal/job-output.ts'

export const verb = defineVerb({
  args: [{ name: 'job', count: '1', completes: 'job' }],
  options: {
    follow: { short: 'f', help: 'go on until the job has ended' },
    step: { value: 'step', help: 'of this one alone: its number or its name' },
    attempt: { value: 'n', parse: wholeNumber(1, 1000), help: '1 for the first; the last one by default' },
    timestamps: { short: 't', help: 'each line after its time' },
  },
  async run({ client, flags, args: [id = ''] }) {
    const { follow, attempt, timestamps } = flags
    const step = flags.step === undefined ? undefined : await stepOf(flags.step)
    await writeJobLogs(client, id, { follow, attempt, step, timestamps })
    return 0

    async function stepOf(word: string): Promise<number> {
      const names = (await client.jobs.get(id)).spec.steps.map(({ name }) => name)
      const at = names.indexOf(word)
      const step = at < 0 && /^\d{1,4}$/.test(word) ? Number(word) : at + 1
      if (step >= 1 && step <= names.length) return step
      throw new PurserError('not_found', `job ${id} has no step ${JSON.stringify(word)}`, {
        remedy: `its steps are ${names.map((name) => JSON.stringify(name)).join(', ')}`,
      })
    }
  },
})
