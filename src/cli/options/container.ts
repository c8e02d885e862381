import type { CommandPayload, PurserClient } from '../../client/index.ts'
import { PurserError } from '../../model/errors.ts'
import { parseSignal } from '../../oci/signals.ts'
import { parseBytes, parseDuration } from '../../oci/size.ts'
import type { FlagsOf, OptionSpecs } from '../line/verb.ts'
import { parseDetachKeys } from '../terminal/detach-keys.ts'
import { envFile, secretVariable, variable } from './env.ts'
import { isolationOptions, isolationPayload, limitOptions, limitPayload } from './isolation.ts'
import { lifeOptions, lifePayload } from './life.ts'
import { mount, tmpfs, volume } from './mounts.ts'
import { networkOptions, networkPayload } from './network.ts'
import { cpus, wholeNumber } from './numbers.ts'
import { withContainerId } from './other-container.ts'

/** What a process is started with: `run`, `create` and `exec` share it. */
export const processOptions = {
  interactive: { short: 'i', help: 'keep standard input open' },
  tty: { short: 't', help: 'a pseudo-terminal' },
  env: {
    short: 'e',
    value: 'key=value',
    many: true,
    parse: variable,
    help: 'set a variable; KEY alone takes it from here',
  },
  'env-file': { value: 'file', many: true, parse: envFile, completes: 'file', help: 'variables, one a line' },
  'secret-env': {
    value: 'key',
    many: true,
    parse: secretVariable,
    help: 'a variable from here that is sealed before it is handed on: no record holds its value',
  },
  'secret-env-file': {
    value: 'file',
    many: true,
    parse: envFile,
    completes: 'file',
    help: 'such variables, one a line',
  },
  workdir: { short: 'w', value: 'dir', parse: absolute, help: 'directory to start in' },
  user: { short: 'u', value: 'user', parse: userWord, help: 'user or uid, with :group' },
} as const satisfies OptionSpecs

export const detachOption = {
  'detach-keys': {
    value: 'keys',
    parse: parseDetachKeys,
    help: 'typed one after the other, these leave a container with a terminal alone; ctrl-p,ctrl-q by default',
  },
} as const satisfies OptionSpecs

export const DETACH_KEYS = parseDetachKeys('ctrl-p,ctrl-q')

/** What `run` and `create` share. */
export const containerOptions = {
  name: { value: 'name', parse: containerName, help: 'name of the container; made up without it' },
  rm: { help: 'remove the container when it exits' },
  ...processOptions,
  entrypoint: { value: 'program', help: "instead of the image's entrypoint; empty for none" },
  volume: { short: 'v', value: 'src:dst[:ro]', many: true, parse: volume, completes: 'file', help: 'bind mount' },
  mount: { value: 'spec', many: true, parse: mount, help: 'type=bind|tmpfs|image,source=…,target=…[,readonly]' },
  tmpfs: { value: 'path[:options]', many: true, parse: tmpfs, help: 'memory mounted there: /run:size=64m,exec' },
  ...networkOptions,
  ...lifeOptions,
  memory: { short: 'm', value: 'bytes', parse: memory, help: 'memory limit: 512m' },
  cpus: { value: 'n', parse: cpus, help: 'CPU limit: 1.5' },
  'pids-limit': { value: 'n', parse: wholeNumber(1, 4_194_304), help: 'limit of processes' },
  ...limitOptions,
  ...isolationOptions,
  label: { short: 'l', value: 'key=value', many: true, parse: label, help: 'label' },
  priority: { value: 'n', parse: wholeNumber(1, 2_097_151), help: '1 is the most urgent, 100 the default' },
  'idempotency-key': { value: 'key', help: 'asked again with it, nothing runs twice' },
  timeout: { value: 'duration', parse: parseDuration, help: 'kill the container after: 30s' },
  'stop-signal': { value: 'signal', parse: signalWord, help: "signal that asks it to end, instead of the image's" },
  hostname: { value: 'name', help: 'hostname in the container' },
  'read-only': { help: 'read-only root file system' },
  snapshotter: { value: 'name', help: 'overlayfs (the default), native, … (purser snapshotter ls)' },
  runtime: {
    value: 'name',
    help: 'crun (the default where it works), runc, … (purser runtime ls), a type or the path of a shim',
  },
  sandbox: { value: 'id', completes: 'sandbox', help: 'share namespaces, network and shim of this sandbox' },
  pull: { value: 'when', choices: ['missing', 'always', 'never'], help: 'when to pull; if missing by default' },
  platform: { value: 'os/arch', help: 'platform of the image' },
} as const satisfies OptionSpecs

export type ContainerFlags = FlagsOf<typeof containerOptions>
export type ProcessFlags = FlagsOf<typeof processOptions>

