import { z } from 'zod'
import { WORDS } from './arbitraries.ts'

/** What fields of these names hold in an example. */
const NAMED: Readonly<Record<string, unknown>> = {
  actor: 'unix:uid=0,gid=0,pid=17',
  address: '10.1.1.9',
  aggregate: 'container',
  args: ['sh', '-c', 'exit 7'],
  bridge: 'pr-0123456789ab',
  dns: '10.1.1.1',
  exitCode: 7,
  gateway: '10.89.0.1',
  hostIp: '127.0.0.1',
  image: 'docker.io/library/alpine:3.20',
  ip: '10.89.0.7',
  mac: '02:00:00:00:00:07',
  mediaType: 'application/vnd.oci.image.manifest.v1+json',
  memoryBytes: 64 * 1024 * 1024,
  message: 'container c1 exists in namespace default',
  method: 'GET',
  mode: 'remove',
  parent: `sha256:${'0123456789abcdef'.repeat(4)}`,
  pid: 4711,
  platform: 'linux/amd64',
  reason: 'oom',
  remedy: 'choose another name, or purser rm c1',
  runtime: 'runc',
  signal: 15,
  sizeBytes: 3_623_807,
  snapshotter: 'overlayfs',
  stopSignal: 15,
  subnet: '10.89.0.0/24',
  surface: 'http',
  target: '/v1/containers',
  type: 'container.run',
  worker: 'task',
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
  if (schema instanceof z.ZodRecord) return { key: 'value' }
  if (schema instanceof z.ZodUnion) return exampleOf(schema.options[0], name)
  if (schema instanceof z.ZodEnum) return schema.options[0]
  if (schema instanceof z.ZodLiteral) return [...schema.values][0]
  if (schema instanceof z.ZodUnknown) return 'anything'
  const found = [1, 12, 100, 0.5, true, ...WORDS].find((value) => schema.safeParse(value).success)
  if (found === undefined) throw new Error(`no example is known for ${name}: ${JSON.stringify(z.toJSONSchema(schema))}`)
  return found
}
