import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { aggregates } from '../../../src/commands/index.ts'
import { Documents } from '../../../src/log/documents.ts'
import { buildSpec } from '../../../src/oci/spec/build-spec.ts'
import { containerOptions } from '../../../src/oci/spec/container-options.ts'
import type { Spec } from '../../../src/oci/spec/schema.ts'
import { hostPartOf } from '../../../src/workers/task/isolation.ts'
import { TaskPaths } from '../../../src/workers/task/paths.ts'
import { startContainerd, type TestContainerd } from '../../support/containerd.ts'
import { ROOT } from '../../support/sources.ts'
import { temporaryDirectory } from '../../support/trees.ts'

/** With cgroups of version 2 ctr has no cgroup namespace, and we have one: the same row. */
const cgroupVersion = existsSync('/sys/fs/cgroup/cgroup.controllers') ? 2 : 1
const arch = process.arch === 'x64' ? 'amd64' : process.arch

/** Rows of docs/spec-differences.md, by what their first column begins with, and the fields that they are about. */
const ALWAYS: Readonly<Record<string, RegExp>> = {
  '`ociVersion`': /^ociVersion$/,
  '`process.env`': /^process\.env/,
  '`hostname`': /^hostname$/,
  '`process.user.additionalGids`': /^process\.user\.additionalGids/,
  '`process.apparmorProfile`': /^process\.apparmorProfile$/,
  'mount `/run`': /^mounts\.\/run(?:\.|$)/,
  'mount `/sys/fs/cgroup`': /^mounts\.\/sys\/fs\/cgroup(?:\.|$)/,
  '`linux.namespaces` on cgroup v2': /^linux\.namespaces\.cgroup$/,
}
const UNPRIVILEGED = { '`maskedPaths`': /^linux\.maskedPaths/ }
const SECCOMP = {
  'seccomp: `io_uring_*`': /^linux\.seccomp\.syscalls\.io_uring_/,
  'seccomp: `socket`': /^linux\.seccomp\.syscalls\.socket /,
  'seccomp: architectures on amd64': /^linux\.seccomp\.architectures/,
}

interface Case {
  what: string
  /** Of ctr. */
  flags: readonly string[]
  options: object
  /** Rows that apply besides those that always do. */
  rows: Readonly<Record<string, RegExp>>
}

const work = temporaryDirectory()
const profile = join(work.path, 'profile.json')
const rules = [{ names: ['mkdir'], action: 'SCMP_ACT_ERRNO', errnoRet: 95 }]
const ownProfile = { defaultAction: 'SCMP_ACT_ALLOW', architectures: ['SCMP_ARCH_X86_64'], syscalls: rules }
writeFileSync(profile, JSON.stringify(ownProfile))

const CASES: readonly Case[] = [
  { what: 'nothing asked', flags: ['--seccomp'], options: {}, rows: { ...UNPRIVILEGED, ...SECCOMP } },
  {
    what: 'privileged',
    flags: ['--privileged'],
    options: { privileged: true },
    rows: {
      '`noNewPrivileges` of a privileged': /^process\.noNewPrivileges$/,
      '`linux.devices` of a privileged': /^linux\.devices\.\/dev\/ptmx/,
    },
  },
  {
    what: 'capabilities, new privileges, a read-only root, a terminal, a directory',
    flags: [
      '--cap-add',
      'CAP_NET_ADMIN',
      '--cap-drop',
      'CAP_CHOWN',
      '--allow-new-privs',
      '--read-only',
      '-t',
      '--cwd',
      '/w',
    ],
    options: {
      capAdd: ['NET_ADMIN'],
      capDrop: ['CHOWN'],
      security: { noNewPrivileges: false, seccomp: 'unconfined' },
      readOnlyRoot: true,
      tty: true,
      workingDir: '/w',
    },
    rows: UNPRIVILEGED,
  },
  {
    what: 'devices, limits, mounts, namespaces of others',
    flags: [
      ...['--device', '/dev/fuse', '--cpu-quota', '50000', '--cpu-period', '100000', '--memory-limit', '67108864'],
      ...['--mount', 'type=bind,src=/tmp,dst=/host,options=rbind:ro', '--with-ns', 'ipc:/proc/1/ns/ipc', '--net-host'],
    ],
    options: {
      devices: [{ path: '/dev/fuse' }],
      resources: { cpuQuotaUs: 50_000, cpuPeriodUs: 100_000, memoryBytes: 67_108_864 },
      mounts: [{ type: 'bind', source: '/tmp', target: '/host', options: ['ro'] }],
      network: 'host',
      security: { seccomp: 'unconfined' },
    },
    rows: {
      ...UNPRIVILEGED,
      'bind mounts': /^mounts\.\/(?:host|etc\/\w+(?:\.conf)?)\.options\.r?private$/,
    },
  },
  {
    what: 'a seccomp profile of its own',
    flags: ['--seccomp', '--seccomp-profile', profile],
    options: { security: { seccomp: ownProfile } },
    rows: UNPRIVILEGED,
  },
]