/** What a command line asks for, as the payload of `container.run`: secrets sealed, other containers by their ids. */
export async function containerPayload(
  client: PurserClient,
  image: string,
  args: readonly string[],
  flags: ContainerFlags,
): Promise<CommandPayload<'container.run'>> {
  const byId = (mode: string) => withContainerId(client, mode)
  const { entrypoint, timeout, pid, ipc } = flags
  const network = await Promise.all([...flags.net, ...flags.network].map(byId))
  const shared = { pid: pid && (await byId(pid)), ipc: ipc && (await byId(ipc)) }
  return {
    image,
    options: {
      ...(args.length > 0 ? { args: [...args] } : {}),
      ...(entrypoint === undefined ? {} : { entrypoint: entrypoint === '' ? [] : [entrypoint] }),
      ...processPayload(flags, await sealedVariables(client, flags)),
      hostname: flags.hostname,
      mounts: [...flags.volume, ...flags.mount.filter((each) => each.type !== 'image'), ...flags.tmpfs],
      ...imageMounts(flags.mount),
      ...networkPayload({ ...flags, net: [], network }),
      ...isolationPayload({ ...flags, ...shared }),
      resources: {
        memoryBytes: flags.memory,
        cpus: flags.cpus,
        pidsLimit: flags['pids-limit'],
        ...limitPayload(flags),
      },
      stopSignal: flags['stop-signal'],
      readOnlyRoot: flags['read-only'],
    },
    labels: labelsOf(flags.label),
    onExit: flags.rm ? 'remove' : 'keep',
    timeoutMs: timeout,
    ...lifePayload(flags),
    snapshotter: flags.snapshotter,
    runtime: flags.runtime,
    sandbox: flags.sandbox,
    ...(flags.pull === 'always' || flags.pull === 'never' ? { pull: flags.pull } : {}),
    platform: flags.platform,
  }
}

function imageMounts(mounts: ContainerFlags['mount']) {
  const images = mounts.flatMap((each) => (each.type === 'image' ? [{ image: each.image, target: each.target }] : []))
  return images.length === 0 ? {} : { imageMounts: images }
}

export const labelsOf = (labels: readonly (readonly [string, string])[]): Record<string, string> =>
  Object.fromEntries(labels)

/** Variables whose values nobody is to read on the way, each with its value sealed. */
export async function sealedVariables(
  client: PurserClient,
  flags: Pick<ProcessFlags, 'secret-env' | 'secret-env-file'>,
): Promise<string[]> {
  const given = [...flags['secret-env-file'].flat(), ...flags['secret-env'].flat()]
  if (given.length === 0) return []
  const values = given.map((each) => [each.slice(0, each.indexOf('=')), each.slice(each.indexOf('=') + 1)])
  const sealed = await client.seal(Object.fromEntries(values))
  return Object.entries(sealed).map(([name, value]) => `${name}=${value}`)
}

/** As docker: what `-e` sets wins over the files; what is sealed wins over both. */
export const processPayload = (flags: ProcessFlags, sealed: readonly string[]) => ({
  env: [...flags['env-file'].flat(), ...flags.env.flat(), ...sealed],
  workingDir: flags.workdir,
  user: flags.user,
  tty: flags.tty,
  stdin: flags.interactive,
})

export const submitOptions = (flags: ContainerFlags) => ({
  subject: flags.name,
  priority: flags.priority,
  idempotencyKey: flags['idempotency-key'],
})

export function label(text: string): [key: string, value: string] {
  const at = text.indexOf('=')
  const key = at < 0 ? text : text.slice(0, at)
  if (key !== '') return [key, at < 0 ? '' : text.slice(at + 1)]
  throw new PurserError('invalid_argument', `${JSON.stringify(text)} is not a label: it has no key`, {
    remedy: 'write KEY=VALUE',
  })
}

export function containerName(text: string): string {
  if (text.length <= 76 && /^[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*$/.test(text)) return text
  throw new PurserError('invalid_argument', `${JSON.stringify(text)} is not a name for a container`, {
    remedy: 'write letters and digits, joined by single . _ or -, 76 at most',
  })
}

function absolute(text: string): string {
  if (text.startsWith('/')) return text
  throw new PurserError('invalid_argument', `${JSON.stringify(text)} is not an absolute path`, {
    remedy: 'begin it with /',
  })
}

const MEMORY_BYTES_MIN = 6 * 1024 * 1024

function memory(text: string): number {
  const bytes = parseBytes(text)
  if (bytes >= MEMORY_BYTES_MIN) return bytes
  throw new PurserError('invalid_argument', `${JSON.stringify(text)} is too little to start in`, {
    remedy: 'give 6m at least',
  })
}

function userWord(text: string): string {
  if (text !== '' && /^[^\s:]*(?::[^\s:]+)?$/.test(text)) return text
  throw new PurserError('invalid_argument', `${JSON.stringify(text)} is not a user`, {
    remedy: 'write USER, UID, USER:GROUP or UID:GID',
  })
}

export function signalWord(text: string): string {
  parseSignal(text)
  return text
}
