import { randomUUID } from 'node:crypto'
import { resolve } from 'node:path'
import { type Command, Option } from 'commander'
import { PurserError } from '../model/errors.ts'
import { parseBytes, parseDuration } from '../oci/size.ts'
import { collect } from './context.ts'

export interface ContainerFlags {
  name?: string
  rm?: true
  detach?: true
  interactive?: true
  tty?: true
  env: string[]
  workdir?: string
  user?: string
  entrypoint?: string
  volume: string[]
  mount: string[]
  net: string
  memory?: string
  cpus?: string
  pidsLimit?: string
  label: string[]
  priority?: string
  idempotencyKey?: string
  timeout?: string
  hostname?: string
  readOnly?: true
  snapshotter?: string
  runtime?: string
  pull: string
  platform?: string
}

/** The options that `run` and `create` share. */
export function withContainerOptions(command: Command): Command {
  return command
    .option('--name <name>', 'name of the container')
    .option('--rm', 'remove the container when it exits')
    .option('-i, --interactive', 'keep standard input open')
    .option('-t, --tty', 'a pseudo-terminal')
    .option('-e, --env <key=value>', 'set a variable; KEY alone takes it from here', collect, [])
    .option('-w, --workdir <dir>', 'directory to start in')
    .option('-u, --user <user>', 'user or uid, with :group')
    .option('--entrypoint <program>', "instead of the image's entrypoint")
    .option('-v, --volume <src:dst[:ro]>', 'bind mount', collect, [])
    .option('--mount <spec>', 'type=bind|tmpfs,source=…,target=…[,readonly]', collect, [])
    .addOption(new Option('--net <network>', 'network').choices(['none', 'host']).default('none'))
    .option('-m, --memory <bytes>', 'memory limit: 512m')
    .option('--cpus <n>', 'CPU limit: 1.5')
    .option('--pids-limit <n>', 'limit of processes')
    .option('-l, --label <key=value>', 'label', collect, [])
    .option('--priority <n>', '1 is the most urgent, 100 the default')
    .option('--idempotency-key <key>', 'asked again with it, nothing runs twice')
    .option('--timeout <duration>', 'kill the container after: 30s')
    .option('--hostname <name>', 'hostname in the container')
    .option('--read-only', 'read-only root file system')
    .option('--snapshotter <name>', 'overlayfs or native')
    .option('--runtime <name>', 'runc, crun, …')
    .addOption(new Option('--pull <when>', 'when to pull').choices(['missing', 'always', 'never']).default('missing'))
    .option('--platform <os/arch>', 'platform of the image')
}

/** What a command line asks for, as the payload of `container.run`. */
export function containerPayload(
  image: string,
  args: readonly string[],
  flags: ContainerFlags,
): Record<string, unknown> {
  const { memory, cpus, pidsLimit } = flags
  return {
    image,
    options: {
      ...(args.length > 0 ? { args } : {}),
      ...(flags.entrypoint === undefined ? {} : { entrypoint: flags.entrypoint === '' ? [] : [flags.entrypoint] }),
      env: flags.env.flatMap(variable),
      workingDir: flags.workdir,
      user: flags.user,
      tty: flags.tty ?? false,
      stdin: flags.interactive ?? false,
      hostname: flags.hostname,
      mounts: [...flags.volume.map(volume), ...flags.mount.map(mount)],
      network: flags.net,
      resources: {
        ...(memory === undefined ? {} : { memoryBytes: parseBytes(memory) }),
        ...(cpus === undefined ? {} : { cpus: Number(cpus) }),
        ...(pidsLimit === undefined ? {} : { pidsLimit: Number(pidsLimit) }),
      },
      readOnlyRoot: flags.readOnly ?? false,
    },
    labels: Object.fromEntries(flags.label.map(keyValue)),
    onExit: flags.rm ? 'remove' : 'keep',
    timeoutMs: flags.timeout === undefined ? undefined : parseDuration(flags.timeout),
    snapshotter: flags.snapshotter,
    runtime: flags.runtime,
    pull: flags.pull,
    platform: flags.platform,
  }
}

export const submitOptions = (flags: ContainerFlags) => ({
  subject: flags.name,
  priority: flags.priority === undefined ? undefined : Number(flags.priority),
  idempotencyKey: flags.idempotencyKey ?? randomUUID(),
})

/** `KEY=VALUE`; `KEY` alone is taken from the environment, and left out where it is not set there. */
export function variable(text: string): string[] {
  if (text.includes('=')) return [text]
  const value = Reflect.get(process.env, text)
  return typeof value === 'string' ? [`${text}=${value}`] : []
}

function keyValue(text: string): [string, string] {
  const at = text.indexOf('=')
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)]
}

/** docker's `-v SRC:DST[:OPTIONS]`. */
export function volume(text: string) {
  const [source, target, options] = text.split(':')
  if (!source || !target) {
    throw new PurserError('invalid_argument', `${JSON.stringify(text)} is not a volume`, {
      remedy: 'write SOURCE:TARGET[:ro]',
    })
  }
  return { type: 'bind', source: resolve(source), target, options: options === undefined ? [] : options.split(',') }
}

/** docker's `--mount type=…,source=…,target=…`. */
export function mount(text: string) {
  const given = new Map(text.split(',').map(keyValue))
  const type = given.get('type') ?? 'bind'
  const target = given.get('target') ?? given.get('dst') ?? given.get('destination') ?? ''
  const source = given.get('source') ?? given.get('src')
  const readOnly = given.has('readonly') || given.has('ro')
  const options = readOnly ? ['ro'] : []
  if (type === 'tmpfs') {
    const size = given.get('tmpfs-size')
    return { type, target, options: [...options, ...(size === undefined ? [] : [`size=${parseBytes(size)}`])] }
  }
  if (source === undefined) {
    throw new PurserError('invalid_argument', `${JSON.stringify(text)} has no source`, {
      remedy: 'write type=bind,source=…,target=…',
    })
  }
  return { type, source: resolve(source), target, options }
}
