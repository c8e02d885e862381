import { z } from 'zod'
import { WORDS } from './arbitraries.ts'

/** What fields of these names hold in an example. */
const NAMED: Readonly<Record<string, unknown>> = {
  actor: 'unix:uid=0,gid=0,pid=17',
  address: '10.1.1.9',
  aggregate: 'container',
  architecture: 'SCMP_ARCH_X86_64',
  architectures: 'SCMP_ARCH_X86_64',
  args: ['sh', '-c', 'exit 7'],
  bridge: 'pr-0123456789ab',
  capAdd: 'NET_ADMIN',
  capDrop: 'MKNOD',
  cgroupns: 'private',
  cpuPeriodUs: 100_000,
  cpuQuotaUs: 50_000,
  cpusetCpus: '0-1',
  cpusetMems: '0',
  device: '/dev/sda',
  deviceRules: 'c 10:229 rwm',
  dns: '10.1.1.1',
  driver: 'syslog',
  exitCode: 7,
  gateway: '10.89.0.1',
  gateway6: 'fd00:89::1',
  hard: 4096,
  hostIp: '127.0.0.1',
  image: 'docker.io/library/alpine:3.20',
  ip: '10.89.0.7',
  ip6: 'fd00:89::7',
  ipc: 'private',
  mac: '02:00:00:00:00:07',
  mediaType: 'application/vnd.oci.image.manifest.v1+json',
  maxBytes: 16 * 1024 * 1024,
  memoryBytes: 64 * 1024 * 1024,
  message: 'container c1 exists in namespace default',
  method: 'GET',
  minKernel: '4.8',
  mode: 'remove',
  pageSize: '2MB',
  parent: `sha256:${'0123456789abcdef'.repeat(4)}`,
  path: '/dev/fuse',
  permissions: 'rwm',
  pid: 4711,
  platform: 'linux/amd64',
  reason: 'oom',
  remedy: 'choose another name, or purser rm c1',
  runtime: 'runc',
  sendTo: 'udp://loghost:514',
  seccomp: 'unconfined',
  shmBytes: 67_108_864,
  signal: 15,
  sizeBytes: 3_623_807,
  storageBytes: 1_073_741_824,
  snapshotter: 'overlayfs',
  soft: 1024,
  stopSignal: 15,
  subArchitectures: 'SCMP_ARCH_X86',
  subnet: '10.89.0.0/24',
  subnet6: 'fd00:89::/64',
  surface: 'http',
  sysctls: { 'net.core.somaxconn': '1024' },
  target: '/v1/containers',
  userns: 'auto',
  type: 'container.run',
  worker: 'task',
  workspaceBytes: 1_073_741_824,
}

/** One value that a schema accepts, the same each time, with every field that it may have. */
export function exampleOf(schema: unknown, name = ''): unknown {
  if (!(schema instanceof z.ZodType)) throw new Error(`${name}: a part of a schema is no schema`)
  const named = NAMED[name]
  if (named !== undefined && schema.safeParse(named).success) return named
  if (schema instanceof z.ZodObject) {
    return Object.fromEntries(Object.entries(schema.shape).map(([key, field]) => [key, exampleOf(field, key)]))
  }
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodDefault || schema instanceof z.ZodPrefault) {
    return exampleOf(schema.unwrap(), name)
  }
  if (schema instanceof z.ZodNullable || schema instanceof z.ZodReadonly) return exampleOf(schema.unwrap(), name)
  if (schema instanceof z.ZodArray) return [exampleOf(schema.element, name)]
  if (schema instanceof z.ZodRecord) {
    const plain = { key: 'value' }
    return schema.safeParse(plain).success ? plain : { key: exampleOf(schema.valueType, 'key') }
  }
  if (schema instanceof z.ZodUnion) return exampleOf(schema.options[0], name)
  if (schema instanceof z.ZodEnum) return schema.options[0]
  if (schema instanceof z.ZodLiteral) return [...schema.values][0]
  if (schema instanceof z.ZodUnknown) return 'anything'
  const found = [1, 12, 100, 2 ** 30, 0.5, true, ...WORDS].find((value) => schema.safeParse(value).success)
  if (found === undefined) throw new Error(`no example is known for ${name}: ${JSON.stringify(z.toJSONSchema(schema))}`)
  return found
}
