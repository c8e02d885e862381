import { PurserError } from '../model/errors.ts'
import { parseDuration } from '../oci/size.ts'
import { defineVerb } from './line/verb.ts'
import { containerOptions, containerPayload } from './options/container.ts'
import { wholeNumber } from './options/numbers.ts'
import { probeWord, sizeOf, sizing, sizingOptions } from './options/pool.ts'

const {
  name: _name,
  rm: _rm,
  pull: _pull,
  priority: _priority,
  restart: _restart,
  sandbox: _sandbox,
  ...container
} = containerOptions

/** What a task of a pool does not have. */
const WITHOUT = {
  name: undefined,
  rm: false,
  pull: undefined,
  priority: undefined,
  restart: undefined,
  sandbox: undefined,
}

export const verb = defineVerb({
  args: [
    { name: 'name', count: '1' },
    { name: 'args', count: '0-' },
  ],
  options: {
    image: { value: 'image', help: 'image of its tasks', completes: 'image' },
    size: { value: 'n', parse: sizeOf, help: 'tasks that are kept ready; 1 by default' },
    ...sizingOptions,
    ready: {
      value: 'probe',
      parse: probeWord,
      help: 'file:/PATH, tcp:PORT, http:PORT/PATH, log:TEXT, exec:PROGRAM or wait',
    },
    'ready-timeout': {
      value: 'duration',
      parse: parseDuration,
      help: 'that a task has to become ready; 60s by default',
    },
    reuse: { help: 'tasks that are handed back are claimed again; otherwise each serves one claim' },
    'uses-max': { value: 'n', parse: wholeNumber(1, 1_000_000_000), help: 'with --reuse: claims that a task serves' },
    'age-max': { value: 'duration', parse: parseDuration, help: 'with --reuse: how old a task may become' },
    reset: { value: 'program', help: 'with --reuse: has to exit 0 before a task is ready again' },
    'reclaim-memory': { help: 'have the kernel take back what a frozen task does not need' },
    'tasks-max': { value: 'n', parse: wholeNumber(1, 1000), help: 'ready and claimed ones together' },
    ...container,
  },
  passThrough: 'second-argument',
  async run({ client, flags, args: [subject = '', ...args] }) {
    if (flags.image === undefined) {
      throw new PurserError('invalid_argument', 'pool create needs an image', {
        remedy: 'give --image REF',
        field: 'image',
      })
    }
    const {
      onExit: _,
      pull: __,
      restart: ___,
      ...template
    } = await containerPayload(client, flags.image, args, { ...flags, ...WITHOUT })
    const { reset } = flags
    await client.execute('pool.create', {
      subject,
      idempotencyKey: flags['idempotency-key'],
      payload: {
        template,
        sizing: sizing(flags.size ?? 1, flags),
        ready: flags.ready,
        readyMs: flags['ready-timeout'],
        reuse: flags.reuse
          ? {
              mode: 'reuse',
              usesMax: flags['uses-max'],
              ageMsMax: flags['age-max'],
              ...(reset === undefined ? {} : { reset: reset.trim().split(/\s+/) }),
            }
          : { mode: 'fresh' },
        reclaimMemory: flags['reclaim-memory'],
        tasksMax: flags['tasks-max'],
      },
    })
    process.stdout.write(`${subject}\n`)
    return 0
  },
})
