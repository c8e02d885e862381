import fc from 'fast-check'
import { z } from 'zod'

/** Strings that one schema or another of ours accepts: for each, those are taken that parse. */
export const WORDS = [
  'c1',
  'default',
  'overlayfs/c1',
  'docker.io/library/alpine:3.20',
  `sha256:${'0123456789abcdef'.repeat(4)}`,
  `sha256:${'fedcba9876543210'.repeat(4)}`,
  '2026-01-02T03:04:05.678Z',
  '01890000-0000-7000-8000-000000000001',
  '01890000-0000-7000-8000-000000000002',
  'SIGTERM',
  'KEY=value',
  '/srv/data',
  'linux/amd64',
  '10.89.0.7',
  '10.89.0.0/24',
  'fd00:89::7',
  'fd00:89::/64',
  '02:00:00:00:00:07',
  '1g',
  '1000:1000',
  '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
  'node',
  'a1b2',
  'ro',
  'host',
  'vendor.com/net=eth0',
  'NET_ADMIN',
  'SCMP_ARCH_X86_64',
  'c 10:229 rwm',
  'rwm',
  '0-3',
  '2MB',
  '4.8',
  'net.core.somaxconn',
  'udp://loghost:514',
  'fs.mqueue.msg_max',
  'ein Wort – und noch eins 🚢',
]

/** Values that a schema accepts, built from the schema itself. @throws Error for a kind of schema that it does not know */
export function arbitraryOf(schema: z.ZodType): fc.Arbitrary<unknown> {
  return build(schema).filter((value) => schema.safeParse(value).success)
}

function of(inner: unknown): fc.Arbitrary<unknown> {
  if (inner instanceof z.ZodType) return build(inner)
  throw new Error('a part of a schema is no schema')
}

function build(schema: z.ZodType): fc.Arbitrary<unknown> {
  if (schema instanceof z.ZodObject) {
    const fields = Object.entries(schema.shape)
    const required = fields.filter(([, field]) => !mayBeLeftOut(field))
    return fc
      .record(Object.fromEntries(fields.map(([name, field]) => [name, of(field)])), {
        requiredKeys: required.map(([name]) => name),
        noNullPrototype: true,
      })
      .filter((object) => schema.safeParse(object).success)
  }
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodDefault || schema instanceof z.ZodPrefault) {
    return of(schema.unwrap())
  }
  if (schema instanceof z.ZodNullable) return fc.oneof(fc.constant(null), of(schema.unwrap()))
  if (schema instanceof z.ZodReadonly) return of(schema.unwrap())
  if (schema instanceof z.ZodPipe) return of(schema.in).filter((value) => schema.safeParse(value).success)
  if (schema instanceof z.ZodArray) {
    const minLength = schema.safeParse([]).success ? 0 : 1
    const lists = fc.array(of(schema.element), { minLength, maxLength: 3 })
    return lists.filter((list) => schema.safeParse(list).success)
  }
  if (schema instanceof z.ZodRecord) {
    return fc.dictionary(of(schema.keyType).map(String), of(schema.valueType), {
      maxKeys: 3,
      noNullPrototype: true,
    })
  }
  if (schema instanceof z.ZodUnion) return fc.oneof(...schema.options.map(of))
  if (schema instanceof z.ZodEnum) return fc.constantFrom(...schema.options)
  if (schema instanceof z.ZodLiteral) return fc.constantFrom(...schema.values)
  if (schema instanceof z.ZodBoolean) return fc.boolean()
  if (schema instanceof z.ZodUnknown) return fc.jsonValue({ maxDepth: 1 })
  if (schema instanceof z.ZodNumber) return numbers(schema)
  if (schema instanceof z.ZodString || schema instanceof z.ZodStringFormat) return strings(schema)
  throw new Error(`no values are known for a schema of kind ${schema.def.type}`)
}

const mayBeLeftOut = (field: unknown): boolean => field instanceof z.ZodType && field.safeParse(undefined).success

function numbers(schema: z.ZodNumber): fc.Arbitrary<number> {
  const min = Math.max(schema.minValue ?? 0, -(2 ** 31))
  const max = Math.min(schema.maxValue ?? 2 ** 31, 2 ** 31)
  const isInteger = schema.safeParse(min + 0.5).success === false
  const all = isInteger
    ? fc.integer({ min: Math.ceil(min), max: Math.floor(max) })
    : fc.double({ min, max, noNaN: true, noDefaultInfinity: true }).map((n) => (Object.is(n, -0) ? 0 : n))
  return all.filter((value) => schema.safeParse(value).success)
}

function strings(schema: z.ZodType): fc.Arbitrary<string> {
  const words = WORDS.filter((word) => schema.safeParse(word).success)
  if (words.length === 0) throw new Error(`none of the words suits ${JSON.stringify(z.toJSONSchema(schema))}`)
  const isFree = schema.safeParse('\u{1f6a2}').success
  const known = fc.constantFrom(...words)
  return isFree ? fc.oneof(known, fc.string({ unit: 'binary', minLength: 1, maxLength: 12 })) : known
}
