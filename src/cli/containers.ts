import { randomBytes } from 'node:crypto'
import type { Command } from 'commander'
import type { ContainerView, PurserClient } from '../client/index.ts'
import { attach } from './attach.ts'
import {
  type ContainerFlags,
  containerPayload,
  submitOptions,
  variable,
  withContainerOptions,
} from './container-options.ts'
import { collect, contextOf, each } from './context.ts'
import { age, print } from './output.ts'
import { dockerExit } from './run.ts'

/** The whole id that a beginning of it stands for. */
const fullId = async (client: PurserClient, id: string): Promise<string> =>
  (await client.get<ContainerView>(`/v1/containers/${encodeURIComponent(id)}`)).id

export function define(program: Command): void {
  withContainerOptions(program.command('create').argument('<image>').argument('[args...]'))
    .description('make a container without starting it')
    .passThroughOptions()
    .action(async (image: string, args: string[], flags: ContainerFlags, command: Command) => {
      const payload = containerPayload(image, args, flags)
      const made = await contextOf(command).client.submit('container.provision', { ...submitOptions(flags), payload })
      process.stdout.write(`${made.subject}\n`)
    })
  onEach(program.command('start').description('start containers'), 'container.start')
  onEach(
    program
      .command('stop')
      .description('ask containers to end, then make them')
      .option('-t, --time <seconds>', 'grace', '10')
      .option('-s, --signal <signal>'),
    'container.stop',
    ({ time, signal }) => ({ graceMs: Number(time) * 1000, signal }),
  )
  onEach(
    program.command('kill').description('send a signal').option('-s, --signal <signal>', 'signal', 'SIGKILL'),
    'task.kill',
    ({ signal }) => ({ signal }),
  )
  onEach(program.command('pause').description('freeze containers'), 'task.pause')
  onEach(program.command('unpause').description('thaw containers'), 'task.resume')
  onEach(
    program.command('rm').description('remove containers').option('-f, --force', 'also those that run'),
    'container.remove',
    ({ force }) => ({
      running: force ? 'kill' : 'refuse',
    }),
  )
  program
    .command('ps')
    .option('-a, --all', 'also those that do not run')
    .option('-q, --quiet', 'only ids')
    .option('--filter <label=…>', 'by label', collect, [])
    .description('list containers')
    .action(async (flags: { all?: true; quiet?: true; filter: string[] }, command: Command) => {
      const { client, format } = contextOf(command)
      const label = flags.filter.map((each) => each.replace(/^label=/, ''))[0]
      const rows: ContainerView[] = []
      for await (const each of client.list<ContainerView>('containers', { label })) {
        if (flags.all || each.status === 'running' || each.status === 'paused') rows.push(each)
      }
      if (flags.quiet) return void process.stdout.write(rows.map(({ id }) => `${id}\n`).join(''))
      print(rows, format, {
        'CONTAINER ID': ({ id }) => id,
        IMAGE: ({ image }) => image,
        COMMAND: ({ options }) => JSON.stringify((options.args ?? options.entrypoint ?? []).join(' ')).slice(0, 32),
        CREATED: ({ createdAt }) => age(createdAt),
        STATUS: statusOf,
      })
    })
  program
    .command('logs')
    .argument('<container>')
    .option('-f, --follow')
    .option('--tail <lines>')
    .option('--since <time>')
    .option('-t, --timestamps')
    .description('what a container has written')
    .action(
      async (
        container: string,
        flags: { follow?: true; tail?: string; since?: string; timestamps?: true },
        command: Command,
      ) => {
        const { client } = contextOf(command)
        const id = await fullId(client, container)
        const query = {
          namespace: client.namespace,
          follow: flags.follow ? 'true' : undefined,
          tail: flags.tail,
          since: flags.since,
        }
        for await (const line of client.lines(`/v1/containers/${id}/logs`, query)) {
          const [time = '', stream, tag] = line.split(' ', 3)
          const text = line.slice(time.length + (stream?.length ?? 0) + (tag?.length ?? 0) + 3)
          const out = stream === 'stderr' ? process.stderr : process.stdout
          out.write(`${flags.timestamps ? `${time} ` : ''}${text}${tag === 'P' ? '' : '\n'}`)
        }
      },
    )
  program
    .command('exec')
    .argument('<container>')
    .argument('<args...>')
    .option('-d, --detach')
    .option('-i, --interactive')
    .option('-t, --tty')
    .option('-e, --env <key=value>', 'variable', collect, [])
    .option('-w, --workdir <dir>')
    .option('-u, --user <user>')
    .passThroughOptions()
    .description('run one more process in a container')
    .action(async (container: string, args: string[], flags: ContainerFlags, command: Command) => {
      const { client } = contextOf(command)
      process.exitCode = await exec(client, container, args, flags).catch(dockerExit)
    })
  program
    .command('inspect')
    .argument('<name...>')
    .description('all that is known of containers or images')
    .action(async (names: string[], _flags: unknown, command: Command) => {
      const { client } = contextOf(command)
      const found = names.map(async (name) => {
        const at = encodeURIComponent(name)
        return await client.get(`/v1/containers/${at}`).catch(() => client.get(`/v1/images/${at}`))
      })
      process.stdout.write(`${JSON.stringify(await Promise.all(found), null, 2)}\n`)
    })
  program
    .command('wait')
    .argument('<container...>')
    .description('wait for containers to end; prints their exit codes')
    .action(async (names: string[], _flags: unknown, command: Command) => {
      const { client } = contextOf(command)
      await each(names, async (name) => {
        const id = await fullId(client, name)
        return String((await client.get<{ exitCode: number }>(`/v1/containers/${id}/wait`)).exitCode)
      })
    })
}

type Flags = Record<string, string | true | undefined>

function onEach(
  command: Command,
  type: string,
  payloadOf: (flags: Flags) => Record<string, unknown> = () => ({}),
): void {
  command.argument('<container...>').action(async (names: string[], flags: Flags, self: Command) => {
    const { client } = contextOf(self)
    await each(names, async (name) => {
      const subject = await fullId(client, name)
      await client.submit(type, { subject, payload: payloadOf(flags) })
      return name
    })
  })
}

function statusOf({ status, task }: ContainerView): string {
  if (task?.status === 'stopped')
    return `Exited (${task.exitCode}) ${age(task.exitedAt)}${task.reason === undefined ? '' : `, ${task.reason}`}`
  if (task && 'startedAt' in task && task.startedAt !== undefined)
    return `${status === 'paused' ? 'Paused' : 'Up'}, started ${age(task.startedAt)}`
  return 'Created'
}

async function exec(client: PurserClient, container: string, args: string[], flags: ContainerFlags): Promise<number> {
  const id = await fullId(client, container)
  const execId = `exec-${randomBytes(6).toString('hex')}`
  const payload = {
    execId,
    args,
    env: flags.env.flatMap(variable),
    workingDir: flags.workdir,
    user: flags.user,
    tty: flags.tty ?? false,
    stdin: flags.interactive ?? false,
    output: flags.detach ? 'discard' : 'attach',
  }
  await client.submit('task.exec', { subject: id, payload })
  if (flags.detach) return 0
  const interactive = flags.interactive ?? false
  const path = `/v1/containers/${id}/execs/${execId}/attach${interactive ? '?stdin=true' : ''}`
  return await attach(client, { path, interactive, tty: flags.tty ?? false })
}
