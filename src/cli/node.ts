import type { Command } from 'commander'
import { contextOf, each } from './context.ts'
import { print } from './output.ts'

export function define(program: Command): void {
  const namespaces = program.command('namespace').description('namespaces: ls, create, rm')
  namespaces.command('ls').action(async (_flags: unknown, command: Command) => {
    const { client, format } = contextOf(command)
    print(await Array.fromAsync(client.list<{ name: string; createdAt: string }>('namespaces')), format, {
      NAME: ({ name }) => name,
      CREATED: ({ createdAt }) => createdAt,
    })
  })
  for (const [verb, type] of [
    ['create', 'namespace.create'],
    ['rm', 'namespace.remove'],
  ] as const) {
    namespaces
      .command(verb)
      .argument('<name...>')
      .action(async (names: string[], _flags: unknown, command: Command) => {
        const { client } = contextOf(command)
        await each(names, async (subject) => (await client.submit(type, { subject })).subject)
      })
  }
  program
    .command('info')
    .description('the daemon and what it keeps')
    .action(async (_flags: unknown, command: Command) => {
      process.stdout.write(`${JSON.stringify(await contextOf(command).client.get('/v1/info'), null, 2)}\n`)
    })
  program
    .command('version')
    .description('version of the daemon')
    .action(async (_flags: unknown, command: Command) => {
      const { version } = await contextOf(command).client.get<{ version: string }>('/v1/version')
      process.stdout.write(`purser ${version}\n`)
    })
}
