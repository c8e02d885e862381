import { defineVerb } from './line/verb.ts'
import { print } from './terminal/output.ts'

export const verb = defineVerb({
  args: [],
  options: {
    status: { value: 'status', choices: ['active', 'ended'], help: 'only those; all by default' },
    type: { value: 'glob', many: true, help: 'only those: container.*' },
    quiet: { short: 'q', help: 'only ids' },
  },
  async run({ client, flags, format }) {
    const { status, type } = flags
    const commands = await Array.fromAsync(client.list('commands', { status, type }))
    if (flags.quiet) process.stdout.write(commands.map(({ id }) => `${id}\n`).join(''))
    else
      print(commands, format, {
        ID: ({ id }) => id,
        TYPE: ({ type }) => type,
        SUBJECT: ({ subject }) => subject,
        STATUS: ({ status }) => status,
        ACTOR: ({ actor }) => actor,
        ISSUED: ({ issuedAt }) => issuedAt,
      })
    return 0
  },
})
