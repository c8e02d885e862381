import { PurserError } from '../model/errors.ts'
import { defineContainersVerb } from './line/each-container.ts'
import { containerOptions } from './options/container.ts'
import { limitOptions, limitPayload } from './options/isolation.ts'
import { restartOption } from './options/life.ts'

const options = {
  memory: containerOptions.memory,
  cpus: containerOptions.cpus,
  'pids-limit': containerOptions['pids-limit'],
  ...limitOptions,
  ...restartOption,
}

export const verb = defineContainersVerb('container.update', options, (flags) => {
  const { restart, memory: memoryBytes, cpus, 'pids-limit': pidsLimit } = flags
  const given = Object.entries({ memoryBytes, cpus, pidsLimit, ...limitPayload(flags) })
  const resources = Object.fromEntries(given.filter(([, limit]) => limit !== undefined))
  if (restart === undefined && Object.keys(resources).length === 0) {
    throw new PurserError('invalid_argument', 'there is nothing to change', {
      remedy: 'give --restart POLICY, or a limit such as --memory',
    })
  }
  return { restart, ...(Object.keys(resources).length === 0 ? {} : { resources }) }
})