describe("a container's spec beside the one that containerd makes", () => {
  let containerd: TestContainerd
  before(async () => {
    containerd = await startContainerd()
  })
  after(async () => {
    await containerd[Symbol.asyncDispose]()
    work[Symbol.dispose]()
  })

  const ctr = (...args: string[]) =>
    execFileSync('ctr', ['--address', containerd.address, ...args], { encoding: 'utf8' })

  function theirs(id: string, flags: readonly string[]): Spec {
    ctr('containers', 'create', ...flags, '--rootfs', '/tmp', id, 'true')
    return JSON.parse(ctr('containers', 'info', '--spec', id))
  }

  async function ours(id: string, given: object): Promise<Spec> {
    const options = containerOptions.parse({ args: ['true'], ...given })
    const effects = { paths: new TaskPaths('/var/lib/purser', '/run/purser'), cgroupVersion } as const
    const signal = AbortSignal.timeout(10_000)
    const job = { namespace: 'default', id, view: new Documents(aggregates), effects, signal }
    const host = await hostPartOf(job, options, undefined)
    // As the network's part of the task is on the host's network.
    const networkFiles = ['hosts', 'resolv.conf'].map((name) => ({
      destination: `/etc/${name}`,
      type: 'bind',
      source: `/etc/${name}`,
      options: ['rbind', 'rprivate', 'ro'],
    }))
    return buildSpec({
      image: {},
      options,
      id,
      cgroupsPath: `/default/${id}`,
      rootPath: '/tmp',
      arch,
      cgroupVersion,
      ...(options.network === 'host' ? { networkFiles } : {}),
      host: { ...host, ...(id.startsWith('join') ? { namespaces: { ipc: '/proc/1/ns/ipc' } } : {}) },
    })
  }

  for (const [index, { what, flags, options, rows }] of CASES.entries()) {
    test(`${what}: what differs is listed, and what is listed differs`, async () => {
      const id = `${flags.includes('--with-ns') ? 'join' : 'case'}${index}`
      const found = differences(fieldsOf(theirs(id, flags)), fieldsOf(await ours(id, options)))
      const listed = Object.entries({ ...ALWAYS, ...rows })
      const unlisted = found.filter((field) => !listed.some(([, pattern]) => pattern.test(field)))
      assert.deepEqual(unlisted, [])
      const idle = Object.entries(rows).filter(([, pattern]) => !found.some((field) => pattern.test(field)))
      // Only on the machines that have it.
      const isElsewhere = ([row]: [string, RegExp]) => row.includes('amd64') && arch !== 'amd64'
      assert.deepEqual(
        idle.filter((row) => !isElsewhere(row)).map(([row]) => row),
        [],
      )
    })
  }

  test('every difference has its row in docs/spec-differences.md, with a reason', () => {
    const table = readFileSync(join(ROOT, 'docs/spec-differences.md'), 'utf8').split('\n')
    for (const row of new Set([ALWAYS, ...CASES.map(({ rows }) => rows)].flatMap(Object.keys))) {
      const line = table.find((each) => each.startsWith(`| ${row}`)) ?? assert.fail(`no row begins with ${row}`)
      assert.match(line.split('|').at(-2) ?? '', /\w/, `${row} has no reason`)
    }
  })
})

/** What is a set, or has a key, by it: order does not count. */
const KEYS: Readonly<Record<string, (item: Record<string, unknown>) => string>> = {
  mounts: ({ destination }) => String(destination),
  namespaces: ({ type }) => String(type),
  rlimits: ({ type }) => String(type),
  devices: (item) => (typeof item.path === 'string' ? item.path : rule(item)),
}

const rule = ({ allow, type = 'a', major = '*', minor = '*', access }: Record<string, unknown>): string =>
  `${allow ? 'allow' : 'deny'} ${type} ${major}:${minor} ${access}`

/** Every leaf of a specification by its path. */
function fieldsOf(value: unknown, path = '', name = ''): Map<string, string> {
  const at = (key: string) => (path === '' ? key : `${path}.${key}`)
  if (Array.isArray(value)) {
    if (name === 'syscalls') return new Map(value.flatMap(systemCalls).map((call) => [at(call), 'there']))
    const key = KEYS[name]
    const isSet = value.every((item) => typeof item === 'string')
    if (isSet && name !== 'args') return new Map(value.map((item) => [at(item), 'there']))
    return merged(value.map((item, index) => fieldsOf(item, at(key ? key(item) : String(index)))))
  }
  if (typeof value !== 'object' || value === null) return new Map([[path, JSON.stringify(value)]])
  return merged(Object.entries(value).map(([key, field]) => fieldsOf(field, at(key), key)))
}

const merged = (maps: readonly Map<string, string>[]): Map<string, string> => new Map(maps.flatMap((map) => [...map]))

function systemCalls({
  names,
  action,
  args = [],
  errnoRet = 0,
}: NonNullable<Spec['linux']['seccomp']>['syscalls'][number]) {
  const when = (args ?? [])
    .map(({ index, op, value, valueTwo = 0 }) => `${index} ${op} ${value} ${valueTwo}`)
    .join(' and ')
  return names.map((name) => `${name} ${action} ${errnoRet} ${when}`)
}

function differences(theirs: Map<string, string>, ours: Map<string, string>): string[] {
  // Go leaves out what is false.
  const said = (fields: Map<string, string>, path: string) => fields.get(path) ?? 'false'
  return [...new Set([...theirs.keys(), ...ours.keys()])]
    .filter((path) => said(theirs, path) !== said(ours, path))
    .sort()
}
