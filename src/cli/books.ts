import type { Command } from 'commander'
import type { CommandView, StoredEvent } from '../client/index.ts'
import { PurserError } from '../model/errors.ts'
import { collect, contextOf } from './context.ts'
import { print } from './output.ts'

const columns: Record<string, (event: StoredEvent) => string> = {
  POSITION: ({ position }) => String(position),
  TIME: ({ time }) => time,
  EVENT: ({ type }) => type,
  SUBJECT: ({ subject }) => subject,
  ACTOR: ({ actor }) => actor,
  WHAT: ({ data }) => whatOf(data),
}

export function define(program: Command): void {
  program
    .command('events')
    .option('--since <position|time|duration>')
    .option('-f, --follow')
    .option('--filter <type=…|subject=…>', 'type may be a glob', collect, [])
    .description('the log of the node')
    .action(async (flags: { since?: string; follow?: true; filter: string[] }, command: Command) => {
      const { client, format } = contextOf(command)
      const query: Record<string, string | undefined> = {
        since: flags.since ?? (flags.follow ? undefined : '0'),
        follow: String(flags.follow ?? false),
      }
      for (const filter of flags.filter)
        query[filter.slice(0, filter.indexOf('='))] = filter.slice(filter.indexOf('=') + 1)
      for await (const event of client.events(query)) {
        if (format === 'table')
          process.stdout.write(
            `${event.position} ${event.time} ${event.type} ${event.namespace} ${event.subject} ${whatOf(event.data)}\n`,
          )
        else process.stdout.write(`${JSON.stringify(event)}\n`)
      }
    })
  program
    .command('history')
    .argument('<subject>')
    .description('all that happened to a container or image, and who asked for it')
    .action(async (subject: string, _flags: unknown, command: Command) => {
      const { client, format } = contextOf(command)
      const { items } = await client.get<{ items: StoredEvent[] }>(`/v1/history/${encodeURIComponent(subject)}`)
      print(items, format, columns)
    })
  const commands = program.command('command').description('commands: list, show, submit, cancel')
  commands
    .command('ls')
    .option('--status <active|ended>')
    .action(async (flags: { status?: string }, command: Command) => {
      const { client, format } = contextOf(command)
      const page = await client.get<{ items: CommandView[] }>('/v1/commands', { status: flags.status })
      print(page.items, format, {
        ID: ({ id }) => id,
        TYPE: ({ type }) => type,
        SUBJECT: ({ subject }) => subject,
        STATUS: ({ status }) => status,
        ACTOR: ({ actor }) => actor,
        ISSUED: ({ issuedAt }) => issuedAt,
      })
    })
  commands
    .command('show')
    .argument('<id>')
    .action(async (id: string, _flags: unknown, command: Command) => {
      process.stdout.write(`${JSON.stringify(await contextOf(command).client.command(id), null, 2)}\n`)
    })
  commands
    .command('submit')
    .argument('<type>')
    .argument('[subject]')
    .option('--payload <json>', 'JSON object', '{}')
    .option('--idempotency-key <key>')
    .option('--wait <seconds>', 'for its end', '60')
    .action(
      async (
        type: string,
        subject: string | undefined,
        flags: { payload: string; idempotencyKey?: string; wait: string },
        command: Command,
      ) => {
        const payload = parsePayload(flags.payload)
        const { idempotencyKey } = flags
        const ended = await contextOf(command).client.submit(type, {
          subject,
          payload,
          idempotencyKey,
          waitSeconds: Number(flags.wait),
        })
        process.stdout.write(`${JSON.stringify(ended, null, 2)}\n`)
      },
    )
  commands
    .command('cancel')
    .argument('<id>')
    .action(async (id: string, _flags: unknown, command: Command) => {
      await contextOf(command).client.cancel(id)
      process.stdout.write(`${id}\n`)
    })
  program
    .command('state')
    .description('the state that the log amounts to')
    .command('rebuild')
    .option('--check', 'only compare')
    .action(async (flags: { check?: true }, command: Command) => {
      const { client } = contextOf(command)
      const check = await client.post<{ differences: unknown[] }>('/v1/state/rebuild', {
        mode: flags.check ? 'check' : 'repair',
      })
      process.stdout.write(`${JSON.stringify(check, null, 2)}\n`)
      if (flags.check && check.differences.length > 0) process.exitCode = 1
    })
}

function parsePayload(text: string): Record<string, unknown> {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new PurserError('invalid_argument', `--payload ${text.slice(0, 80)} is not JSON`, {
      cause,
      remedy: 'write a JSON object',
    })
  }
}

/** The plain values of an event's data, as `key=value`. */
function whatOf(data: Record<string, unknown>): string {
  const { command } = data as { command?: { type: string } }
  if (command) return command.type
  const error = data.error as { message?: string } | string | undefined
  if (error) return typeof error === 'string' ? error : (error.message ?? '')
  const plain = Object.entries(data).filter(([, value]) => typeof value !== 'object')
  return plain.map(([key, value]) => `${key}=${value}`).join(' ')
}
