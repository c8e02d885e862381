import { defineVerb } from './line/verb.ts'
import { print } from './terminal/output.ts'

export const verb = defineVerb({
  args: [],
  options: {},
  async run({ client, format }) {
    print(await Array.fromAsync(client.list('tasks')), format, {
      CONTAINER: ({ id }) => id,
      STATUS: ({ status }) => status,
      PID: (task) => ('pid' in task ? String(task.pid) : ''),
      RUNTIME: ({ runtime }) => runtime,
      EXIT: (task) => ('exitCode' in task ? String(task.exitCode) : ''),
    })
    return 0
  },
})
